//! Where things lie on their way into the store: for a folder of objects beside them on one file system, for a bucket on our own disk.

use std::fs::{DirEntry, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::data_dir;

/// The file in `staging/` on which whoever stages something holds a shared lock: the kernel lets it go when a process dies,
/// however it dies, and then the leftovers may be swept.
const LOCK_FILE: &str = ".in-use";

/// How the names of folders begin that outlive who works in them (see [`Folder::stage_lasting_folder`]).
const LASTING_PREFIX: &str = "lasting-";
/// How long such a folder waits for somebody to go on with it: 7 days.
const LASTING_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The folder for what is not yet, or not, an object.
#[derive(Debug, Clone)]
pub struct Staging {
    root: PathBuf,
}

/// A file being written; becomes an object by being kept, disappears when dropped.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    kept: bool,
    _in_use: File,
    /// Open and locked for us alone where the file has a name that others may ask for.
    _own: Option<File>,
}

impl Staged {
    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It has been moved away: there is nothing left to remove.
    pub(super) fn moved(mut self) {
        self.kept = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed by the next `Staging::sweep`.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A folder for files on their way into the store, on its file system; disappears with what is left in it when dropped.
#[derive(Debug)]
pub struct StagedFolder {
    path: PathBuf,
    _in_use: File,
    /// Open and locked for us alone where the folder has a name that others may ask for.
    _own: Option<File>,
}

impl StagedFolder {
    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next `Staging::sweep`.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

impl Staging {
    /// Opens (and makes, if need be) the folder.
    pub fn open(root: &Path) -> io::Result<Self> {
        data_dir::make_private(root)?;
        Ok(Self { root: std::fs::canonicalize(root)? })
    }

    /// Whether new things can be staged; an error says why not.
    pub fn writable(&self) -> io::Result<()> {
        rustix::fs::access(&self.root, rustix::fs::Access::WRITE_OK)?;
        Ok(())
    }

    /// A place to write a new object, on the same file system.
    pub fn stage(&self) -> io::Result<Staged> {
        let in_use = self.in_use()?;
        Ok(Staged { path: self.staging_path(), kept: false, _in_use: in_use, _own: None })
    }

    /// The same for a file that is worth going on with: after a kill, what was written of it is there for whoever asks for the same `key`
    /// within a week. Finished or given up, it goes as any other. Somebody else writes it now: a plain one.
    pub fn stage_lasting(&self, key: &str) -> io::Result<Staged> {
        let in_use = self.in_use()?;
        let path = self.root.join(format!("{LASTING_PREFIX}{key}"));
        let own = data_dir::private_file().read(true).write(true).open(&path)?;
        match locked(&own, &path)? {
            true => Ok(Staged { path, kept: false, _in_use: in_use, _own: Some(own) }),
            false => self.stage(),
        }
    }

    /// A place to write several files that become objects one by one.
    pub fn stage_folder(&self) -> io::Result<StagedFolder> {
        let in_use = self.in_use()?;
        let path = self.staging_path();
        std::fs::create_dir(&path)?;
        Ok(StagedFolder { path, _in_use: in_use, _own: None })
    }

    /// The same for work that is worth going on with: after a kill, what lies in it is there for whoever asks for the same `key`
    /// within a week. Finished or given up, it goes as any other. Somebody else works there now: a plain staged folder.
    pub fn stage_lasting_folder(&self, key: &str) -> io::Result<StagedFolder> {
        let in_use = self.in_use()?;
        let path = self.root.join(format!("{LASTING_PREFIX}{key}"));
        std::fs::create_dir_all(&path)?;
        let own = File::open(&path)?;
        match locked(&own, &path)? {
            true => Ok(StagedFolder { path, _in_use: in_use, _own: Some(own) }),
            false => self.stage_folder(),
        }
    }

    /// Removes what interrupted writers left behind, unless it is worth going on with; returns how many things. Does nothing while anybody is writing, in this
    /// process or another.
    pub fn sweep(&self) -> io::Result<usize> {
        let lock = File::create(self.root.join(LOCK_FILE))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(0),
            Err(TryLockError::Error(cause)) => return Err(cause),
        }
        let mut swept = 0;
        for entry in std::fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name() == LOCK_FILE || may_be_gone_on_with(&entry)? {
                continue;
            }
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
            swept += 1;
        }
        Ok(swept)
    }

    fn staging_path(&self) -> PathBuf {
        self.root.join(crate::ids::DownloadId::fresh().to_string())
    }

    /// Waits out a sweep that is going on, then says that somebody is writing for as long as the file is open.
    fn in_use(&self) -> io::Result<File> {
        let lock = File::create(self.root.join(LOCK_FILE))?;
        lock.lock_shared()?;
        Ok(lock)
    }
}

/// Takes what lies at `path`, open as `own`, for us alone; false if somebody else has it.
fn locked(own: &File, path: &Path) -> io::Result<bool> {
    match own.try_lock() {
        // Whoever had it before us may have removed it between the two: then ours is nothing that anybody can find.
        Ok(()) => Ok(std::fs::metadata(path).is_ok_and(|found| own.metadata().is_ok_and(|locked| locked.ino() == found.ino()))),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
}

fn may_be_gone_on_with(entry: &DirEntry) -> io::Result<bool> {
    let lasting = entry.file_name().as_encoded_bytes().starts_with(LASTING_PREFIX.as_bytes());
    // A time that lies ahead of the clock is no age.
    Ok(lasting && entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age < LASTING_LIFE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn staging() -> (tempfile::TempDir, Staging) {
        let home = tempfile::tempdir().unwrap();
        let staging = Staging::open(&home.path().join("staging")).unwrap();
        (home, staging)
    }

    fn staged_things(staging: &Staging) -> usize {
        std::fs::read_dir(&staging.root).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != LOCK_FILE).count()
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let (_home, staging) = staging();
        let staged = staging.stage().unwrap();
        std::fs::write(staged.path(), "half").unwrap();
        let folder = staging.stage_folder().unwrap();
        std::fs::write(folder.path().join("half"), "half").unwrap();
        drop((staged, folder));
        assert_eq!(staged_things(&staging), 0);
    }

    #[test]
    fn work_worth_going_on_with_outlives_a_kill_for_a_week() {
        let (_home, staging) = staging();
        let left = staging.root.join("lasting-conversion");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("shard"), "done").unwrap();
        assert_eq!(staging.sweep().unwrap(), 0);

        let mine = staging.stage_lasting_folder("conversion").unwrap();
        assert_eq!(std::fs::read(mine.path().join("shard")).unwrap(), b"done");
        let other = staging.stage_lasting_folder("conversion").unwrap();
        assert!(other.path() != mine.path() && std::fs::read_dir(other.path()).unwrap().next().is_none(), "one works there at a time");
        drop((mine, other));
        assert_eq!(staged_things(&staging), 0, "who is done leaves nothing");

        let file = staging.stage_lasting("copy").unwrap();
        std::fs::write(file.path(), "half").unwrap();
        assert_ne!(staging.stage_lasting("copy").unwrap().path(), file.path(), "one writes it at a time");
        assert_eq!(staging.sweep().unwrap(), 0);
        drop(file);
        std::fs::write(staging.root.join("lasting-copy"), "half").unwrap();
        assert_eq!(staging.sweep().unwrap(), 0, "as a kill leaves it");
        assert_eq!(std::fs::read(staging.stage_lasting("copy").unwrap().path()).unwrap(), b"half");
        assert_eq!(staged_things(&staging), 0);

        std::fs::create_dir(&left).unwrap();
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::open(&left).unwrap().set_modified(old).unwrap();
        assert_eq!(staging.sweep().unwrap(), 1, "nobody came back");
    }

    #[test]
    fn leftovers_are_swept_and_live_writers_are_left_alone() {
        let (_home, staging) = staging();
        std::fs::write(staging.root.join("left-by-a-killed-process"), "half").unwrap();
        std::fs::create_dir(staging.root.join("folder-left")).unwrap();
        let staged = staging.stage().unwrap();
        std::fs::write(staged.path(), "half").unwrap();
        assert_eq!(staging.sweep().unwrap(), 0, "somebody is writing");
        assert!(staged.path().exists());
        drop(staged);
        assert_eq!(staging.sweep().unwrap(), 2);
        assert_eq!(staged_things(&staging), 0);
    }
}
