//! The object store as a folder: staged beside, moved into place when complete, so that a half object is never seen.

use std::path::{Path, PathBuf};

use super::ObjectKey;

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
            // What cannot be removed now is removed by the sweep of `staging/` at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Folder {
    /// Opens (and makes, if need be) the store at `root`.
    pub fn open(root: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(root.join("staging"))?;
        Ok(Self { root: std::fs::canonicalize(root)? })
    }

    /// Whether new objects can be staged; an error says why not.
    pub fn writable(&self) -> std::io::Result<()> {
        rustix::fs::access(self.root.join("staging"), rustix::fs::Access::WRITE_OK)?;
        Ok(())
    }

    /// Where the object lies on this disk. The engine maps it, downloads stream it.
    pub fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.path())
    }

    /// The object's size in bytes, or nothing if it is not here.
    pub fn size(&self, key: &ObjectKey) -> std::io::Result<Option<u64>> {
        match std::fs::metadata(self.path(key)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// A place to write a new object, on the same file system.
    pub fn stage(&self) -> Staged {
        Staged { path: self.root.join("staging").join(crate::ids::DownloadId::fresh().to_string()), kept: false }
    }

    /// Makes the staged file the object `key`: synced, moved, the folder synced. Keeping what is there already is no error.
    pub fn keep(&self, mut staged: Staged, key: &ObjectKey) -> std::io::Result<()> {
        let target = self.path(key);
        let parent = target.parent().expect("an object's path has folders");
        std::fs::create_dir_all(parent)?;
        std::fs::File::open(&staged.path)?.sync_all()?;
        std::fs::rename(&staged.path, &target)?;
        staged.kept = true;
        std::fs::File::open(parent)?.sync_all()
    }
}
