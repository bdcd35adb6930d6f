//! The object store as a folder: staged beside, moved into place when complete, so that a half object is never seen.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::staging::{Staged, Staging};
use super::{ObjectKey, Problem, read};
use crate::data_dir;

/// A folder of objects.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    staging: Staging,
}

impl Folder {
    /// Opens (and makes, if need be) the store at `root`.
    pub fn open(root: &Path) -> io::Result<Self> {
        data_dir::make_private(root)?;
        let root = std::fs::canonicalize(root)?;
        let staging = Staging::open(&root.join("staging"))?;
        Ok(Self { root, staging })
    }

    /// Where things lie on their way in.
    pub fn staging(&self) -> &Staging {
        &self.staging
    }

    /// Where the object lies on this disk.
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

    /// The object, open, if it has this size.
    pub(super) async fn find(&self, key: &ObjectKey, size_bytes: u64) -> Result<File, Problem> {
        read::open(self.path(key), size_bytes).await.map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => Problem::Missing(cause.to_string()),
            io::ErrorKind::InvalidData => Problem::Spoilt(cause.to_string()),
            _ => Problem::Disk(cause),
        })
    }

    /// Makes the staged file the object `key`: synced, moved, the folder synced. Keeping what is there already is no error.
    pub fn keep(&self, staged: Staged, key: &ObjectKey) -> io::Result<()> {
        self.adopt(staged.path(), key)?;
        staged.moved();
        Ok(())
    }

    /// Makes a file of this file system the object `key`, without copying it: it is gone from where it was.
    pub fn adopt(&self, from: &Path, key: &ObjectKey) -> io::Result<()> {
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

    /// Removes the object; that it is not there is no error.
    pub fn remove(&self, key: &ObjectKey) -> io::Result<()> {
        match std::fs::remove_file(self.path(key)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Every object and its size.
    pub fn list(&self) -> io::Result<Vec<(ObjectKey, u64)>> {
        let mut found = Vec::new();
        walk(&self.root.join("sha256"), &mut found)?;
        Ok(found)
    }
}

fn walk(folder: &Path, found: &mut Vec<(ObjectKey, u64)>) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(cause),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), found)?;
        } else if let Some(key) = entry.file_name().to_str().and_then(ObjectKey::named) {
            found.push((key, entry.metadata()?.len()));
        }
    }
    Ok(())
}
