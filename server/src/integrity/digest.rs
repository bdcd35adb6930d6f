//! Every digest that anybody asks for, in one pass over the bytes.

use std::io::{self, Read};

use data_encoding::HEXLOWER;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// How much is read at a time: 1 MiB, so that the calls cost nothing beside the hashing.
const CHUNK_BYTES: usize = 1 << 20;

/// What a content is known by, all in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// How long it is.
    pub size_bytes: u64,
    /// SHA-256, 64 digits: the name of the object, and what people compare.
    pub sha256: String,
    /// BLAKE3, 64 digits.
    pub blake3: String,
    /// What git calls the content, `sha1("blob LENGTH\0" + bytes)`, 40 digits: clients of the Hub know small files by it.
    pub git_sha1: String,
}

/// Reads `reader` to its end and hands each piece to `each` (which may keep it, or count it). `size_bytes` is the length the
/// content has to have, because git puts it in front of the bytes. Errors: what reading or `each` say, or `InvalidData` if the content is longer
/// or shorter.
pub fn digest(reader: &mut impl Read, size_bytes: u64, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Digests> {
    let mut sha256 = Sha256::new();
    let mut blake3 = blake3::Hasher::new();
    let mut git_sha1 = Sha1::new();
    git_sha1.update(format!("blob {size_bytes}\0"));
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut seen_bytes = 0u64;
    loop {
        let length = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(cause),
        };
        let piece = &chunk[..length];
        seen_bytes += length as u64;
        if seen_bytes > size_bytes {
            return Err(not_as_long(size_bytes));
        }
        sha256.update(piece);
        blake3.update(piece);
        git_sha1.update(piece);
        each(piece)?;
    }
    if seen_bytes != size_bytes {
        return Err(not_as_long(size_bytes));
    }
    Ok(Digests {
        size_bytes,
        sha256: HEXLOWER.encode(&sha256.finalize()),
        blake3: blake3.finalize().to_hex().to_string(),
        git_sha1: HEXLOWER.encode(&git_sha1.finalize()),
    })
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
        assert_eq!(empty.git_sha1, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(of(b"abc").sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(of(b"hello\n").git_sha1, "ce013625030ba8dba906f756967f9e9ca394464a");
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
