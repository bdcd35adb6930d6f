//! The folder that a release is pulled into: ours alone while we work in it, nothing written outside of it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::fault::Fault;
use super::journal::Journal;
use super::names::{OURS, PARTIAL};

/// What a folder says of itself is short.
const ORIGIN_BYTES_MAX: u64 = 1 << 20;

/// A folder that no other pull works in.
pub(super) struct Folder {
    root: PathBuf,
    lock: File,
    pub(super) journal: Journal,
}

/// What the folder holds, for those who come later. Not signed: it only says where to look, and the signatures have to say the same of
/// model and revision.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origin {
    pub(super) endpoint: String,
    pub(super) model: String,
    pub(super) revision: String,
    /// The patterns of files that were wanted; none for all.
    #[serde(default)]
    pub(super) include: Vec<String>,
}

impl Folder {
    /// Makes the folder if need be and takes it.
    pub(super) fn open(root: &Path) -> Result<Self, Fault> {
        let ours = root.join(OURS);
        refuse_links(root, &format!("{OURS}/lock"))?;
        fs::create_dir_all(&ours).map_err(|cause| Fault::io("write to", root, &cause))?;
        let path = ours.join("lock");
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(nofollow()).open(&path);
        let mut lock = options.map_err(|cause| Fault::io("write to", &path, &cause))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut who = String::new();
                let _ = (&lock).take(32).read_to_string(&mut who);
                return Err(Fault::Failed(format!(
                    "another sluice pull (process {}) works in {}; let it end first",
                    who.trim(),
                    root.display()
                )));
            }
            Err(TryLockError::Error(cause)) => return Err(Fault::io("lock", &path, &cause)),
        }
        let told = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(std::process::id().to_string().as_bytes()));
        told.map_err(|cause| Fault::io("write to", &path, &cause))?;
        let journal = journal_of(root);
        let journal = Journal::open(&journal).map_err(|cause| Fault::io("keep the journal", &journal, &cause))?;
        Ok(Self { root: root.to_owned(), lock, journal })
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where our own files lie.
    pub(super) fn ours(&self) -> PathBuf {
        self.root.join(OURS)
    }

    /// Opens the partial file of `path`, of its full size; holes where nothing has come. Also says which file it is.
    pub(super) fn partial(&self, path: &str, size_bytes: u64) -> Result<(File, u64), Fault> {
        let partial = partial_of(&self.root, path);
        self.make_parents(path)?;
        let failed = |cause: io::Error| Fault::io("write", &partial, &cause);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(nofollow())
            .open(&partial)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.nlink() > 1 {
            let partial = partial.display();
            return Err(Fault::Failed(format!("{partial} is another file, too (a hard link), which would be overwritten: remove it")));
        }
        if metadata.len() != size_bytes {
            file.set_len(size_bytes).map_err(failed)?;
        }
        Ok((file, metadata.ino()))
    }

    /// Makes the folders above `path`. One that is a link, and so may lead out of the folder, is refused.
    fn make_parents(&self, path: &str) -> Result<(), Fault> {
        for (end, _) in path.match_indices('/') {
            let parent = self.root.join(&path[..end]);
            match DirBuilder::new().mode(0o777).create(&parent) {
                Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(Fault::io("make", &parent, &cause)),
                _ => {}
            }
        }
        refuse_links(&self.root, path)
    }

    /// How many bytes an ordinary user may still write here.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        crate::data_dir::free_bytes(&self.root)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Origin {
    /// Reads what a folder says it holds.
    pub(super) fn read(root: &Path) -> Result<Self, Fault> {
        let path = root.join(OURS).join("release.json");
        let bytes = read_small(&path, ORIGIN_BYTES_MAX).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => Fault::Usage(format!("{0} was not pulled by sluice: it has no {OURS}/release.json. For a folder that another tool has fetched, name key and signature: sluice verify {0} --key publisher.pem --signature model.sig --signature documents.sig", root.display())),
            _ => Fault::io("read", &path, &cause),
        })?;
        serde_json::from_slice(&bytes).map_err(|cause| Fault::Failed(format!("{} cannot be read: {cause}; pull again", path.display())))
    }

    /// Writes it down.
    pub(super) fn keep(&self, ours: &Path) -> Result<(), Fault> {
        replace(&ours.join("release.json"), serde_json::to_string_pretty(self).expect("names are JSON").as_bytes())
    }
}

/// What lies where a file, or a folder that it lies in, should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A symbolic link. It may lead anywhere.
    Link,
    /// A folder, a pipe, a device; or a file where a folder should be. A pipe is read for ever.
    Other,
}

/// Something that is in the way of a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct InTheWay {
    /// Its path: the file's, or that of a folder above it.
    pub path: String,
    /// What it is.
    pub what: What,
}

/// The first thing on the way to a file that is neither a folder on the way nor the file; none where all is as it should be, or nothing.
pub(super) fn in_the_way(root: &Path, path: &str) -> Result<Option<InTheWay>, Fault> {
    for end in path.match_indices('/').map(|(end, _)| end).chain([path.len()]) {
        let at = root.join(&path[..end]);
        let found = |what| Ok(Some(InTheWay { path: path[..end].to_owned(), what }));
        match fs::symlink_metadata(&at) {
            Ok(metadata) if metadata.is_symlink() => return found(What::Link),
            Ok(metadata) if !(if end < path.len() { metadata.is_dir() } else { metadata.is_file() }) => return found(What::Other),
            Ok(_) => {}
            Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            Err(cause) => return Err(Fault::io("look at", &at, &cause)),
        }
    }
    Ok(None)
}

/// Refuses a file with something in its way.
pub(super) fn refuse_links(root: &Path, path: &str) -> Result<(), Fault> {
    let Some(InTheWay { path: found, what }) = in_the_way(root, path)? else { return Ok(()) };
    let at = root.join(found);
    Err(Fault::Failed(match what {
        What::Link => {
            format!("{} is a link; sluice writes only into its own folder: remove the link, or choose another folder", at.display())
        }
        What::Other => format!("{} is in the way of the release's {path}", at.display()),
    }))
}

/// Removes the links in a file's way, and nothing that they lead to.
pub(super) fn remove_links(root: &Path, path: &str) -> Result<(), Fault> {
    while let Some(InTheWay { path: link, what: What::Link }) = in_the_way(root, path)? {
        let link = root.join(link);
        fs::remove_file(&link).map_err(|cause| Fault::io("remove the link", &link, &cause))?;
    }
    Ok(())
}

/// Where a complete file lies.
pub(super) fn target_of(root: &Path, path: &str) -> PathBuf {
    root.join(path)
}

/// Where a file lies while it is not complete: beside its place.
pub(super) fn partial_of(root: &Path, path: &str) -> PathBuf {
    root.join(format!("{path}{PARTIAL}"))
}

/// Where the journal of a folder lies.
pub(super) fn journal_of(root: &Path) -> PathBuf {
    root.join(OURS).join("journal")
}

/// Reads a small file that others may have put there: no link, no pipe, nothing without an end.
pub(super) fn read_small(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(only_files()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file, or longer than it can be"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a small file whole or not at all.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), Fault> {
    replaced(path, content, 0o666).map_err(|cause| Fault::io("write", path, &cause))
}

/// The same for this user's eyes only, in a folder of this user.
pub(super) fn replace_private(path: &Path, content: &[u8]) -> Result<(), Fault> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(parent).and_then(|()| replaced(path, content, 0o600));
    made.map_err(|cause| Fault::io("write", path, &cause))
}

fn replaced(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = (|| {
        let mut file = fresh(&new, mode)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// A new file in the place of whatever has this name: what that is, or leads to, stays as it is.
pub(super) fn fresh(path: &Path, mode: u32) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path),
    }
}

/// For opening what must not be a link.
pub(super) fn nofollow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

/// For opening what must not be a link, and may be a pipe: no waiting for its other end.
pub(super) fn only_files() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}
