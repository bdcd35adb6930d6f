//! The folder of the cache: who may write, how much, and what goes first.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::PackedCache;

/// What must stay free on the disk for others, the portal's database among them: 1 GiB.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// A file under a name of its own until it is complete. It is locked as long as somebody writes it; dropped before
/// [`Staged::publish`], it is deleted.
pub(super) struct Staged {
    pub(super) file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Staged {
    /// Makes room for `bytes`, and a file. `None` if somebody else has published `target` meanwhile.
    pub(super) fn new(cache: &PackedCache, target: &Path, bytes: u64) -> io::Result<Option<Self>> {
        // The weights in it are those that gates guard.
        DirBuilder::new().recursive(true).mode(0o700).create(&cache.folder)?;
        is_ours_alone(&cache.folder)?;
        if target.exists() {
            return Ok(None);
        }
        make_room(cache, bytes)?;
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = cache.folder.join(format!("{}-{number}.part", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let staged = Self { file, path, target: target.to_owned() };
        staged.file.try_lock()?;
        Ok(Some(staged))
    }

    /// Gives it its name, in one step.
    pub(super) fn publish(self) -> io::Result<()> {
        std::fs::rename(&self.path, &self.target)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already if it was published.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Fails if anybody else may write into the folder or look into it. What lies there is believed by checksums that lie beside it, so whoever
/// can write there decides what a model says.
pub(super) fn is_ours_alone(folder: &Path) -> io::Result<()> {
    let about = std::fs::metadata(folder)?;
    let (owner, us, mode) = (about.uid(), rustix::process::geteuid().as_raw(), about.mode() & 0o7777);
    if owner != us {
        return Err(io::Error::other(format!(
            "the folder belongs to user {owner}, and this is user {us}; give another folder, or chown it"
        )));
    }
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!("the folder's mode is {mode:o}, which lets others in; chmod it to 700")));
    }
    Ok(())
}

/// Deletes what killed processes have left, then the files not used for the longest time, until `bytes` more are within the limit.
fn make_room(cache: &PackedCache, bytes: u64) -> io::Result<()> {
    if bytes > cache.bytes_max {
        return Err(io::Error::other(format!("{bytes} bytes are more than the {} the cache may have", cache.bytes_max)));
    }
    let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(&cache.folder)?.flatten() {
        let path = entry.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("part") if !is_being_written(&path) => drop(std::fs::remove_file(&path)),
            Some("packed" | "part") => {
                // Who is gone meanwhile takes no room.
                let Ok(about) = entry.metadata() else { continue };
                kept.push((about.modified()?, about.len(), path));
            }
            _ => {}
        }
    }
    kept.sort();
    let mut used: u64 = kept.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in kept.iter().filter(|(_, _, path)| path.extension().is_some_and(|extension| extension == "packed")) {
        if used + bytes <= cache.bytes_max {
            break;
        }
        std::fs::remove_file(path)?;
        tracing::info!(file = %path.display(), "packed weights deleted to make room");
        used -= size;
    }
    if used + bytes > cache.bytes_max {
        return Err(io::Error::other("others are writing as many bytes as the cache may have"));
    }
    let disk = rustix::fs::statvfs(&cache.folder)?;
    let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free_bytes < bytes.saturating_add(FREE_BYTES_MIN) {
        return Err(io::Error::other(format!("{bytes} bytes would leave less than {FREE_BYTES_MIN} of {free_bytes} free on the disk")));
    }
    Ok(())
}

/// Whether whoever began the file still holds it; the system lets go of the lock of a process that died.
fn is_being_written(path: &Path) -> bool {
    match OpenOptions::new().write(true).open(path) {
        Ok(file) => file.try_lock().is_err(),
        Err(_) => true,
    }
}
