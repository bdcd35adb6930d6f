//! What has to be fetched, and what of it is there already.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::fault::Fault;
use super::folder::{Folder, InTheWay, What, in_the_way, partial_of, refuse_links, remove_links, target_of};
use super::hash::{self, Suspect};
use super::journal::{Entry, Fingerprint, Id, Known};
use super::meter::Meter;
use super::names::PARTIAL;
use super::release::{Release, ReleaseFile};

/// A file that is not complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// Which file of the release.
    pub(super) file: usize,
    /// Chunks to be fetched.
    pub(super) missing: Vec<u32>,
    /// Chunks that an earlier run says it has written: they are compared once more before the file gets its name.
    pub(super) inherited: Vec<u32>,
}

/// What has to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) jobs: Vec<Job>,
    /// Bytes to be fetched.
    pub(super) missing_bytes: u64,
    /// Files that lie there and have to be read before anything can be said of them. Only in a dry run.
    pub(super) unread_files: usize,
}

/// How a file was found, without reading it.
enum Seen {
    /// It has its name and is as a pull has left it.
    Whole,
    /// It has to be fetched but for these chunks.
    Partial(Vec<bool>),
    /// Something lies under its name that no pull has left so.
    Strange(Fingerprint),
    /// A partial file that the journal does not know.
    StrangePartial,
}

/// What would be done, without reading or changing anything. With `repair` a link would make room for the whole file.
pub(super) fn foresee(release: &Release, wanted: &[usize], root: &Path, known: &HashMap<Id, Known>, repair: bool) -> Result<Plan, Fault> {
    let mut plan = Plan::default();
    for &at in wanted {
        let file = &release.files[at];
        if repair && (is_behind_a_link(root, &file.path)? || is_behind_a_link(root, &format!("{}{PARTIAL}", file.path))?) {
            plan.add(file, at, |_| false);
            continue;
        }
        match look(root, file, known)? {
            Seen::Whole => {}
            Seen::Partial(there) => plan.add(file, at, |chunk| there[chunk]),
            Seen::Strange(_) | Seen::StrangePartial => plan.unread_files += 1,
        }
    }
    Ok(plan)
}

/// Looks at every wanted file, reads what only reading can tell, and says what remains. With `repair` every file is read, and of a
/// file that differs the good chunks are kept, and links make room for files; without it, such a file is a fault: it may be somebody's own.
pub(super) fn prepare(release: &Release, wanted: &[usize], folder: &Folder, repair: bool, meter: &Meter) -> Result<Plan, Fault> {
    let root = folder.root();
    if repair {
        make_room(release, wanted, root)?;
    }
    let mut plan = Plan::default();
    let mut suspects = Vec::new();
    for &at in wanted {
        let file = &release.files[at];
        let seen = match look(root, file, folder.journal.known())? {
            Seen::Whole if repair => Seen::Strange(fingerprint(&target_of(root, &file.path))?),
            seen => seen,
        };
        match seen {
            Seen::Whole => meter.found(file.size_bytes),
            Seen::Partial(there) => {
                plan.add(file, at, |chunk| there[chunk]);
                meter.found((0..there.len()).filter(|chunk| there[*chunk]).map(|chunk| file.range(chunk).1).sum());
            }
            Seen::Strange(as_it_is) => suspects.push((at, file, target_of(root, &file.path), Some(as_it_is))),
            Seen::StrangePartial => suspects.push((at, file, partial_of(root, &file.path), None)),
        }
    }
    let reading: Vec<Suspect> = suspects.iter().map(|(_, file, lies, _)| Suspect::of(lies.clone(), file)).collect();
    let found = hash::check(&reading, meter);
    let mut differing = Vec::new();
    for ((at, file, lies, complete), right) in suspects.into_iter().zip(found) {
        let bad = right.iter().filter(|right| !**right).count();
        let size = fs::symlink_metadata(&lies).map(|metadata| metadata.len()).unwrap_or_default();
        match complete {
            Some(as_it_is) if bad == 0 && size == file.size_bytes => {
                record(folder, Entry::Done { path: Id::of_path(&file.path), digest: Id::of(&file.listed()), as_it_is })?;
                continue;
            }
            Some(_) if !repair => {
                differing.push(format!("{}: {bad} of {} chunks differ, {size} bytes of {}", file.path, right.len(), file.size_bytes));
                continue;
            }
            // Out of its place: nobody should take a broken file for a whole one while it is mended.
            Some(_) => fs::rename(&lies, partial_of(root, &file.path)).map_err(|cause| Fault::io("mend", &lies, &cause))?,
            None => {}
        }
        adopt(folder, file, &right)?;
        plan.add(file, at, |chunk| right[chunk]);
    }
    if differing.is_empty() {
        return Ok(plan);
    }
    Err(Fault::Mismatch(format!(
        "these files lie in {} and are not what was published:\n  {}\nNothing was changed. `sluice pull --repair` keeps their good chunks and fetches the others",
        root.display(),
        differing.join("\n  ")
    )))
}

impl Plan {
    fn add(&mut self, file: &ReleaseFile, at: usize, is_there: impl Fn(usize) -> bool) {
        let (mut missing, mut inherited) = (Vec::new(), Vec::new());
        for chunk in 0..file.chunks.len() {
            let number = u32::try_from(chunk).expect("there are fewer than four million chunks");
            if is_there(chunk) {
                inherited.push(number);
            } else {
                missing.push(number);
                self.missing_bytes += file.range(chunk).1;
            }
        }
        self.jobs.push(Job { file: at, missing, inherited });
    }
}

/// Writes down that a partial file, wherever it came from, has these chunks.
fn adopt(folder: &Folder, file: &ReleaseFile, right: &[bool]) -> Result<(), Fault> {
    let path = Id::of_path(&file.path);
    let (_, inode) = folder.partial(&file.path, file.size_bytes)?;
    record(folder, Entry::Begun { path, inode })?;
    for (chunk, digest) in file.chunks.iter().enumerate().filter(|(chunk, _)| right[*chunk]) {
        let chunk = u32::try_from(chunk).expect("there are fewer than four million chunks");
        record(folder, Entry::Chunk { path, chunk, digest: Id::of(digest) })?;
    }
    Ok(())
}

fn record(folder: &Folder, entry: Entry) -> Result<(), Fault> {
    folder.journal.append(entry).map_err(|cause| Fault::io("keep the journal in", &folder.ours(), &cause))
}

/// Removes links where files are wanted; before the first, sees to it that nothing else is in the way.
fn make_room(release: &Release, wanted: &[usize], root: &Path) -> Result<(), Fault> {
    let paths = || wanted.iter().map(|at| &release.files[*at].path).flat_map(|path| [path.clone(), format!("{path}{PARTIAL}")]);
    for path in paths() {
        if !is_behind_a_link(root, &path)? {
            refuse_links(root, &path)?;
        }
    }
    paths().try_for_each(|path| remove_links(root, &path))
}

fn is_behind_a_link(root: &Path, path: &str) -> Result<bool, Fault> {
    Ok(matches!(in_the_way(root, path)?, Some(InTheWay { what: What::Link, .. })))
}

fn look(root: &Path, file: &ReleaseFile, known: &HashMap<Id, Known>) -> Result<Seen, Fault> {
    refuse_links(root, &file.path)?;
    let known = known.get(&Id::of_path(&file.path));
    let done = known.and_then(|known| known.done);
    if let Some(metadata) = stat(&target_of(root, &file.path))? {
        let as_it_is = Fingerprint::from(&metadata);
        match done {
            Some((digest, then)) if then == as_it_is => {
                if digest == Id::of(&file.listed()) && metadata.len() == file.size_bytes {
                    return Ok(Seen::Whole);
                }
                // As sluice noted it before its lists had BLAKE3: this may be it.
                if digest == Id::of(&file.sha256) {
                    return Ok(Seen::Strange(as_it_is));
                }
                // What an earlier release had under this name, as a pull has left it: it may be replaced.
            }
            _ => return Ok(Seen::Strange(as_it_is)),
        }
    }
    refuse_links(root, &format!("{}{PARTIAL}", file.path))?;
    let nothing = || vec![false; file.chunks.len()];
    let Some(partial) = stat(&partial_of(root, &file.path))? else { return Ok(Seen::Partial(nothing())) };
    match known {
        Some(known) if known.inode == Some(partial.ino()) && partial.len() == file.size_bytes => {
            let is_there = |(chunk, digest)| u32::try_from(chunk).is_ok_and(|chunk| known.chunks.get(&chunk) == Some(&Id::of(digest)));
            Ok(Seen::Partial(file.chunks.iter().enumerate().map(is_there).collect()))
        }
        _ => Ok(Seen::StrangePartial),
    }
}

fn stat(path: &Path) -> Result<Option<Metadata>, Fault> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(cause) => Err(Fault::io("look at", path, &cause)),
    }
}

fn fingerprint(path: &Path) -> Result<Fingerprint, Fault> {
    fs::symlink_metadata(path).map(|metadata| Fingerprint::from(&metadata)).map_err(|cause| Fault::io("look at", path, &cause))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use std::time::{Duration, Instant};

    use super::super::release::{CHUNK_BYTES, Digest};
    use super::*;

    /// Two portals may sign different bytes under one revision, whose SHA-256 nobody compares: what one has brought is not the other's.
    #[test]
    fn a_file_that_was_right_by_another_list_is_fetched_anew() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let mut file =
            ReleaseFile { path: "a".into(), size_bytes: 1, sha256: Digest::of(b"a"), chunks: vec![Digest::of(b"a")], blake3: vec![] };
        fs::write(place.path().join("a"), b"a").unwrap();
        let as_it_is = fingerprint(&place.path().join("a")).unwrap();
        let seen = |file: &ReleaseFile, digest: &Digest| {
            let done = Known { done: Some((Id::of(digest), as_it_is)), ..Known::default() };
            look(folder.root(), file, &HashMap::from([(Id::of_path("a"), done)])).unwrap()
        };
        let here = file.listed();
        assert!(matches!(seen(&file, &here), Seen::Whole));
        assert!(matches!(seen(&file, &file.sha256), Seen::Strange(_)), "noted by an older sluice");
        file.blake3 = vec![Digest::of(b"other")];
        assert!(matches!(seen(&file, &here), Seen::Partial(there) if there == [false]));
    }

    /// A thousand shards of 350 MB: 900 complete, 100 half there. Sparse, so that the test needs no disk.
    #[test]
    fn what_remains_of_a_very_large_release_is_known_within_a_second() {
        let (shards, size_bytes) = (1_000, 350_000_000u64);
        let place = tempfile::tempdir().unwrap();
        let file = |number: usize| {
            let path = format!("model-{number:05}-of-01000.safetensors");
            let chunks = (0..size_bytes.div_ceil(CHUNK_BYTES)).map(|chunk| Digest::of(format!("{number} {chunk}").as_bytes())).collect();
            ReleaseFile { sha256: Digest::of(path.as_bytes()), path, size_bytes, chunks, blake3: Vec::new() }
        };
        let release = Release { revision: "0".repeat(40), files: (0..shards).map(file).collect() };
        let wanted: Vec<usize> = (0..shards).collect();
        {
            let folder = Folder::open(place.path()).unwrap();
            for (number, file) in release.files.iter().enumerate() {
                let (path, complete) = (Id::of_path(&file.path), number < 900);
                let at = place.path().join(format!("{}{}", file.path, if complete { "" } else { PARTIAL }));
                let made = fs::File::create(&at).unwrap();
                made.set_len(size_bytes).unwrap();
                let metadata = made.metadata().unwrap();
                if complete {
                    let as_it_is = Fingerprint::from(&metadata);
                    folder.journal.append(Entry::Done { path, digest: Id::of(&file.listed()), as_it_is }).unwrap();
                    continue;
                }
                folder.journal.append(Entry::Begun { path, inode: metadata.ino() }).unwrap();
                for chunk in (0..file.chunks.len()).step_by(2) {
                    let entry = Entry::Chunk { path, chunk: u32::try_from(chunk).unwrap(), digest: Id::of(&file.chunks[chunk]) };
                    folder.journal.append(entry).unwrap();
                }
            }
        }
        let begun = Instant::now();
        let folder = Folder::open(place.path()).unwrap();
        let plan = prepare(&release, &wanted, &folder, false, &Meter::default()).unwrap();
        let took = begun.elapsed();
        assert_eq!(plan.jobs.len(), 100);
        assert!(plan.jobs.iter().all(|job| (job.missing.len(), job.inherited.len()) == (10, 11)));
        assert_eq!(plan.missing_bytes, 100 * 10 * CHUNK_BYTES);
        assert!(took < Duration::from_secs(1), "it took {took:?}");
        drop(folder);
        let seen = foresee(
            &release,
            &wanted,
            place.path(),
            &super::super::journal::Journal::peek(&super::super::folder::journal_of(place.path())),
            false,
        );
        assert_eq!(seen.unwrap(), plan, "a dry run foresees what is done");
    }
}
