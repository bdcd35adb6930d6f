//! What an OpenSSF model signature says: an in-toto statement whose predicate lists files, or ranges of files, with their SHA-256.

use std::ops::Range;

use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::key::is_sha256_hex;
use super::safe_path::{Clashes, check_path};
use super::signature::SignatureFault;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
/// Whoever verifies with other tools has these beside the files: what versions are kept with, what clients keep, and the proofs.
pub const NEVER_SIGNED: &[&str] = &[
    ".git",
    ".gitattributes",
    ".github",
    ".gitignore",
    ".cache",
    ".sluice",
    "model.sig",
    "documents.sig",
    "chunks.sig",
    "manifest.json",
    "tensors.json",
    "SHA256SUMS",
    "B3SUMS",
    "release.meta4",
    "sluice-key.pem",
];

/// How a model is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By files.
    Files,
    /// By ranges of files, all of this size but each file's last. An empty file has none.
    Shards {
        /// How long a range is.
        shard_bytes: u64,
    },
}

/// A file, or a range of one, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The file's path, `/` between folders; safe to write below a folder.
    pub path: String,
    /// Which bytes of it; none for the whole file.
    pub range: Option<Range<u64>>,
    /// SHA-256 of these bytes, 64 lower-case hex digits.
    pub sha256: String,
}

impl Resource {
    /// A whole file.
    pub fn file(path: impl Into<String>, sha256: impl Into<String>) -> Self {
        Self { path: path.into(), range: None, sha256: sha256.into() }
    }

    /// A range of a file.
    pub fn shard(path: impl Into<String>, range: Range<u64>, sha256: impl Into<String>) -> Self {
        Self { path: path.into(), range: Some(range), sha256: sha256.into() }
    }

    /// As signatures write it: `path`, or `path:start:end`.
    pub fn name(&self) -> String {
        match &self.range {
            None => self.path.clone(),
            Some(range) => format!("{}:{}:{}", self.path, range.start, range.end),
        }
    }
}

/// What ties a signature to one release of a portal; other verifiers pass over it, as they do over what they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The revision, 40 hex digits.
    pub revision: String,
    /// SHA-256 of the manifest's files (see [`super::manifest_sha256`]), 64 hex digits.
    pub manifest_sha256: String,
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The model's name; it proves nothing.
    pub subject: String,
    /// How it is taken apart.
    pub method: Method,
    /// Every file or range, in the order of paths.
    pub resources: Vec<Resource>,
    /// What may lie beside the files and is not signed, as paths.
    pub ignored: Vec<String>,
    /// The release it belongs to, if it says so.
    pub release: Option<Release>,
}

impl Statement {
    /// The statement as JSON.
    pub(super) fn to_json(&self) -> String {
        let mut serialization = json!({ "method": "files", "hash_type": "sha256", "allow_symlinks": false });
        let mut algorithm = "sha256".to_owned();
        if let Method::Shards { shard_bytes } = self.method {
            serialization = json!({ "method": "shards", "hash_type": "sha256", "shard_size": shard_bytes, "allow_symlinks": false });
            algorithm = format!("sha256-sharded-{shard_bytes}");
        }
        let ignored: Vec<&str> = NEVER_SIGNED.iter().copied().chain(self.ignored.iter().map(String::as_str)).collect();
        serialization["ignore_paths"] = json!(ignored);
        let resource = |resource: &Resource| json!({ "name": resource.name(), "algorithm": algorithm, "digest": resource.sha256 });
        let resources: Vec<Value> = self.resources.iter().map(resource).collect();
        let mut predicate = json!({ "serialization": serialization, "resources": resources });
        if let Some(release) = &self.release {
            predicate["sluice"] = json!({ "revision": release.revision, "manifest_sha256": release.manifest_sha256 });
        }
        json!({
            "_type": STATEMENT_TYPE,
            "subject": [{ "name": self.subject, "digest": { "sha256": root_digest(&self.resources) } }],
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        })
        .to_string()
    }

    /// Reads a statement whose signature is good. It may still be of another kind, or name files that must not be written.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, SignatureFault> {
        let other = |what: String| SignatureFault::OtherStatement(what);
        let kind: Kind = serde_json::from_slice(json).map_err(|cause| other(cause.to_string()))?;
        if kind.statement_type != STATEMENT_TYPE || kind.predicate_type != PREDICATE_TYPE {
            return Err(other(format!("it is a {} with a predicate {}, not {PREDICATE_TYPE}", kind.statement_type, kind.predicate_type)));
        }
        let wire: Wire = serde_json::from_slice(json).map_err(|cause| other(cause.to_string()))?;
        let [subject] = <[Subject; 1]>::try_from(wire.subject).map_err(|all| other(format!("it has {} subjects, not one", all.len())))?;
        let Predicate { serialization, resources, sluice } = wire.predicate;
        let (method, algorithm) = serialization.method().map_err(other)?;
        let resources = resources.into_iter().map(|wire| wire.resource(method, &algorithm)).collect::<Result<Vec<_>, _>>()?;
        if root_digest(&resources) != subject.digest.sha256 {
            return Err(other("its subject's digest is not that of its resources".into()));
        }
        check_together(&resources, method)?;
        Ok(Self { subject: subject.name, method, resources, ignored: serialization.ignore_paths, release: sluice })
    }
}

/// No file twice, none that is another on some disk, and no gaps between ranges.
fn check_together(resources: &[Resource], method: Method) -> Result<(), SignatureFault> {
    let unsafe_path = |path: &str, problem: String| SignatureFault::UnsafePath { path: path.to_owned(), problem };
    let mut clashes = Clashes::default();
    let mut before: Option<&Resource> = None;
    for resource in resources {
        let goes_on = before.filter(|before| before.path == resource.path && resource.range.is_some());
        if goes_on.is_none() {
            check_path(&resource.path).map_err(|problem| unsafe_path(&resource.path, problem.to_owned()))?;
            clashes.add(&resource.path).map_err(|clash| unsafe_path(&resource.path, clash.to_string()))?;
        }
        if let (Some(range), Method::Shards { shard_bytes }) = (&resource.range, method) {
            let start = goes_on.and_then(|before| before.range.as_ref()).map_or(0, |range| range.end);
            // A range that is not full was its file's last.
            let follows = range.start == start && start.is_multiple_of(shard_bytes);
            if !follows || range.end <= start || range.end > start.saturating_add(shard_bytes) {
                return Err(SignatureFault::OtherStatement(format!("the range {} does not follow the one before", resource.name())));
            }
        }
        before = Some(resource);
    }
    Ok(())
}

/// SHA-256 over the digests in their order.
fn root_digest(resources: &[Resource]) -> String {
    let mut hasher = Sha256::new();
    for resource in resources {
        hasher.update(HEXLOWER.decode(resource.sha256.as_bytes()).unwrap_or_default());
    }
    HEXLOWER.encode(&hasher.finalize())
}

/// Read first, so that a statement of another kind is told apart from a broken one.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "_type")]
    statement_type: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(rename = "_type")]
    _type: String,
    #[serde(rename = "predicateType")]
    _predicate_type: String,
    subject: Vec<Subject>,
    predicate: Predicate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: RootDigest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RootDigest {
    sha256: String,
}

/// What else it may hold is passed over, as version 1.0 asks.
#[derive(Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<WireResource>,
    sluice: Option<Release>,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    /// The reference implementation writes whole numbers as 1048576.0.
    shard_size: Option<f64>,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

impl Serialization {
    fn method(&self) -> Result<(Method, String), String> {
        if self.hash_type != "sha256" {
            return Err(format!("its digests are {}, and only sha256 is read", self.hash_type));
        }
        match (self.method.as_str(), self.shard_size) {
            ("files", None) => Ok((Method::Files, "sha256".to_owned())),
            ("shards", Some(size)) if size >= 1.0 && size <= 2f64.powi(53) && size.fract() == 0.0 => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number, in range")]
                let shard_bytes = size as u64;
                Ok((Method::Shards { shard_bytes }, format!("sha256-sharded-{shard_bytes}")))
            }
            (method, size) => Err(format!("its method is {method:?} with ranges of {size:?}, which is not known")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireResource {
    name: String,
    algorithm: String,
    digest: String,
}

impl WireResource {
    fn resource(self, method: Method, algorithm: &str) -> Result<Resource, SignatureFault> {
        let other = |what: &str| SignatureFault::OtherStatement(format!("{}: {what}", self.name));
        if self.algorithm != algorithm || !is_sha256_hex(&self.digest) {
            return Err(other("the digest is not the one the method names"));
        }
        match method {
            Method::Files => Ok(Resource::file(self.name, self.digest)),
            Method::Shards { .. } => {
                let mut parts = self.name.rsplitn(3, ':');
                let mut number = || parts.next().filter(|text| is_plain_number(text)).and_then(|text| text.parse::<u64>().ok());
                let (Some(end), Some(start)) = (number(), number()) else { return Err(other("is not a path and a range")) };
                let path = parts.next().ok_or_else(|| other("is not a path and a range"))?;
                Ok(Resource::shard(path, start..end, self.digest.clone()))
            }
        }
    }
}

/// Digits as a number is written, so that one range has one name.
fn is_plain_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}
