//! `manifest.json`, the list of a release: as the portal gives it, page by page, and as it is kept beside the files, in one.
//!
//! It says what no signature lists one by one (BLAKE3), and counts for nothing before its digest is the one that was signed.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::endpoint::{ModelRef, escape};
use super::fault::Fault;
use super::folder;
use super::meter::Meter;
use super::release::{CHUNK_BYTES, Digest, Release, ReleaseFile};
use super::wire::Wire;
use crate::integrity::ManifestHasher;

/// What it is called at the portal and in a folder.
const NAME: &str = "manifest.json";
/// How many files, chunks and pages we take: far more than any release of weights has, and little enough to hold in memory.
const FILES_MAX: usize = 100_000;
const CHUNKS_MAX: usize = 4_000_000;
const PAGES_MAX: usize = 50_000;
/// A page of the list is at most 200 kB; this is far more.
const PAGE_BYTES_MAX: usize = 2 << 20;
/// All pages of 100,000 files or a million chunks are shorter.
const KEPT_BYTES_MAX: u64 = 256 << 20;
/// The format of the pages.
const FORMAT: &str = "sluice-manifest-1";

/// A release as somebody lists it. Who that is, only its digest can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// The model's name.
    pub(super) model: String,
    /// The files.
    pub(super) release: Release,
    /// What [`crate::integrity::manifest_sha256`] says of them.
    pub(super) sha256: Digest,
    /// The files' JSON, a comma between them.
    files_json: String,
}

impl Listed {
    /// The list as the portal gives it.
    pub(super) async fn fetch(wire: &Wire, model: &ModelRef, revision: &str, meter: &Meter) -> Result<Self, Fault> {
        let path = model.proof_at(revision, NAME);
        let mut pages = Pages::default();
        let mut query: Option<String> = None;
        loop {
            let page: Page = wire.json(&path, query.as_deref(), PAGE_BYTES_MAX, meter).await?;
            let next = page.next.clone();
            pages.add(revision, page)?;
            match next {
                None => return pages.finish(revision),
                Some(cursor) => query = Some(format!("cursor={}", escape(&cursor).replace('/', "%2F"))),
            }
        }
    }

    /// Reads the one that was kept in `ours`; none in a folder from before there was one. It has to be exactly as [`Listed::keep`] writes it.
    pub(super) fn kept(ours: &Path, revision: &str) -> Result<Option<Self>, Fault> {
        let path = ours.join(NAME);
        let bytes = match folder::read_small(&path, KEPT_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Fault::io("read", &path, &cause)),
        };
        let spoilt = |why: String| Fault::Mismatch(format!("{} was changed: {why}; pull again", path.display()));
        let mut pages = Pages::default();
        let page = serde_json::from_slice(&bytes).map_err(|cause| spoilt(cause.to_string()))?;
        let listed = pages.add(revision, page).and_then(|()| pages.finish(revision)).map_err(|fault| spoilt(fault.to_string()))?;
        if listed.to_json().as_bytes() != bytes {
            return Err(spoilt("it is written otherwise than sluice pull writes it".into()));
        }
        Ok(Some(listed))
    }

    /// Keeps it in `ours`.
    pub(super) fn keep(&self, ours: &Path) -> Result<(), Fault> {
        folder::replace(&ours.join(NAME), self.to_json().as_bytes())
    }

    /// All pages in one.
    fn to_json(&self) -> String {
        let (model, revision) = (json!(self.model), json!(self.release.revision));
        format!(
            r#"{{"format":"{FORMAT}","model":{model},"revision":{revision},"chunk_bytes":{CHUNK_BYTES},"files":[{}],"next":null}}"#,
            self.files_json
        )
    }
}

/// One page.
#[derive(Debug, serde::Deserialize)]
struct Page {
    format: String,
    model: String,
    revision: String,
    chunk_bytes: u64,
    /// Each as it was written, because that is what was signed.
    files: Vec<Value>,
    next: Option<String>,
}

#[derive(Debug, serde::Deserialize)]
struct PageFile {
    path: String,
    size: u64,
    sha256: String,
    chunks: Vec<PageChunk>,
}

#[derive(Debug, serde::Deserialize)]
struct PageChunk {
    sha256: String,
    blake3: String,
}

/// Pages on their way to a release.
#[derive(Debug, Default)]
struct Pages {
    model: Option<String>,
    files: Vec<ReleaseFile>,
    files_json: String,
    hasher: ManifestHasher,
    pages: usize,
    chunks: usize,
}

impl Pages {
    /// Takes the next page of `revision`. Refuses what is too much before memory is gone.
    fn add(&mut self, revision: &str, page: Page) -> Result<(), Fault> {
        if page.format != FORMAT || page.chunk_bytes != CHUNK_BYTES {
            return Err(Fault::Failed(format!(
                "the portal lists this release as {:?} in chunks of {} bytes, which this version of sluice does not know; install a newer one",
                page.format, page.chunk_bytes
            )));
        }
        if page.revision != revision {
            return Err(Fault::Mismatch(format!("the portal listed the release {} instead of {revision}", page.revision)));
        }
        if self.model.get_or_insert_with(|| page.model.clone()) != &page.model {
            return Err(Fault::Mismatch("the pages of the portal's manifest.json are of several models".into()));
        }
        self.pages += 1;
        if page.next.is_some() && page.files.is_empty() || self.pages > PAGES_MAX {
            return Err(Fault::Failed("the portal's list of files does not come to an end".into()));
        }
        page.files.into_iter().try_for_each(|file| self.add_file(file))
    }

    fn add_file(&mut self, file: Value) -> Result<(), Fault> {
        let text = file.to_string();
        let file: PageFile = serde_json::from_value(file)
            .map_err(|cause| Fault::Failed(format!("the portal's manifest.json does not list files as it should: {cause}")))?;
        let unreadable = || Fault::Failed(format!("what the portal says of {} is no digest", file.path));
        let digest = |hex: &str| Digest::parse(hex).ok_or_else(unreadable);
        let chunks = file.chunks.iter().map(|chunk| digest(&chunk.sha256)).collect::<Result<Vec<_>, _>>()?;
        let blake3 = file.chunks.iter().map(|chunk| digest(&chunk.blake3)).collect::<Result<Vec<_>, _>>()?;
        let sha256 = digest(&file.sha256)?;
        self.chunks += chunks.len();
        if self.files.len() >= FILES_MAX || self.chunks > CHUNKS_MAX {
            return Err(Fault::Failed(format!(
                "the release has more than {FILES_MAX} files, or {CHUNKS_MAX} chunks of 16 MiB, which is more than sluice pull takes; nothing was fetched"
            )));
        }
        self.hasher.update(&text);
        if !self.files.is_empty() {
            self.files_json.push(',');
        }
        self.files_json += &text;
        if self.files_json.len() as u64 > KEPT_BYTES_MAX {
            return Err(Fault::Failed("the portal's list of files is longer than any that sluice pull keeps; nothing was fetched".into()));
        }
        self.files.push(ReleaseFile { path: file.path, size_bytes: file.size, sha256, chunks, blake3 });
        Ok(())
    }

    /// The release that the pages make together.
    fn finish(self, revision: &str) -> Result<Listed, Fault> {
        Ok(Listed {
            model: self.model.unwrap_or_default(),
            release: Release::new(revision, self.files)?,
            sha256: Digest(self.hasher.finish()),
            files_json: self.files_json,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use crate::integrity::{ChunkDigests, FileProof, Manifest, digest, manifest_page, manifest_sha256};

    fn file(path: &str, content: &[u8]) -> FileProof {
        let digests = digest(&mut &content[..], content.len() as u64, |_| Ok(())).unwrap();
        let chunks: Vec<ChunkDigests> = digests.chunks;
        FileProof { path: path.into(), size_bytes: digests.size_bytes, sha256: digests.sha256, blake3: digests.blake3, chunks }
    }

    fn revision(files: &[FileProof]) -> String {
        let entry = |file: &FileProof| crate::integrity::Entry { size_bytes: file.size_bytes, sha256: file.sha256.clone() };
        Manifest::new(files.iter().map(|file| (file.path.clone(), entry(file)))).revision()
    }

    fn page(revision: &str, files: &[FileProof]) -> Page {
        serde_json::from_str(&manifest_page("acme/tiny", revision, files, usize::MAX)).unwrap()
    }

    #[test]
    fn pages_make_the_release_whose_revision_they_have_and_the_manifest_that_was_signed() {
        let files = [file("empty.txt", b""), file("sub/für uns.txt", b"odd"), file("weights", &vec![1; CHUNK_BYTES as usize + 1])];
        let revision = revision(&files);
        let mut pages = Pages::default();
        pages.add(&revision, page(&revision, &files[..2])).unwrap();
        pages.add(&revision, page(&revision, &files[2..])).unwrap();
        let listed = pages.finish(&revision).unwrap();
        assert_eq!(listed.sha256.to_string(), manifest_sha256(&files));
        assert_eq!(listed.to_json(), manifest_page("acme/tiny", &revision, &files, usize::MAX), "kept as one page would be");
        assert_eq!(listed.release.files[2].chunks.len(), 2);

        let place = tempfile::tempdir().unwrap();
        assert_eq!(Listed::kept(place.path(), &revision), Ok(None));
        listed.keep(place.path()).unwrap();
        assert_eq!(Listed::kept(place.path(), &revision), Ok(Some(listed)));
        assert!(matches!(Listed::kept(place.path(), "0"), Err(Fault::Mismatch(_))));
    }

    #[test]
    fn a_list_without_an_end_and_one_of_another_release_are_refused() {
        let mut pages = Pages::default();
        assert!(matches!(pages.add("r", Page { next: Some("r".into()), ..page("r", &[]) }), Err(Fault::Failed(_))));
        assert!(matches!(pages.add("r", page("s", &[])), Err(Fault::Mismatch(_))));
        assert!(matches!(pages.add("r", Page { model: "acme/other".into(), ..page("r", &[]) }), Err(Fault::Mismatch(_))));
        let mut pages = Pages::default();
        let many: Vec<_> = (0..1_000).map(|number| file(&format!("f{number}"), b"")).collect();
        let next = |_| pages.add("r", Page { next: Some("on".into()), ..page("r", &many) }).err();
        let mut wordy = Pages::default();
        let mut page_of_one = page("r", &[file("f", b"")]);
        page_of_one.files[0]["more"] = "x".repeat(16 << 20).into();
        let json = page_of_one.files[0].clone();
        let refused = (0..20).find_map(|_| wordy.add_file(json.clone()).err()).expect("memory is not for strangers to fill");
        assert!(matches!(refused, Fault::Failed(why) if why.contains("longer than any")));
        let refused = (0..1_000).find_map(next).expect("a million files are too many");
        assert!(matches!(refused, Fault::Failed(why) if why.contains("more than 100000 files")));
    }
}
