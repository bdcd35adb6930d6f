//! What lies in a folder that somebody wants to publish: files under sane names, nothing that leads out of it.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::check::Fault;
use crate::integrity::{Clashes, RELEASE_NAME_BYTES_MAX, check_release_name};

/// How large one file of a release may be: 5 GB. Clients refuse far larger ones, and a broken download of one costs too much.
pub(super) const FILE_BYTES_MAX: u64 = 5_000_000_000;
/// How many files a release may have; those that are set aside count as well, so that looking has an end.
const FILES_MAX: usize = 10_000;
/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 16;
/// How long a path may be, in bytes.
const PATH_BYTES_MAX: usize = 255;

/// Endings of files that hold pickles, or weights of frameworks that nobody here reads. They are never published.
const FOREIGN_WEIGHTS: &[&str] = &["bin", "ckpt", "h5", "joblib", "msgpack", "npz", "pickle", "pkl", "pt", "pth"];

/// One file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it lies.
    pub(super) source: PathBuf,
    /// How long it is.
    pub(super) size_bytes: u64,
    /// When it was written last, to notice that it changes under our hands.
    pub(super) modified: Option<SystemTime>,
}

/// The folder, sorted.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// What would be published, by its path in the release.
    pub(super) files: BTreeMap<String, Found>,
    /// PyTorch weights and other foreign ones, by path: read for conversion at most.
    pub(super) foreign: BTreeMap<String, Found>,
    /// What is left aside, and why.
    pub(super) notes: Vec<String>,
    /// What has to be mended before anything can be published.
    pub(super) faults: Vec<Fault>,
}

/// Looks through `dir`. Faults are collected; the error is only that the folder itself cannot be read.
pub(super) fn survey(dir: &Path) -> io::Result<Survey> {
    let mut survey = Survey::default();
    survey.walk(dir, "", 0)?;
    survey.faults.extend(clashes(survey.files.keys()));
    if survey.holds_too_many() {
        let problem = format!(
            "holds more than {FILES_MAX} files, and at most so many are looked at, set aside or not; take out what is no part of the release"
        );
        survey.fault("the folder", problem);
    }
    Ok(survey)
}

impl Survey {
    fn walk(&mut self, dir: &Path, prefix: &str, depth: usize) -> io::Result<()> {
        let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else {
                self.fault(format!("{prefix}{}", entry.file_name().to_string_lossy()), "has a name that is no text; rename it");
                continue;
            };
            let path = format!("{prefix}{name}");
            if name.starts_with('.') {
                self.notes.push(format!("{path}: hidden, not published"));
                continue;
            }
            let kind = entry.file_type()?;
            if self.holds_too_many() {
                return Ok(());
            }
            self.take(&entry.path(), path, kind, depth)?;
        }
        Ok(())
    }

    fn take(&mut self, source: &Path, path: String, kind: FileType, depth: usize) -> io::Result<()> {
        if let Err(problem) = check_path(&path) {
            self.fault(&path, problem);
        }
        if kind.is_dir() {
            if depth == DEPTH_MAX {
                self.fault(path, format!("lies more than {DEPTH_MAX} folders deep"));
                return Ok(());
            }
            return self.walk(source, &format!("{path}/"), depth + 1);
        }
        if kind.is_symlink() {
            let target = fs::read_link(source)?;
            self.fault(path, format!("is a link to {}; put the file itself there (cp -L follows links)", target.display()));
            return Ok(());
        }
        if !kind.is_file() {
            self.fault(path, "is no regular file (a pipe, a socket or a device)");
            return Ok(());
        }
        let metadata = fs::metadata(source)?;
        let found = Found { source: source.to_owned(), size_bytes: metadata.len(), modified: metadata.modified().ok() };
        if is_foreign(&path) {
            self.foreign.insert(path, found);
            return Ok(());
        }
        if found.size_bytes > FILE_BYTES_MAX {
            self.fault(
                &path,
                format!("has {} bytes; a file may have at most {FILE_BYTES_MAX}: write it in smaller shards", found.size_bytes),
            );
        }
        match disguise(source) {
            Ok(None) => {}
            Ok(Some(what)) => self.fault(
                &path,
                format!("is {what}, whatever its name says; such a file can run code when it is opened and is not published"),
            ),
            Err(cause) => self.fault(&path, format!("cannot be read: {cause}")),
        }
        self.files.insert(path, found);
        Ok(())
    }

    /// Then looking ends, and the folder is refused.
    fn holds_too_many(&self) -> bool {
        self.files.len() + self.foreign.len() > FILES_MAX
    }

    fn fault(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        self.faults.push(Fault { place: place.into(), problem: problem.into() });
    }
}

/// Names that are one file, or one folder, on many people's disks: each is told once.
pub(super) fn clashes<'a>(paths: impl Iterator<Item = &'a String>) -> Vec<Fault> {
    let (mut names, mut told) = (Clashes::default(), HashSet::new());
    let found = paths.filter_map(|path| names.add(path).err()).filter(|clash| told.insert(clash.clone()));
    found.map(|clash| Fault { place: clash.path.clone(), problem: format!("{clash}; rename one of them") }).collect()
}

/// Whether the ending says that it holds a pickle or another framework's weights.
pub(super) fn is_foreign(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, ending)| FOREIGN_WEIGHTS.contains(&ending.to_ascii_lowercase().as_str()))
}

/// Names that every client and every disk can keep: some refuse spaces, '#' and non-ASCII, others cut at odd characters. What `sluice pull`
/// would refuse is refused here.
fn check_path(path: &str) -> Result<(), String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if let Some(odd) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.+=@,()".contains(*c)) {
        return Err(format!("has {odd:?} in its name; some clients cannot fetch that: rename it with letters, digits, '-', '_' and '.'"));
    }
    if name.len() > RELEASE_NAME_BYTES_MAX {
        return Err(format!("has a name of {} characters; at most {RELEASE_NAME_BYTES_MAX} are allowed: rename it", name.len()));
    }
    check_release_name(name).map_err(|why| format!("{why}; rename it"))?;
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("has a path of {} characters; at most {PATH_BYTES_MAX} are allowed", path.len()));
    }
    Ok(())
}

/// What a file is that should not be here, by its first bytes: a pickle (protocol 2 to 5) or an archive that may hold one.
fn disguise(source: &Path) -> io::Result<Option<&'static str>> {
    let mut first = Vec::with_capacity(9);
    File::open(source)?.take(9).read_to_end(&mut first)?;
    Ok(match first.as_slice() {
        // safetensors: the header's length in eight bytes, which may be any, then the header, which is a JSON object.
        [_, _, _, _, _, _, _, _, b'{'] => None,
        [0x80, 2..=5, ..] => Some("a pickle"),
        [b'P', b'K', 3, 4, ..] => Some("a zip archive"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    fn places(survey: &Survey) -> Vec<&str> {
        survey.faults.iter().map(|fault| fault.place.as_str()).collect()
    }

    #[test]
    fn a_plain_folder_is_taken_as_it_is() {
        let dir = folder(&[("config.json", b"{}"), ("original/params.json", b"{}"), (".gitattributes", b""), (".git/HEAD", b"x")]);
        let survey = survey(dir.path()).unwrap();
        assert_eq!(places(&survey), [""; 0]);
        assert_eq!(survey.files.keys().collect::<Vec<_>>(), ["config.json", "original/params.json"]);
        assert_eq!(survey.notes, [".git: hidden, not published", ".gitattributes: hidden, not published"]);
    }

    #[test]
    fn every_fault_is_named_not_only_the_first() {
        let dir = folder(&[("a b.txt", b""), ("c#.txt", b""), ("ö.txt", b""), ("Readme.md", b""), ("README.md", b""), ("sub/x\\y", b"")]);
        let survey = survey(dir.path()).unwrap();
        assert_eq!(places(&survey), ["a b.txt", "c#.txt", "sub/x\\y", "ö.txt", "Readme.md"]);
    }

    #[test]
    fn what_no_pull_would_write_is_not_published() {
        let long = format!("{}.json", "a".repeat(244));
        for (files, place) in [
            (&["Sub/a.txt", "sub/b.txt", "sub/c.txt"][..], "sub"),
            (&["A", "a/b.txt"], "a"),
            (&["con.json"], "con.json"),
            (&["lpt1/a.txt", "lpt1/b.txt"], "lpt1"),
            (&[long.as_str()], long.as_str()),
            (&["x.sluice-part"], "x.sluice-part"),
        ] {
            let dir = folder(&files.iter().map(|path| (*path, &b"{}"[..])).collect::<Vec<_>>());
            assert_eq!(places(&survey(dir.path()).unwrap()), [place], "{files:?}");
        }
    }

    #[test]
    fn of_too_many_files_none_is_left_out_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..FILES_MAX - 10 {
            File::create(dir.path().join(format!("{number}.npz"))).unwrap();
        }
        for number in 0..10 {
            File::create(dir.path().join(format!("text-{number}.txt"))).unwrap();
        }
        let full = survey(dir.path()).unwrap();
        assert_eq!((places(&full), full.files.len()), (vec![], 10));
        for number in 10..30 {
            File::create(dir.path().join(format!("text-{number}.txt"))).unwrap();
        }
        assert_eq!(places(&survey(dir.path()).unwrap()), ["the folder"]);
    }

    #[test]
    fn links_are_refused_wherever_they_lead() {
        let dir = folder(&[("config.json", b"{}")]);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("passwd.txt")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        let survey = survey(dir.path()).unwrap();
        assert_eq!(places(&survey), ["loop", "passwd.txt"]);
        assert!(survey.faults[1].problem.contains("/etc/passwd"));
        assert_eq!(survey.files.len(), 1);
    }

    #[test]
    fn pickles_are_set_aside_by_ending_and_refused_in_disguise() {
        let dir =
            folder(&[("training_args.bin", b"\x80\x02}"), ("TF_model.H5", b""), ("vocab.txt", b"\x80\x04}"), ("notes.md", b"PK\x03\x04")]);
        let survey = survey(dir.path()).unwrap();
        assert_eq!(survey.foreign.keys().collect::<Vec<_>>(), ["TF_model.H5", "training_args.bin"]);
        assert_eq!(places(&survey), ["notes.md", "vocab.txt"]);
    }

    #[test]
    fn a_file_over_five_gigabytes_is_refused() {
        let dir = folder(&[("config.json", b"{}")]);
        File::create(dir.path().join("model.safetensors")).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        let survey = survey(dir.path()).unwrap();
        assert_eq!(places(&survey), ["model.safetensors"]);
        assert!(survey.faults[0].problem.contains("5000000001"));
    }
}
