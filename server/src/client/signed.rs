//! `sluice verify --signature`: is a folder what an OpenSSF model signature says? Whoever fetched it, and whoever signed it: what `hf download`
//! brought from a portal, or another publisher's weights signed with the reference tool.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::fault::Fault;
use super::folder::read_small;
use super::keys;
use super::meter::Meter;
use super::names::OURS;
use super::release::Digest;
use super::verify::{Content, Expected, Findings, compare};
use crate::integrity::{BUNDLE_BYTES_MAX, Method, NEVER_SIGNED, PublicKey, Resource, Signed, signature};

/// What a portal calls the signatures of a release: weights and documents by file.
const NAMES: [&str; 2] = ["model.sig", "documents.sig"];

/// The signatures that lie in the folder, as a portal calls them.
fn signatures_in(dir: &Path) -> Vec<PathBuf> {
    NAMES.iter().map(|name| dir.join(name)).filter(|path| path.is_file()).collect()
}

/// Whether no pull has made the folder, and there are signatures in it.
pub fn is_of_others(dir: &Path) -> bool {
    !dir.join(OURS).join("release.json").exists() && !signatures_in(dir).is_empty()
}

/// Compares `dir` with the signatures that lie in it. A release of a portal has both: whoever took one away could change, or take, what it
/// speaks of.
pub fn verify_by_what_lies_there(dir: &Path, key: &Path, meter: &Meter) -> Result<Findings, Fault> {
    let signatures = signatures_in(dir);
    let findings = verify_signed(dir, &signatures, key, meter)?;
    if findings.revision.is_some() && signatures.len() < NAMES.len() {
        return Err(Fault::Mismatch(format!(
            "of the signatures of a release one is not in {}: fetch {} both, or check what one speaks of with --signature",
            dir.display(),
            NAMES.join(" and ")
        )));
    }
    if findings.unsigned.is_empty() {
        return Ok(findings);
    }
    Err(Fault::Mismatch(format!(
        "the signatures in {} do not speak of {}: take that out, or check what one of them speaks of with --signature",
        dir.display(),
        findings.unsigned.join(", ")
    )))
}

/// Compares `dir` with what these signatures say together, all made with the key in the file `key`.
pub fn verify_signed(dir: &Path, signatures: &[PathBuf], key: &Path, meter: &Meter) -> Result<Findings, Fault> {
    let trusted = [keys::from_file(key)?];
    let signed = signatures.iter().map(|path| read(path, &trusted)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = signed.first() else { return Err(Fault::Usage("no signature was named".into())) };
    if let Some(other) = signed.iter().position(|other| (&other.subject, &other.release) != (&first.subject, &first.release)) {
        let [first, other] = [&signatures[0], &signatures[other]].map(|path| path.display().to_string());
        return Err(Fault::Mismatch(format!("{first} and {other} are signatures of different releases")));
    }
    let mut files: BTreeMap<&str, &[&Resource]> = BTreeMap::new();
    let by_path: Vec<_> = signed.iter().map(Signed::by_path).collect();
    for (path, resources) in by_path.iter().flatten() {
        if files.insert(path, resources).is_some() {
            return Err(Fault::Usage(format!("two of these signatures speak of {path}; name one of them")));
        }
    }
    let files = files.into_iter().map(expected).collect::<Result<Vec<_>, _>>()?;
    let unspoken = RefCell::new(Vec::new());
    let beside: Vec<PathBuf> = signatures.iter().filter_map(|path| path.canonicalize().ok()).collect();
    // Ranges do not speak of what has no byte.
    let has_ranges = signed.iter().any(|signed| matches!(signed.method, Method::Shards { .. }));
    let is_empty = |path: &str| fs::symlink_metadata(dir.join(path)).is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0);
    let ignored = |path: &str| {
        let is_named = |ignored: &String| path == ignored || path.strip_prefix(ignored.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if signed.iter().flat_map(|signed| &signed.ignored).any(is_named) {
            if !NEVER_SIGNED.contains(&path) {
                unspoken.borrow_mut().push(path.to_owned());
            }
            return true;
        }
        has_ranges && is_empty(path) || dir.join(path).canonicalize().is_ok_and(|path| beside.contains(&path))
    };
    let revision = first.release.as_ref().map(|release| release.revision.clone());
    let findings = compare(dir, Findings::none_yet(first.subject.clone(), revision), &files, |_| true, &ignored, meter)?;
    let mut unsigned = unspoken.into_inner();
    unsigned.sort();
    Ok(Findings { unsigned, ..findings })
}

fn read(path: &Path, trusted: &[PublicKey]) -> Result<Signed, Fault> {
    let bytes = read_small(path, BUNDLE_BYTES_MAX as u64)
        .map_err(|cause| Fault::Usage(format!("the signature {} cannot be read: {cause}", path.display())))?;
    signature::verify(&bytes, trusted).map_err(|fault| Fault::Mismatch(format!("{}: {fault}", path.display())))
}

fn expected<'a>((path, resources): (&'a str, &[&Resource])) -> Result<Expected<'a>, Fault> {
    let digest =
        |resource: &Resource| Digest::parse(&resource.sha256).ok_or_else(|| Fault::Mismatch(format!("{path}: signed with no digest")));
    let content = match resources {
        [whole] if whole.range.is_none() => Content::Whole(digest(whole)?),
        ranges => {
            let range = |resource: &&Resource| {
                let range = resource.range.clone().unwrap_or_default();
                Ok((range.start, range.end - range.start, digest(resource)?))
            };
            Content::Ranges(ranges.iter().map(range).collect::<Result<_, Fault>>()?)
        }
    };
    Ok(Expected { path, content })
}
