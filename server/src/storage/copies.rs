//! Objects of a bucket on this machine's disk, for the engine, which maps files. A copy is compared with its digest when it is made and
//! lies under that digest then; the ones used least recently go when there is no room for another.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::{StreamExt, TryStreamExt, stream};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use sha2::{Digest, Sha256};

use super::staging::Staging;
use super::{ObjectKey, Problem, S3};
use crate::data_dir;

/// A copy is fetched in pieces of 16 MiB, so many at once: what the memory holds of it meanwhile is what is on its way.
const PIECE_BYTES: u64 = 16 << 20;
const PIECES_AT_ONCE: usize = 4;
/// Who was given a path opens it sooner than this: till then its copy stays, whatever the limit says.
const IN_USE: Duration = Duration::from_secs(600);

/// The folder of copies; every clone is the same one.
#[derive(Debug, Clone)]
pub(super) struct Copies {
    root: PathBuf,
    bytes_max: u64,
    /// Held while one is fetched: another that waits for the same finds it then.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

impl Copies {
    /// Opens (and makes, if need be) the folder, for at most so many bytes.
    pub(super) fn open(root: PathBuf, bytes_max: u64) -> io::Result<Self> {
        data_dir::make_private(&root)?;
        Ok(Self { root, bytes_max, fetching: Arc::default() })
    }

    /// Where the object lies on this disk, once it does. `Disk` if there is no room for it.
    pub(super) async fn path(&self, s3: &S3, staging: &Staging, key: &ObjectKey, size_bytes: u64) -> Result<PathBuf, Problem> {
        let path = self.root.join(key.sha256());
        if is_here(&path, size_bytes)? {
            return Ok(path);
        }
        let _fetching = self.fetching.lock().await;
        if is_here(&path, size_bytes)? {
            return Ok(path);
        }
        self.make_room(size_bytes)?;
        let staged = staging.stage()?;
        fetch(s3, key, size_bytes, staged.path()).await?;
        let written = staged.path().to_owned();
        let found = tokio::task::spawn_blocking(move || digest(&written)).await.map_err(io::Error::other)??;
        if found != key.sha256() {
            return Err(Problem::Spoilt(format!("{}: what the store sent has the digest {found}", key.path())));
        }
        std::fs::rename(staged.path(), &path)?;
        staged.moved();
        Ok(path)
    }

    /// Drops those used longest ago until there is room for so many bytes more.
    fn make_room(&self, size_bytes: u64) -> io::Result<()> {
        if size_bytes > self.bytes_max {
            let limit = format!("an object of {size_bytes} bytes is more than the {} that copies for the engine may take", self.bytes_max);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, limit));
        }
        let mut copies = Vec::new();
        for entry in std::fs::read_dir(&self.root)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            copies.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        copies.sort();
        let mut taken: u64 = copies.iter().map(|(_, bytes, _)| bytes).sum();
        for (used, bytes, path) in copies {
            if taken + size_bytes <= self.bytes_max {
                break;
            }
            if used.elapsed().is_ok_and(|age| age > IN_USE) {
                // Who has mapped it keeps it until it lets go.
                std::fs::remove_file(path)?;
                taken -= bytes;
            }
        }
        Ok(())
    }
}

/// Whether the copy is complete; it counts as used then.
fn is_here(path: &Path, size_bytes: u64) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(cause) => return Err(cause),
    };
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    futimens(&file, &Timestamps { last_access: now, last_modification: now })?;
    Ok(file.metadata()?.len() == size_bytes)
}

async fn fetch(s3: &S3, key: &ObjectKey, size_bytes: u64, to: &Path) -> Result<(), Problem> {
    let file = Arc::new(File::create(to)?);
    file.set_len(size_bytes)?;
    let pieces = (0..size_bytes.div_ceil(PIECE_BYTES)).map(|number| {
        let (file, start) = (file.clone(), number * PIECE_BYTES);
        let len = PIECE_BYTES.min(size_bytes - start);
        async move {
            let pieces: Vec<Bytes> = s3.slice(key, size_bytes, start, len).await?.try_collect().await?;
            let written = tokio::task::spawn_blocking(move || {
                let mut at = start;
                for piece in pieces {
                    file.write_all_at(&piece, at)?;
                    at += piece.len() as u64;
                }
                Ok::<_, io::Error>(())
            });
            Ok::<_, Problem>(written.await.map_err(io::Error::other)??)
        }
    });
    stream::iter(pieces).buffer_unordered(PIECES_AT_ONCE).try_collect::<()>().await
}

fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher, mut piece) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(HEXLOWER.encode(&hasher.finalize())),
            length => hasher.update(&piece[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    #[test]
    fn the_copies_used_longest_ago_go_first_and_those_in_use_stay() {
        let home = tempfile::tempdir().unwrap();
        let copies = Copies::open(home.path().join("copies"), 100).unwrap();
        let put = |name: &str, hours: u64| {
            let file = File::create(copies.root.join(name)).unwrap();
            file.set_len(40).unwrap();
            let used = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(hours * 3_600);
            file.set_modified(used).unwrap();
        };
        let here = || {
            let mut names: Vec<_> =
                std::fs::read_dir(&copies.root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        put("old", 3);
        put("older", 5);
        copies.make_room(30).unwrap();
        assert_eq!(here(), ["old"]);
        put("new", 0);
        assert!(is_here(&copies.root.join("old"), 40).unwrap(), "and it counts as used now");
        copies.make_room(90).unwrap();
        assert_eq!(here(), ["new", "old"], "somebody is about to open them");
        assert_eq!(copies.make_room(101).unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        assert!(!is_here(&copies.root.join("new"), 41).unwrap(), "half a copy is none");
    }
}
