//! Every digest that anybody asks for, in one pass over the bytes.

use std::io::{self, Read};

use data_encoding::HEXLOWER;
use digests::{Pair, Twin, Twins};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A chunk of a file: what is verified, fetched and mended as one. 16 MiB; a file's last one is shorter, an empty file has none.
pub use digests::CHUNK_BYTES;

/// Clients of the Hub know files by git's digest up to here, and by their SHA-256 beyond: 10 MB.
pub const GIT_BYTES_MAX: u64 = 10_000_000;
/// How much is read at a time: 1 MiB, so that the calls cost nothing beside the hashing.
const READ_BYTES: usize = 1 << 20;

/// What a content is known by, all in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// How long it is.
    pub size_bytes: u64,
    /// SHA-256, 64 digits: the name of the object, and what people compare.
    pub sha256: String,
    /// BLAKE3, 64 digits.
    pub blake3: String,
    /// What git calls the content, `sha1("blob LENGTH\0" + bytes)`, 40 digits; none beyond [`GIT_BYTES_MAX`].
    pub git_sha1: Option<String>,
    /// The digests of each chunk.
    pub chunks: Vec<ChunkDigests>,
}

/// What a chunk is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkDigests {
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// BLAKE3 of its bytes, as of a file that holds nothing else.
    pub blake3: [u8; 32],
}

impl ChunkDigests {
    /// SHA-256, 64 lower-case hex digits.
    pub fn sha256_hex(&self) -> String {
        HEXLOWER.encode(&self.sha256)
    }

    /// BLAKE3, 64 lower-case hex digits.
    pub fn blake3_hex(&self) -> String {
        HEXLOWER.encode(&self.blake3)
    }
}

/// Takes a content piece by piece and computes all its digests in that one pass.
#[derive(Debug)]
pub struct Hasher {
    size_bytes: u64,
    seen_bytes: u64,
    twin: Twin,
    git_sha1: Option<Sha1>,
}

impl Hasher {
    /// For a content that has to be so long, because git puts the length in front of the bytes.
    pub fn new(size_bytes: u64) -> Self {
        let git_sha1 = (size_bytes <= GIT_BYTES_MAX).then(|| Sha1::new().chain_update(format!("blob {size_bytes}\0")));
        Self { size_bytes, seen_bytes: 0, twin: Twin::new(), git_sha1 }
    }

    /// The next piece. Errors: `InvalidData` once there is more than there has to be.
    pub fn update(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.size_bytes - self.seen_bytes < piece.len() as u64 {
            return Err(not_as_long(self.size_bytes));
        }
        self.twin.update(piece);
        if let Some(git_sha1) = &mut self.git_sha1 {
            git_sha1.update(piece);
        }
        self.seen_bytes += piece.len() as u64;
        Ok(())
    }

    /// The digests. Errors: `InvalidData` if something is missing.
    pub fn finish(self) -> io::Result<Digests> {
        if self.seen_bytes != self.size_bytes {
            return Err(not_as_long(self.size_bytes));
        }
        let Twins { whole, chunks } = self.twin.finish();
        Ok(Digests {
            size_bytes: self.size_bytes,
            sha256: HEXLOWER.encode(&whole.sha256),
            blake3: HEXLOWER.encode(&whole.blake3),
            git_sha1: self.git_sha1.map(|sha1| HEXLOWER.encode(&sha1.finalize())),
            chunks: chunks.into_iter().map(|Pair { sha256, blake3 }| ChunkDigests { sha256, blake3 }).collect(),
        })
    }
}

/// Reads `reader` to its end and hands each piece to `each` (which may keep it, or count it). `size_bytes` is the length the
/// content has to have. Errors: what reading or `each` say, or `InvalidData` if the content is longer or shorter.
pub fn digest(reader: &mut impl Read, size_bytes: u64, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Digests> {
    let mut hasher = Hasher::new(size_bytes);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let length = match reader.read(&mut buffer) {
            Ok(0) => return hasher.finish(),
            Ok(length) => length,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(cause),
        };
        hasher.update(&buffer[..length])?;
        each(&buffer[..length])?;
    }
}

/// SHA-256 of a short text, 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

fn not_as_long(size_bytes: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the content is not {size_bytes} bytes long any more: it changed while it was read"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn of(bytes: &[u8]) -> Digests {
        digest(&mut &bytes[..], bytes.len() as u64, |_| Ok(())).unwrap()
    }

    /// From FIPS 180, the BLAKE3 test vectors, and `git hash-object`.
    #[test]
    fn the_known_answers_come_out() {
        let empty = of(b"");
        assert_eq!(empty.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(empty.blake3, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        assert_eq!(empty.git_sha1.as_deref(), Some("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"));
        assert_eq!(empty.chunks, []);
        assert_eq!(of(b"abc").sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(of(b"hello\n").git_sha1.as_deref(), Some("ce013625030ba8dba906f756967f9e9ca394464a"));
    }

    #[test]
    fn each_chunk_is_digested_as_if_it_stood_alone() {
        let bytes: Vec<u8> = (0..CHUNK_BYTES + 5).map(|n| ((n * n) >> 7) as u8).collect();
        let digests = of(&bytes);
        let (first, last) = bytes.split_at(CHUNK_BYTES as usize);
        let alone = [first, last].map(|chunk| (sha256_hex(chunk), blake3::hash(chunk).to_hex().to_string()));
        assert_eq!(digests.chunks.iter().map(|chunk| (chunk.sha256_hex(), chunk.blake3_hex())).collect::<Vec<_>>(), alone);
        assert_eq!((digests.sha256, digests.git_sha1), (sha256_hex(&bytes), None));
    }

    #[test]
    fn a_content_that_grew_or_shrank_is_an_error() {
        for wrong in [2, 4] {
            let refused = digest(&mut &b"abc"[..], wrong, |_| Ok(())).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        }
    }

    /// Gives its bytes in pieces of odd sizes, as sockets and pipes do.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 % 7 + 1;
            let length = self.1.min(self.0.len()).min(out.len());
            out[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    proptest::proptest! {
        #[test]
        fn pieces_do_not_matter_and_are_all_handed_on(bytes: Vec<u8>) {
            let mut kept = Vec::new();
            let digests = digest(&mut Dripping(&bytes, 0), bytes.len() as u64, |piece| { kept.extend_from_slice(piece); Ok(()) }).unwrap();
            proptest::prop_assert_eq!(&digests, &of(&bytes));
            proptest::prop_assert_eq!(&digests.sha256, &sha256_hex(&bytes));
            proptest::prop_assert_eq!(&digests.blake3, &blake3::hash(&bytes).to_hex().to_string());
            proptest::prop_assert_eq!(kept, bytes);
        }
    }
}
