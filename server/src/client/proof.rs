//! What is signed of a release: three bundles, fetched once, kept beside the files for whoever verifies them later.

use std::collections::BTreeMap;
use std::path::Path;

use super::endpoint::ModelRef;
use super::fault::Fault;
use super::folder;
use super::meter::Meter;
use super::release::{CHUNK_BYTES, Digest, Page, Pages, Release, ReleaseFile};
use super::wire::Wire;
use crate::integrity::{Method, PublicKey, SignatureFault, Signed, signature};

/// A page of the list is at most 200 kB; this is far more.
const PAGE_BYTES_MAX: usize = 2 << 20;
/// A bundle of 100,000 files or a million chunks is shorter.
const BUNDLE_BYTES_MAX: usize = 256 << 20;
/// The bundles: weights by file, documents by file, everything by chunk.
const NAMES: [&str; 3] = ["model.sig", "documents.sig", "chunks.sig"];

/// The three bundles as they came.
#[derive(Debug)]
pub(super) struct Bundles([Vec<u8>; 3]);

impl Bundles {
    /// Fetches them.
    pub(super) async fn fetch(wire: &Wire, model: &ModelRef, revision: &str, meter: &Meter) -> Result<Self, Fault> {
        let mut bundles = Self(Default::default());
        for (name, bundle) in NAMES.iter().zip(&mut bundles.0) {
            *bundle = wire.whole(&model.proof_at(revision, name), BUNDLE_BYTES_MAX, meter).await?;
        }
        Ok(bundles)
    }

    /// Reads those that were kept in `ours`.
    pub(super) fn read(ours: &Path) -> Result<Self, Fault> {
        let mut bundles = Self(Default::default());
        for (name, bundle) in NAMES.iter().zip(&mut bundles.0) {
            *bundle = folder::read_small(&ours.join(name), BUNDLE_BYTES_MAX as u64)
                .map_err(|cause| Fault::io("read", &ours.join(name), &cause))?;
        }
        Ok(bundles)
    }

    /// Keeps them in `ours`.
    pub(super) fn keep(&self, ours: &Path) -> Result<(), Fault> {
        NAMES.iter().zip(&self.0).try_for_each(|(name, bundle)| folder::replace(&ours.join(name), bundle))
    }

    /// The release that they prove together: every file with its digest and chunks, signed by one of these keys.
    pub(super) fn prove(&self, revision: &str, trusted: &[PublicKey]) -> Result<Release, Fault> {
        let [model, documents, chunks] = &self.0;
        let mut whole: BTreeMap<String, Digest> = BTreeMap::new();
        for (name, bundle) in [(NAMES[0], model), (NAMES[1], documents)] {
            let signed = open(name, bundle, revision, trusted)?;
            if signed.method != Method::Files {
                return Err(wrong(name, "it does not speak of files"));
            }
            for file in &signed.resources {
                if whole.insert(file.path.clone(), digest(name, &file.sha256)?).is_some() {
                    return Err(wrong(name, "it speaks of a file that the other one speaks of"));
                }
            }
        }
        let name = NAMES[2];
        let signed = open(name, chunks, revision, trusted)?;
        if signed.method != (Method::Shards { shard_bytes: CHUNK_BYTES }) {
            return Err(wrong(name, "it does not speak of chunks of 16 MiB"));
        }
        let mut files = Vec::with_capacity(whole.len());
        for (path, ranges) in signed.by_path() {
            let sha256 = whole.remove(path).ok_or_else(|| wrong(name, "it speaks of a file that no other speaks of"))?;
            let size_bytes = ranges.iter().filter_map(|chunk| Some(chunk.range.as_ref()?.end)).max().unwrap_or_default();
            let chunks = ranges.iter().map(|chunk| digest(name, &chunk.sha256)).collect::<Result<_, _>>()?;
            files.push(ReleaseFile { path: path.to_owned(), size_bytes, sha256, chunks });
        }
        // What has no chunk is empty, and `Release::new` sees to it that its digest says so.
        files.extend(whole.into_iter().map(|(path, sha256)| ReleaseFile { path, size_bytes: 0, sha256, chunks: Vec::new() }));
        Release::new(revision, files)
    }
}

/// The list of a release as the portal gives it, page by page.
pub(super) async fn list(wire: &Wire, model: &ModelRef, revision: &str, meter: &Meter) -> Result<Release, Fault> {
    let path = model.proof_at(revision, "manifest.json");
    let mut pages = Pages::default();
    let mut query: Option<String> = None;
    loop {
        let page: Page = wire.json(&path, query.as_deref(), PAGE_BYTES_MAX, meter).await?;
        let next = page.next.clone();
        pages.add(revision, page)?;
        match next {
            None => return pages.finish(revision),
            Some(cursor) => query = Some(format!("cursor={}", super::endpoint::escape(&cursor).replace('/', "%2F"))),
        }
    }
}

fn open(name: &str, bundle: &[u8], revision: &str, trusted: &[PublicKey]) -> Result<Signed, Fault> {
    let signed = signature::verify(bundle, trusted).map_err(|fault| match fault {
        SignatureFault::UnsafePath { .. } => Fault::Failed(format!("{name}: {fault}; nothing of it was fetched")),
        other => wrong(name, &other.to_string()),
    })?;
    match &signed.release {
        Some(other) if other.revision != revision => {
            Err(wrong(name, &format!("it is the signature of {}, not of {revision}", other.revision)))
        }
        _ => Ok(signed),
    }
}

fn digest(name: &str, hex: &str) -> Result<Digest, Fault> {
    Digest::parse(hex).ok_or_else(|| wrong(name, "it has a digest that is none"))
}

fn wrong(name: &str, what: &str) -> Fault {
    Fault::Mismatch(format!("{name} does not prove this release: {what}"))
}
