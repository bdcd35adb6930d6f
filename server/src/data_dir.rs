//! The data folder and the locks in it: one portal for each folder, and the kernel forgets a lock when its holder dies.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

/// How long a lock may be held by somebody who only looks, or dies at this moment.
const LOCK_GRACE: Duration = Duration::from_millis(500);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// The right to run the portal on a data folder; given back when dropped, or by the kernel when the process ends.
#[derive(Debug)]
#[must_use = "the folder is free again as soon as the lock is dropped"]
pub struct DataDirLock {
    _lock: FileLock,
}

/// Why a data folder cannot be used.
#[derive(Debug)]
pub enum DataDirError {
    /// Another portal runs on it; its process id, when it could be read.
    Taken {
        /// The data folder.
        folder: PathBuf,
        /// The process that holds it.
        pid: Option<u32>,
    },
    /// It cannot be made or written.
    Io {
        /// The data folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for DataDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { folder, pid } => {
                let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
                let folder = folder.display();
                write!(
                    f,
                    "another `sluice serve`{who} uses the data folder {folder}: stop it, or give this one a folder of its own with SLUICE_DATA_DIR"
                )
            }
            Self::Io { folder, source } => {
                write!(
                    f,
                    "cannot use the data folder {}: {source}; make it writable for this user, or choose another with SLUICE_DATA_DIR",
                    folder.display()
                )
            }
        }
    }
}

impl std::error::Error for DataDirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Taken { .. } => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

/// Makes the data folder if need be and takes it for this process.
///
/// The folder is made with mode 0711: the account the database runs as may pass through it, but not look around.
pub async fn lock(folder: &Path) -> Result<DataDirLock, DataDirError> {
    let failed = |source| DataDirError::Io { folder: folder.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o711).create(folder).map_err(failed)?;
    let path = folder.join("serve.lock");
    let mut waited = Duration::ZERO;
    loop {
        if let Some(mut lock) = FileLock::try_exclusive(&path).map_err(failed)? {
            lock.write(&std::process::id().to_string()).map_err(failed)?;
            return Ok(DataDirLock { _lock: lock });
        }
        if waited >= LOCK_GRACE {
            let pid = FileLock::read(&path).and_then(|text| text.trim().parse().ok());
            return Err(DataDirError::Taken { folder: folder.to_owned(), pid });
        }
        tokio::time::sleep(LOCK_POLL).await;
        waited += LOCK_POLL;
    }
}

/// Makes the data folder if need be, as [`lock`] does, and writes into it: a file that is gone again.
pub fn try_out(folder: &Path) -> Result<(), DataDirError> {
    let failed = |source| DataDirError::Io { folder: folder.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o711).create(folder).map_err(failed)?;
    let path = folder.join(format!(".tried-{}", std::process::id()));
    let written =
        private_file().write(true).truncate(true).open(&path).and_then(|mut file| file.write_all(b"tried").and_then(|()| file.sync_all()));
    let removed = std::fs::remove_file(&path);
    written.and(removed).map_err(failed)
}

/// The portal that runs on a data folder: its process id, if that can be told.
pub fn runs_on(folder: &Path) -> Option<Option<u32>> {
    let path = folder.join("serve.lock");
    FileLock::is_held(&path).then(|| FileLock::read(&path).and_then(|text| text.trim().parse().ok()))
}

/// How many bytes an ordinary user may still write at `path`, or at the nearest folder above it that exists.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let exists = path.ancestors().find(|folder| folder.exists()).filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let told = rustix::fs::statvfs(exists).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Makes a folder, if it is not there, and lets nobody but this user enter: mails carry one-time links, objects are what gates guard.
pub fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700))
}

/// How to open a file that is for this user alone, such as a mail or a log: what it is made with, if it is not there.
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// An advisory lock (`flock`) on a small file, which may carry a line about its holder.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
}

impl FileLock {
    /// Takes the lock for us alone; `None` when somebody else has it.
    pub(crate) fn try_exclusive(path: &Path) -> io::Result<Option<Self>> {
        Self::taken(open(path)?, File::try_lock)
    }

    /// Takes the lock beside others who share it; `None` when somebody has it alone.
    pub(crate) fn try_shared(path: &Path) -> io::Result<Option<Self>> {
        Self::taken(open(path)?, File::try_lock_shared)
    }

    /// Whether somebody holds the lock alone now. A file that does not exist is held by nobody.
    pub(crate) fn is_held(path: &Path) -> bool {
        File::open(path).is_ok_and(|file| matches!(Self::taken(file, File::try_lock_shared), Ok(None)))
    }

    /// What the holder wrote about itself.
    pub(crate) fn read(path: &Path) -> Option<String> {
        let mut text = String::new();
        File::open(path).ok()?.take(256).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Replaces what the lock file says about its holder.
    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }

    fn taken(file: File, take: impl Fn(&File) -> Result<(), TryLockError>) -> io::Result<Option<Self>> {
        match take(&file) {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // By name and not by closing: a child caught between fork and exec has the same open file and would keep it.
        // A failure leaves the lock to the close that follows.
        let _ = self.file.unlock();
    }
}

fn open(path: &Path) -> io::Result<File> {
    let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(nofollow).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_portal_on_the_same_folder_is_refused_and_told_who_has_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = lock(folder.path()).await.expect("nobody else is here");

        let refused = lock(folder.path()).await.expect_err("the folder is taken").to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        assert!(refused.contains("SLUICE_DATA_DIR"), "{refused}");

        drop(first);
        let _again = lock(folder.path()).await.expect("the first one has left");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("write");
        let refused = lock(&file.join("data")).await.expect_err("a file is no folder").to_string();
        assert!(refused.contains("file/data") && refused.contains("SLUICE_DATA_DIR"), "{refused}");
    }

    #[test]
    fn sharers_keep_out_whoever_wants_it_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("users.lock");
        let one = FileLock::try_shared(&path).expect("open").expect("free");
        let two = FileLock::try_shared(&path).expect("open").expect("shared");
        assert!(FileLock::try_exclusive(&path).expect("open").is_none());
        assert!(!FileLock::is_held(&path), "shared is not held alone");
        drop((one, two));
        let _alone = FileLock::try_exclusive(&path).expect("open").expect("free again");
        assert!(FileLock::is_held(&path));
    }
}
