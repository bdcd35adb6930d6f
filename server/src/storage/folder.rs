//! The object store as a folder: staged beside, moved into place when complete, so that a half object is never seen.

use std::fs::{DirEntry, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ObjectKey;
use crate::data_dir;

/// The file in `staging/` on which whoever stages something holds a shared lock: the kernel lets it go when a process dies,
/// however it dies, and then the leftovers may be swept.
const LOCK_FILE: &str = ".in-use";

/// How the names of folders begin that outlive who works in them (see [`Folder::stage_lasting_folder`]).
const LASTING_PREFIX: &str = "lasting-";
/// How long such a folder waits for somebody to go on with it: 7 days.
const LASTING_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A folder of objects.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

/// A file being written; becomes an object by [`Folder::keep`], disappears when dropped.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    kept: bool,
    _in_use: File,
}

impl Staged {
    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed by the next `Folder::sweep`.
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
        // What cannot be removed now is removed by the next `Folder::sweep`.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

impl Folder {
    /// Opens (and makes, if need be) the store at `root`.
    pub fn open(root: &Path) -> io::Result<Self> {
        data_dir::make_private(root)?;
        data_dir::make_private(&root.join("staging"))?;
        Ok(Self { root: std::fs::canonicalize(root)? })
    }

    /// Whether new objects can be staged; an error says why not.
    pub fn writable(&self) -> io::Result<()> {
        rustix::fs::access(self.root.join("staging"), rustix::fs::Access::WRITE_OK)?;
        Ok(())
    }

    /// Where the object lies on this disk. The engine maps it, downloads stream it.
    pub fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.path())
    }

    /// The object's size in bytes, or nothing if it is not here.
    pub fn size(&self, key: &ObjectKey) -> io::Result<Option<u64>> {
        match std::fs::metadata(self.path(key)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// A place to write a new object, on the same file system.
    pub fn stage(&self) -> io::Result<Staged> {
        let in_use = self.in_use()?;
        Ok(Staged { path: self.staging_path(), kept: false, _in_use: in_use })
    }

    /// A place to write several files that become objects by [`Folder::adopt`].
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
        let path = self.staging().join(format!("{LASTING_PREFIX}{key}"));
        std::fs::create_dir_all(&path)?;
        let own = File::open(&path)?;
        match own.try_lock() {
            // Whoever had it before us may have removed it between the two: then ours is no folder that anybody can find.
            Ok(()) if std::fs::metadata(&path).is_ok_and(|found| own.metadata().is_ok_and(|locked| locked.ino() == found.ino())) => {
                Ok(StagedFolder { path, _in_use: in_use, _own: Some(own) })
            }
            Ok(()) | Err(TryLockError::WouldBlock) => self.stage_folder(),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }

    /// Makes the staged file the object `key`: synced, moved, the folder synced. Keeping what is there already is no error.
    pub fn keep(&self, mut staged: Staged, key: &ObjectKey) -> io::Result<()> {
        self.move_in(&staged.path, key)?;
        staged.kept = true;
        Ok(())
    }

    /// Makes a file of a staged folder the object `key`, without copying it.
    pub fn adopt(&self, staged: &StagedFolder, name: &str, key: &ObjectKey) -> io::Result<()> {
        self.move_in(&staged.path.join(name), key)
    }

    /// Removes what interrupted writers left behind, unless it is worth going on with; returns how many things. Does nothing while anybody is writing, in this
    /// process or another.
    pub fn sweep(&self) -> io::Result<usize> {
        let lock = File::create(self.staging().join(LOCK_FILE))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(0),
            Err(TryLockError::Error(cause)) => return Err(cause),
        }
        let mut swept = 0;
        for entry in std::fs::read_dir(self.staging())? {
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

    fn move_in(&self, from: &Path, key: &ObjectKey) -> io::Result<()> {
        let target = self.path(key);
        let parent = target.parent().expect("an object's path has folders");
        std::fs::create_dir_all(parent)?;
        File::open(from)?.sync_all()?;
        std::fs::rename(from, &target)?;
        // The folders above may be new too: each must know its child before the object counts as there.
        for folder in parent.ancestors().take_while(|folder| folder.starts_with(&self.root)) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    fn staging_path(&self) -> PathBuf {
        self.staging().join(crate::ids::DownloadId::fresh().to_string())
    }

    /// Waits out a sweep that is going on, then says that somebody is writing for as long as the file is open.
    fn in_use(&self) -> io::Result<File> {
        let lock = File::create(self.staging().join(LOCK_FILE))?;
        lock.lock_shared()?;
        Ok(lock)
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

    fn store() -> (tempfile::TempDir, Folder, ObjectKey) {
        let home = tempfile::tempdir().unwrap();
        let store = Folder::open(&home.path().join("objects")).unwrap();
        (home, store, ObjectKey::file(&"ab".repeat(32)))
    }

    fn staged_things(store: &Folder) -> usize {
        std::fs::read_dir(store.staging()).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != LOCK_FILE).count()
    }

    #[test]
    fn an_object_is_seen_when_it_is_complete_and_not_before() {
        let (_home, store, key) = store();
        let staged = store.stage().unwrap();
        std::fs::write(staged.path(), "weights").unwrap();
        assert_eq!(store.size(&key).unwrap(), None);
        store.keep(staged, &key).unwrap();
        assert_eq!(store.size(&key).unwrap(), Some(7));
        assert_eq!(std::fs::read(store.path(&key)).unwrap(), b"weights");
        assert_eq!(staged_things(&store), 0);
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let (_home, store, _) = store();
        let staged = store.stage().unwrap();
        std::fs::write(staged.path(), "half").unwrap();
        let folder = store.stage_folder().unwrap();
        std::fs::write(folder.path().join("half"), "half").unwrap();
        drop((staged, folder));
        assert_eq!(staged_things(&store), 0);
    }

    #[test]
    fn a_file_of_a_staged_folder_moves_into_the_store() {
        let (_home, store, key) = store();
        let folder = store.stage_folder().unwrap();
        std::fs::write(folder.path().join("model.safetensors"), "weights").unwrap();
        store.adopt(&folder, "model.safetensors", &key).unwrap();
        assert_eq!(store.size(&key).unwrap(), Some(7));
        assert!(!folder.path().join("model.safetensors").exists());
    }

    #[test]
    fn work_worth_going_on_with_outlives_a_kill_for_a_week() {
        let (_home, store, _) = store();
        let left = store.staging().join("lasting-conversion");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("shard"), "done").unwrap();
        assert_eq!(store.sweep().unwrap(), 0);

        let mine = store.stage_lasting_folder("conversion").unwrap();
        assert_eq!(std::fs::read(mine.path().join("shard")).unwrap(), b"done");
        let other = store.stage_lasting_folder("conversion").unwrap();
        assert!(other.path() != mine.path() && std::fs::read_dir(other.path()).unwrap().next().is_none(), "one works there at a time");
        drop((mine, other));
        assert_eq!(staged_things(&store), 0, "who is done leaves nothing");

        std::fs::create_dir(&left).unwrap();
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::open(&left).unwrap().set_modified(old).unwrap();
        assert_eq!(store.sweep().unwrap(), 1, "nobody came back");
    }

    #[test]
    fn leftovers_are_swept_and_live_writers_are_left_alone() {
        let (_home, store, _) = store();
        std::fs::write(store.staging().join("left-by-a-killed-process"), "half").unwrap();
        std::fs::create_dir(store.staging().join("folder-left")).unwrap();
        let staged = store.stage().unwrap();
        std::fs::write(staged.path(), "half").unwrap();
        assert_eq!(store.sweep().unwrap(), 0, "somebody is writing");
        assert!(staged.path().exists());
        drop(staged);
        assert_eq!(store.sweep().unwrap(), 2);
        assert_eq!(staged_things(&store), 0);
    }
}
