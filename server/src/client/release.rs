//! What a release consists of, as the portal lists it page by page and as its signatures say it.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::fault::Fault;
use super::names;
use crate::integrity::{Entry, Manifest};

/// A chunk is this part of a file; the last one is shorter. An empty file has none.
pub(super) const CHUNK_BYTES: u64 = 16 << 20;
/// How many files, chunks and pages we take: far more than any release of weights has, and little enough to hold in memory.
const FILES_MAX: usize = 100_000;
const CHUNKS_MAX: usize = 4_000_000;
const PAGES_MAX: usize = 50_000;
/// The format of the pages.
const FORMAT: &str = "sluice-manifest-1";

/// A SHA-256.
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
    pub(super) chunks: Vec<Digest>,
}

impl ReleaseFile {
    /// Where a chunk begins, and how long it is.
    pub(super) fn range(&self, chunk: usize) -> (u64, u64) {
        let start = chunk as u64 * CHUNK_BYTES;
        (start, CHUNK_BYTES.min(self.size_bytes - start))
    }

    /// Refuses what contradicts itself: a count of chunks that the size does not have, one chunk that is not the file.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let wrong = |what: &str| Fault::Mismatch(format!("what the portal says of {} contradicts itself: {what}", self.path));
        if self.size_bytes.div_ceil(CHUNK_BYTES) != self.chunks.len() as u64 {
            return Err(wrong(&format!("{} bytes in {} chunks", self.size_bytes, self.chunks.len())));
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
}

/// One page of `proof/{revision}/manifest.json`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Page {
    format: String,
    revision: String,
    chunk_bytes: u64,
    files: Vec<PageFile>,
    pub(super) next: Option<String>,
}

#[derive(Debug, serde::Deserialize)]
struct PageFile {
    path: String,
    size: u64,
    sha256: String,
    #[serde(default)]
    chunks: Vec<PageChunk>,
}

#[derive(Debug, serde::Deserialize)]
struct PageChunk {
    sha256: String,
}

/// Pages on their way to a release.
#[derive(Debug, Default)]
pub(super) struct Pages {
    files: Vec<ReleaseFile>,
    pages: usize,
    chunks: usize,
}

impl Pages {
    /// Takes the next page of `revision`. Refuses what is too much before memory is gone.
    pub(super) fn add(&mut self, revision: &str, page: Page) -> Result<(), Fault> {
        if page.format != FORMAT || page.chunk_bytes != CHUNK_BYTES {
            return Err(Fault::Failed(format!(
                "the portal lists this release as {:?} in chunks of {} bytes, which this version of sluice does not know; install a newer one",
                page.format, page.chunk_bytes
            )));
        }
        if page.revision != revision {
            return Err(Fault::Mismatch(format!("the portal listed the release {} instead of {revision}", page.revision)));
        }
        self.pages += 1;
        if page.next.is_some() && page.files.is_empty() || self.pages > PAGES_MAX {
            return Err(Fault::Failed("the portal's list of files does not come to an end".into()));
        }
        page.files.into_iter().try_for_each(|file| self.add_file(file))
    }

    fn add_file(&mut self, file: PageFile) -> Result<(), Fault> {
        let unreadable = || Fault::Failed(format!("what the portal says of {} is no digest", file.path));
        let chunks = file.chunks.iter().map(|chunk| Digest::parse(&chunk.sha256).ok_or_else(unreadable)).collect::<Result<Vec<_>, _>>()?;
        let sha256 = Digest::parse(&file.sha256).ok_or_else(unreadable)?;
        self.chunks += chunks.len();
        if self.files.len() >= FILES_MAX || self.chunks > CHUNKS_MAX {
            return Err(Fault::Failed(format!(
                "the release has more than {FILES_MAX} files, or {CHUNKS_MAX} chunks of 16 MiB, which is more than sluice pull takes; nothing was fetched"
            )));
        }
        // A file whose chunks did not fit on one page goes on on the next.
        match self.files.last_mut() {
            Some(last) if last.path == file.path && last.sha256 == sha256 && last.size_bytes == file.size => last.chunks.extend(chunks),
            _ => self.files.push(ReleaseFile { path: file.path, size_bytes: file.size, sha256, chunks }),
        }
        Ok(())
    }

    /// The release that the pages make together.
    pub(super) fn finish(self, revision: &str) -> Result<Release, Fault> {
        Release::new(revision, self.files)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn file(path: &str, content: &[u8]) -> ReleaseFile {
        let chunks = content.chunks(CHUNK_BYTES as usize).map(Digest::of).collect();
        ReleaseFile { path: path.into(), size_bytes: content.len() as u64, sha256: Digest::of(content), chunks }
    }

    fn revision(files: &[ReleaseFile]) -> String {
        let entry = |file: &ReleaseFile| Entry { size_bytes: file.size_bytes, sha256: file.sha256.to_string() };
        Manifest::new(files.iter().map(|file| (file.path.clone(), entry(file)))).revision()
    }

    fn page(revision: &str, files: &[ReleaseFile], next: Option<&str>) -> Page {
        let files: Vec<_> = files
            .iter()
            .map(|file| {
                let chunks: Vec<_> = file.chunks.iter().map(|chunk| serde_json::json!({ "sha256": chunk.to_string(), "blake3": "" })).collect();
                serde_json::json!({ "path": file.path, "size": file.size_bytes, "sha256": file.sha256.to_string(), "kind": "weights", "chunks": chunks })
            })
            .collect();
        let page = serde_json::json!({
            "format": "sluice-manifest-1", "model": "acme/tiny", "revision": revision, "chunk_bytes": 16_777_216, "files": files, "next": next
        });
        serde_json::from_value(page).unwrap()
    }

    #[test]
    fn pages_make_the_release_whose_revision_they_have() {
        let files = [file("empty.txt", b""), file("weights", &vec![1; CHUNK_BYTES as usize + 1])];
        let revision = revision(&files);
        let mut pages = Pages::default();
        // The second file's chunks are told on two pages.
        let mut first = files[1].clone();
        let rest = ReleaseFile { chunks: first.chunks.split_off(1), ..first.clone() };
        pages.add(&revision, page(&revision, &[first], Some("2"))).unwrap();
        pages.add(&revision, page(&revision, &[rest, files[0].clone()], None)).unwrap();
        assert_eq!(pages.finish(&revision).unwrap().files, files);
    }

    #[test]
    fn any_other_file_size_or_digest_is_another_release() {
        let files = vec![file("a", b"a"), file("b", b"b")];
        let revision = revision(&files);
        assert!(Release::new(&revision, files.clone()).is_ok());
        assert!(matches!(Release::new(&revision, files[..1].to_vec()), Err(Fault::Mismatch(_))));
        assert!(matches!(Release::new(&revision, vec![file("a", b"a"), file("b", b"c")]), Err(Fault::Mismatch(_))));
        assert!(matches!(Release::new(&revision, vec![file("a", b"a"), file("c", b"b")]), Err(Fault::Mismatch(_))));
        let mut torn = files;
        torn[0].chunks.clear();
        assert!(matches!(Release::new(&revision, torn), Err(Fault::Mismatch(_))));
    }

    #[test]
    fn a_list_without_an_end_and_one_of_another_release_are_refused() {
        let mut pages = Pages::default();
        assert!(matches!(pages.add("r", page("r", &[], Some("r"))), Err(Fault::Failed(_))));
        assert!(matches!(pages.add("r", page("s", &[], None)), Err(Fault::Mismatch(_))));
        let mut pages = Pages::default();
        let many: Vec<_> = (0..1_000).map(|number| file(&format!("f{number}"), b"")).collect();
        let refused = (0..1_000).find_map(|_| pages.add("r", page("r", &many, Some("on"))).err()).expect("a million files are too many");
        assert!(matches!(refused, Fault::Failed(why) if why.contains("more than 100000 files")));
    }
}
