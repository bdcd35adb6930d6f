//! `sluice verify`: is a folder still what was published? Offline, against the signatures kept in it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::fault::Fault;
use super::folder::{InTheWay, Origin, What, in_the_way, target_of};
use super::hash::{self, Part, Suspect};
use super::manifest::Listed;
use super::meter::Meter;
use super::names::{OURS, PARTIAL};
use super::proof::Bundles;
use super::release::{Digest, ReleaseFile};
use super::{glob, keys};

/// Of one file, so many places are told apart.
const PLACES_MAX: usize = 8;
/// Folders in folders are looked into so deep.
const DEPTH_MAX: usize = 64;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Findings {
    /// The model and the commit that the folder is to hold.
    pub model: String,
    /// The commit; nothing where the signatures name none.
    pub revision: Option<String>,
    /// Files that are right, and their bytes.
    pub files: usize,
    /// Bytes of the files that are right.
    pub bytes: u64,
    /// Files that are not what was signed.
    pub differing: Vec<Differing>,
    /// Files that are not there.
    pub missing: Vec<String>,
    /// What lies there and was not signed.
    pub extra: Vec<String>,
    /// Files that a pull has not completed.
    pub partial: Vec<String>,
    /// Files that are not there because the pull did not want them.
    pub left_out: usize,
    /// Files that lie there and that the signatures which were named know, and do not speak of.
    pub unsigned: Vec<String>,
}

/// A file that is not what was signed, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Differing {
    /// Its path.
    pub path: String,
    /// How long it is.
    pub size_bytes: u64,
    /// How long it should be; as it is, where only its digest was signed.
    pub expected_bytes: u64,
    /// The numbers of the chunks of 16 MiB that differ.
    pub chunks: Vec<usize>,
    /// What is no file and lies where it, or a folder above it, should be. Nothing is read through it.
    pub in_the_way: Option<InTheWay>,
}

impl Differing {
    fn line(&self) -> String {
        match &self.in_the_way {
            Some(InTheWay { path, what: What::Link }) => return format!("differs  {}: {path} is a link, which is not followed", self.path),
            Some(InTheWay { path, what: What::Other }) if *path == self.path => return format!("differs  {path}: {path} is no file"),
            Some(InTheWay { path, what: What::Other }) => return format!("differs  {}: {path} is no folder", self.path),
            None => {}
        }
        let sizes = match self.size_bytes == self.expected_bytes {
            true => String::new(),
            false => format!(" ({} bytes instead of {})", self.size_bytes, self.expected_bytes),
        };
        let shown = self.chunks.iter().take(PLACES_MAX).map(usize::to_string).collect::<Vec<_>>().join(", ");
        let more = if self.chunks.len() > PLACES_MAX { format!(" and {} more", self.chunks.len() - PLACES_MAX) } else { String::new() };
        let chunks = if self.chunks.is_empty() { String::new() } else { format!(": chunk {shown}{more}") };
        format!("differs  {}{sizes}{chunks}", self.path)
    }
}

impl Findings {
    /// With nothing looked at.
    pub(super) fn none_yet(model: String, revision: Option<String>) -> Self {
        Self {
            model,
            revision,
            files: 0,
            bytes: 0,
            differing: Vec::new(),
            missing: Vec::new(),
            extra: Vec::new(),
            partial: Vec::new(),
            left_out: 0,
            unsigned: Vec::new(),
        }
    }

    /// Whether the folder is what was signed, file for file, with nothing beside.
    pub fn is_clean(&self) -> bool {
        self.differing.is_empty() && self.missing.is_empty() && self.extra.is_empty() && self.partial.is_empty()
    }

    /// A line for everything that is not as it should be.
    pub fn lines(&self) -> Vec<String> {
        let differing = self.differing.iter().map(Differing::line);
        let named = |what: &'static str, paths: &[String]| paths.iter().map(|path| format!("{what}{path}")).collect::<Vec<_>>();
        differing
            .chain(named("missing  ", &self.missing))
            .chain(named("partial  ", &self.partial))
            .chain(named("extra    ", &self.extra))
            .collect()
    }
}

/// Reads everything in `dir` and compares it. The key is the one given, else the one that this user remembers for the portal,
/// and those that it has vouched for. What lies in the folder makes no key trusted: whoever changed the files could have changed it, too.
pub fn verify(dir: &Path, key: Option<&Path>, config_dir: &Path, meter: &Meter) -> Result<Findings, Fault> {
    let origin = Origin::read(dir)?;
    let trusted = match key {
        Some(file) => vec![keys::from_file(file)?],
        None => keys::remembered(config_dir, &origin.endpoint)?,
    };
    if trusted.is_empty() {
        return Err(Fault::Usage(format!(
            "no key of {0} is known on this machine; give the publisher's with --key FILE ({0}/.well-known/sluice-key.pem, over a way you trust)",
            origin.endpoint
        )));
    }
    let trusted = keys::Listing::kept(&dir.join(OURS)).followed_from(trusted);
    let proven = Bundles::read(&dir.join(OURS))?.prove(&origin.revision, &trusted)?;
    if proven.model != origin.model {
        return Err(Fault::Mismatch(format!(
            "{} says that it holds {}, and the signatures in it are of {}; pull again",
            dir.display(),
            origin.model,
            proven.model
        )));
    }
    let release = match Listed::kept(&dir.join(OURS), &origin.revision)? {
        Some(listed) => {
            proven.check(&listed)?;
            listed.release
        }
        None => proven.release,
    };
    let files: Vec<Expected<'_>> = release.files.iter().map(|file| Expected { path: &file.path, content: Content::Chunks(file) }).collect();
    let is_wanted = |path: &str| origin.include.is_empty() || origin.include.iter().any(|pattern| glob::matches(pattern, path));
    let findings = Findings::none_yet(origin.model.clone(), Some(origin.revision.clone()));
    compare(dir, findings, &files, is_wanted, &|_| false, meter)
}

/// A file that should be in a folder, and what it should be.
pub(super) struct Expected<'a> {
    pub(super) path: &'a str,
    pub(super) content: Content<'a>,
}

/// What a file should be.
pub(super) enum Content<'a> {
    /// As a release has it, chunk by chunk.
    Chunks(&'a ReleaseFile),
    /// These ranges, one behind the other: start, length and digest of each.
    Ranges(Vec<(u64, u64, Digest)>),
    /// Of this digest, however long.
    Whole(Digest),
}

impl Content<'_> {
    /// How long it is, if that is known.
    fn size_bytes(&self) -> Option<u64> {
        match self {
            Content::Chunks(file) => Some(file.size_bytes),
            Content::Ranges(ranges) => Some(ranges.last().map_or(0, |(start, length, _)| start + length)),
            Content::Whole(_) => None,
        }
    }

    /// What has to be read of the file that lies there.
    fn suspect(&self, at: PathBuf, found_bytes: u64) -> Suspect {
        match self {
            Content::Chunks(file) => Suspect::of(at, file),
            Content::Ranges(ranges) => {
                Suspect::new(at, ranges.iter().map(|(start, length, sha256)| Part::new(*start, *length, *sha256)).collect())
            }
            Content::Whole(sha256) => Suspect::new(at, vec![Part::new(0, found_bytes, *sha256)]),
        }
    }
}

/// Compares what lies in `dir`. `findings`: of what, with nothing found yet. Files that are not `is_wanted` may be absent, and what is
/// `ignored` may lie there beside them.
pub(super) fn compare(
    dir: &Path,
    mut findings: Findings,
    files: &[Expected<'_>],
    is_wanted: impl Fn(&str) -> bool,
    ignored: &dyn Fn(&str) -> bool,
    meter: &Meter,
) -> Result<Findings, Fault> {
    let mut there: Vec<(&Expected<'_>, u64)> = Vec::new();
    for file in files {
        let path = file.path.to_owned();
        if let Some(found) = in_the_way(dir, file.path)? {
            let expected_bytes = file.content.size_bytes().unwrap_or_default();
            findings.differing.push(Differing { path, size_bytes: 0, expected_bytes, chunks: Vec::new(), in_the_way: Some(found) });
            continue;
        }
        match fs::symlink_metadata(target_of(dir, file.path)) {
            Ok(metadata) if metadata.is_file() => there.push((file, metadata.len())),
            _ if is_wanted(file.path) => findings.missing.push(path),
            _ => findings.left_out += 1,
        }
    }
    meter.begin(there.iter().map(|(file, found)| file.content.size_bytes().unwrap_or(*found)).sum(), 0);
    let suspects: Vec<Suspect> = there.iter().map(|(file, found)| file.content.suspect(target_of(dir, file.path), *found)).collect();
    for ((file, found), right) in there.iter().zip(hash::check(&suspects, meter)) {
        let expected = file.content.size_bytes().unwrap_or(*found);
        if right.iter().all(|right| *right) && *found == expected {
            findings.files += 1;
            findings.bytes += expected;
            continue;
        }
        // Of a whole file, no place is known.
        let is_whole = matches!(file.content, Content::Whole(_));
        let chunks = (0..right.len()).filter(|chunk| !right[*chunk] && !is_whole).collect();
        let path = file.path.to_owned();
        findings.differing.push(Differing { path, size_bytes: *found, expected_bytes: expected, chunks, in_the_way: None });
    }
    let signed: HashSet<PathBuf> = files.iter().map(|file| target_of(dir, file.path)).collect();
    look_for_more(dir, dir, &signed, ignored, 0, &mut findings)?;
    findings.extra.sort();
    findings.partial.sort();
    Ok(findings)
}

fn look_for_more(
    root: &Path,
    folder: &Path,
    signed: &HashSet<PathBuf>,
    ignored: &dyn Fn(&str) -> bool,
    depth: usize,
    findings: &mut Findings,
) -> Result<(), Fault> {
    for entry in fs::read_dir(folder).map_err(|cause| Fault::io("look into", folder, &cause))? {
        let path = entry.map_err(|cause| Fault::io("look into", folder, &cause))?.path();
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        if name == OURS || signed.contains(&path) || ignored(&name) {
            continue;
        } else if is_folder && depth < DEPTH_MAX {
            look_for_more(root, &path, signed, ignored, depth + 1, findings)?;
        } else if let Some(partial) = name.strip_suffix(PARTIAL).filter(|whole| signed.contains(&root.join(whole))) {
            findings.partial.push(partial.to_owned());
        } else {
            findings.extra.push(name);
        }
    }
    Ok(())
}
