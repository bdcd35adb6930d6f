//! What a release consists of: its files, their chunks, and the revision that follows from them.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::fault::Fault;
use super::hash::Proof;
use super::names;
use crate::integrity::{Entry, Manifest};

/// A chunk is this part of a file; the last one is shorter. An empty file has none.
pub(super) const CHUNK_BYTES: u64 = 16 << 20;

/// A digest of 32 bytes: a SHA-256, where nothing else is said.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest(pub(super) [u8; 32]);

impl Digest {
    /// Of these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From 64 hex digits in lower case.
    pub(super) fn parse(hex: &str) -> Option<Self> {
        Some(Self(HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// One file and its chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReleaseFile {
    pub(super) path: String,
    pub(super) size_bytes: u64,
    pub(super) sha256: Digest,
    /// SHA-256 of each chunk.
    pub(super) chunks: Vec<Digest>,
    /// BLAKE3 of each chunk, which takes a fraction of the time; none where nobody lists them.
    pub(super) blake3: Vec<Digest>,
}

impl ReleaseFile {
    /// Where a chunk begins, and how long it is.
    pub(super) fn range(&self, chunk: usize) -> (u64, u64) {
        let start = chunk as u64 * CHUNK_BYTES;
        (start, CHUNK_BYTES.min(self.size_bytes - start))
    }

    /// What proves the chunk: BLAKE3 where it is listed. A chunk that is all of its file has the SHA-256 that the revision follows from,
    /// so that whoever signs cannot sign others for it.
    pub(super) fn proof(&self, chunk: usize) -> Proof {
        match self.blake3.get(chunk) {
            Some(blake3) if self.chunks.len() > 1 => Proof::Blake3(*blake3),
            _ => Proof::Sha256(self.chunks[chunk]),
        }
    }

    /// A digest of all that was listed of it: two lists that say different things of one content have different ones.
    pub(super) fn listed(&self) -> Digest {
        let all: Vec<u8> = [&self.sha256].into_iter().chain(&self.chunks).chain(&self.blake3).flat_map(|digest| digest.0).collect();
        Digest::of(&all)
    }

    /// Whether both speak of the same chunks, in what the signatures list.
    fn is_same(&self, other: &Self) -> bool {
        (&self.path, self.size_bytes, self.sha256, &self.chunks) == (&other.path, other.size_bytes, other.sha256, &other.chunks)
    }

    /// Refuses what contradicts itself: a count of chunks that the size does not have, one chunk that is not the file.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let wrong = |what: &str| Fault::Mismatch(format!("what the portal says of {} contradicts itself: {what}", self.path));
        if self.size_bytes.div_ceil(CHUNK_BYTES) != self.chunks.len() as u64 {
            return Err(wrong(&format!("{} bytes in {} chunks", self.size_bytes, self.chunks.len())));
        }
        if !self.blake3.is_empty() && self.blake3.len() != self.chunks.len() {
            return Err(wrong(&format!("{} digests of {} chunks", self.blake3.len(), self.chunks.len())));
        }
        let whole = match self.chunks.as_slice() {
            [] => Some(Digest::of(b"")),
            [only] => Some(*only),
            _ => None,
        };
        if whole.is_some_and(|whole| whole != self.sha256) {
            return Err(wrong("its digest is not that of its only chunk"));
        }
        Ok(())
    }
}

/// Every file of one release, in the order of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) revision: String,
    pub(super) files: Vec<ReleaseFile>,
}

impl Release {
    /// These files as the release `revision`. The revision follows from paths, sizes and digests, so nothing else can carry it:
    /// not an older release, not one file more or less.
    pub(super) fn new(revision: &str, mut files: Vec<ReleaseFile>) -> Result<Self, Fault> {
        names::check(files.iter().map(|file| file.path.as_str()))?;
        files.iter().try_for_each(ReleaseFile::check)?;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let entry = |file: &ReleaseFile| Entry { size_bytes: file.size_bytes, sha256: file.sha256.to_string() };
        let found = Manifest::new(files.iter().map(|file| (file.path.clone(), entry(file)))).revision();
        if found != revision {
            return Err(Fault::Mismatch(format!(
                "the files that were listed are those of the release {found}, not of {revision}, which was asked for"
            )));
        }
        Ok(Self { revision: revision.to_owned(), files })
    }

    /// Whether both are the same release, chunk for chunk, in what the signatures list.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let files = || self.files.iter().zip(&other.files);
        self.revision == other.revision && self.files.len() == other.files.len() && files().all(|(one, other)| one.is_same(other))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn file(path: &str, content: &[u8]) -> ReleaseFile {
        let chunks = content.chunks(CHUNK_BYTES as usize).map(Digest::of).collect();
        ReleaseFile { path: path.into(), size_bytes: content.len() as u64, sha256: Digest::of(content), chunks, blake3: vec![] }
    }

    fn revision(files: &[ReleaseFile]) -> String {
        let entry = |file: &ReleaseFile| Entry { size_bytes: file.size_bytes, sha256: file.sha256.to_string() };
        Manifest::new(files.iter().map(|file| (file.path.clone(), entry(file)))).revision()
    }

    #[test]
    fn any_other_file_size_or_digest_is_another_release() {
        let files = vec![file("a", b"a"), file("b", b"b")];
        let revision = revision(&files);
        assert!(Release::new(&revision, files.clone()).is_ok());
        assert!(matches!(Release::new(&revision, files[..1].to_vec()), Err(Fault::Mismatch(_))));
        assert!(matches!(Release::new(&revision, vec![file("a", b"a"), file("b", b"c")]), Err(Fault::Mismatch(_))));
        assert!(matches!(Release::new(&revision, vec![file("a", b"a"), file("c", b"b")]), Err(Fault::Mismatch(_))));
        let mut torn = files.clone();
        torn[0].chunks.clear();
        assert!(matches!(Release::new(&revision, torn), Err(Fault::Mismatch(_))));
        let mut doubled = files;
        doubled[0].blake3 = vec![Digest::of(b"a"); 2];
        assert!(matches!(Release::new(&revision, doubled), Err(Fault::Mismatch(_))));
    }

    #[test]
    fn a_whole_file_is_proven_by_what_its_revision_follows_from_and_no_list_passes_for_another() {
        let mut one = file("a", b"a");
        one.blake3 = vec![Digest(blake3::hash(b"b").into())];
        assert_eq!(one.proof(0), Proof::Sha256(Digest::of(b"a")));
        let mut many = file("b", &vec![7; CHUNK_BYTES as usize + 1]);
        assert_eq!(many.proof(1), Proof::Sha256(Digest::of(&[7])));
        let before = many.listed();
        many.blake3 = vec![Digest::of(b"one"), Digest::of(b"two")];
        assert_eq!(many.proof(1), Proof::Blake3(Digest::of(b"two")));
        assert_ne!(many.listed(), before);
    }

    #[test]
    fn the_same_release_may_be_listed_with_more_digests_but_not_with_other_ones() {
        let files = vec![file("a", b"a"), file("b", b"b")];
        let release = Release::new(&revision(&files), files).unwrap();
        let mut listed = release.clone();
        listed.files[1].blake3 = vec![Digest(blake3::hash(b"b").into())];
        assert!(release.is_same(&listed));
        let changes: [fn(&mut Release); 5] = [
            |other| drop(other.files.pop()),
            |other| other.files[0].path = "c".into(),
            |other| other.files[0].size_bytes += 1,
            |other| other.files[0].chunks[0] = Digest::of(b"c"),
            |other| other.revision = "0".repeat(40),
        ];
        for change in changes {
            let mut other = listed.clone();
            change(&mut other);
            assert!(!release.is_same(&other));
        }
    }
}
