//! What is signed of a release: three bundles, fetched once, kept beside the files for whoever verifies them later. Each is signed for one
//! manifest, too.

use std::collections::BTreeMap;
use std::path::Path;

use super::endpoint::ModelRef;
use super::fault::Fault;
use super::folder;
use super::manifest::Listed;
use super::meter::Meter;
use super::release::{CHUNK_BYTES, Digest, Release, ReleaseFile};
use super::wire::Wire;
use crate::integrity::{Method, PublicKey, SignatureFault, Signed, signature};

/// A bundle of 100,000 files or a million chunks is shorter.
const BUNDLE_BYTES_MAX: usize = 256 << 20;
/// The bundles: weights by file, documents by file, everything by chunk.
const NAMES: [&str; 3] = ["model.sig", "documents.sig", "chunks.sig"];

/// What the bundles prove together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proven {
    /// The model's name, as its publisher has signed it.
    pub(super) model: String,
    /// Every file with its digest and chunks.
    pub(super) release: Release,
    manifest_sha256: Digest,
}

impl Proven {
    /// Refuses a list that is not the one that was signed, in what the bundles list too or in what they do not.
    pub(super) fn check(&self, listed: &Listed) -> Result<(), Fault> {
        let wrong = |what: String| Err(Fault::Mismatch(format!("manifest.json is not what was signed: {what}")));
        if !listed.release.is_same(&self.release) {
            return wrong("it lists other chunks".into());
        }
        if listed.model != self.model {
            return wrong(format!("it lists {}, and the signatures are of {}", listed.model, self.model));
        }
        if listed.sha256 != self.manifest_sha256 {
            return wrong(format!("its digest is {}, and {} was signed", listed.sha256, self.manifest_sha256));
        }
        Ok(())
    }
}

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

    /// What they prove together, all three signed by one of these keys for one manifest of this revision.
    pub(super) fn prove(&self, revision: &str, trusted: &[PublicKey]) -> Result<Proven, Fault> {
        let mut signed = Vec::with_capacity(NAMES.len());
        for (name, bundle) in NAMES.iter().zip(&self.0) {
            signed.push(open(name, bundle, revision, trusted)?);
        }
        let [model, documents, chunks] = <[(Signed, Digest); 3]>::try_from(signed).expect("there are as many as names");
        let mut whole: BTreeMap<String, Digest> = BTreeMap::new();
        for (name, (signed, _)) in NAMES.iter().zip([&model, &documents]) {
            if signed.method != Method::Files {
                return Err(wrong(name, "it does not speak of files"));
            }
            for file in &signed.resources {
                if whole.insert(file.path.clone(), digest(name, &file.sha256)?).is_some() {
                    return Err(wrong(name, "it speaks of a file that the other one speaks of"));
                }
            }
        }
        let (name, (signed, manifest_sha256)) = (NAMES[2], chunks);
        for (other, of_other) in [&model, &documents] {
            if (&signed.subject, manifest_sha256) != (&other.subject, *of_other) {
                return Err(wrong(name, "it was signed for another model or another manifest than the other two"));
            }
        }
        let files = files(&signed, whole)?;
        Ok(Proven { release: Release::new(revision, files)?, model: signed.subject, manifest_sha256 })
    }
}

/// The files whose chunks were signed, each with the digest that was signed of the whole.
fn files(chunks: &Signed, mut whole: BTreeMap<String, Digest>) -> Result<Vec<ReleaseFile>, Fault> {
    let name = NAMES[2];
    if chunks.method != (Method::Shards { shard_bytes: CHUNK_BYTES }) {
        return Err(wrong(name, "it does not speak of chunks of 16 MiB"));
    }
    let mut files = Vec::with_capacity(whole.len());
    for (path, ranges) in chunks.by_path() {
        let sha256 = whole.remove(path).ok_or_else(|| wrong(name, "it speaks of a file that no other speaks of"))?;
        let size_bytes = ranges.iter().filter_map(|chunk| Some(chunk.range.as_ref()?.end)).max().unwrap_or_default();
        let chunks = ranges.iter().map(|chunk| digest(name, &chunk.sha256)).collect::<Result<_, _>>()?;
        files.push(ReleaseFile { path: path.to_owned(), size_bytes, sha256, chunks, blake3: Vec::new() });
    }
    // What has no chunk is empty, and `Release::new` sees to it that its digest says so.
    files.extend(whole.into_iter().map(|(path, sha256)| ReleaseFile {
        path,
        size_bytes: 0,
        sha256,
        chunks: Vec::new(),
        blake3: Vec::new(),
    }));
    Ok(files)
}

/// What a bundle says, and the digest of the manifest that it was signed for.
fn open(name: &str, bundle: &[u8], revision: &str, trusted: &[PublicKey]) -> Result<(Signed, Digest), Fault> {
    let signed = signature::verify(bundle, trusted).map_err(|fault| match fault {
        SignatureFault::UnsafePath { .. } => Fault::Failed(format!("{name}: {fault}; nothing of it was fetched")),
        other => wrong(name, &other.to_string()),
    })?;
    let release = signed.release.as_ref().ok_or_else(|| wrong(name, "it does not say which release and which manifest it is of"))?;
    if release.revision != revision {
        return Err(wrong(name, &format!("it is the signature of {}, not of {revision}", release.revision)));
    }
    let manifest_sha256 = digest(name, &release.manifest_sha256)?;
    Ok((signed, manifest_sha256))
}

fn digest(name: &str, hex: &str) -> Result<Digest, Fault> {
    Digest::parse(hex).ok_or_else(|| wrong(name, "it has a digest that is none"))
}

fn wrong(name: &str, what: &str) -> Fault {
    Fault::Mismatch(format!("{name} does not prove this release: {what}"))
}
