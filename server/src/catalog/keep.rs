//! Brings the files of a release into the object store: each content once, hashed in the pass that copies it, or ahead of the one that
//! sends it away.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use super::ahead::Ahead;
use super::copy::copy;
use super::meter::Meter;
use super::scrub::read_back;
use super::store::{self, Stored};
use super::survey::Found;
use crate::error::Error;
use crate::integrity::{self, Digests, sha256_hex};
use crate::portal::Portal;
use crate::storage::{Folder, ObjectKey, Objects, Problem, S3, Staged, StagedFolder, Staging, Whole};

/// For how long an object counts as what it was after it was written or read back: a release that names it later waits until it is read.
const VERIFIED_FOR: time::Duration = time::Duration::days(7);

/// A file on its way into the store.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    /// Its path in the release.
    pub(super) path: String,
    /// Where it lies now.
    pub(super) found: Found,
    /// Set if it may be moved rather than copied: the staged folder it lies in, under its path as name.
    pub(super) staged: Option<Arc<StagedFolder>>,
}

/// A file whose content is in the store, and on record there.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// Its path in the release.
    pub(super) path: String,
    /// Its content.
    pub(super) digests: Digests,
    /// How many bytes had to be written for it: 0 if the store had them.
    pub(super) written_bytes: u64,
    /// What was wrong with the object that the store had, and is no longer.
    pub(super) mended: Option<String>,
}

/// A file that is known by its content, and may lie beside the store.
pub(super) struct Prepared {
    digests: Digests,
    copy: Option<Copy>,
}

struct Copy {
    staged: Staged,
    written_bytes: u64,
}

/// Begins with files that are still being checked. What the store probably has, because an object of just this size is on record, is
/// looked at before it is copied.
pub(super) async fn begin(portal: &Portal, files: std::collections::BTreeMap<String, Found>) -> Result<Ahead, Error> {
    let mut db = portal.db.acquire().await?;
    let mut known_sizes = std::collections::HashSet::new();
    for file in files.values() {
        if store::any_object_of_size(&mut db, file.size_bytes).await? {
            known_sizes.insert(file.size_bytes);
        }
    }
    let copies = match &portal.objects {
        Objects::Folder(folder) => Some(folder.staging().clone()),
        // A bucket takes an object under its name alone, and the name is its digest.
        Objects::S3(_) => None,
    };
    Ok(Ahead::begin(files, copies, known_sizes))
}

/// Keeps all files. Each object is on record as soon as it is complete, so that whoever comes after an interruption finds it.
pub(super) async fn keep_all(portal: &Portal, meter: &Meter, mut ahead: Ahead, incoming: Vec<Incoming>) -> Result<Vec<Kept>, Error> {
    let mut kept = Vec::with_capacity(incoming.len());
    for file in incoming {
        let prepared = match ahead.take(&file.path, &file.found).await {
            Some(prepared) => prepared.map_err(failed)?,
            None => {
                let (path, found) = (file.path.clone(), file.found.clone());
                blocking(move || hash(&path, &found, &AtomicBool::new(false))).await?
            }
        };
        kept.push(keep(portal, meter, file, prepared).await?);
    }
    Ok(kept)
}

async fn keep(portal: &Portal, meter: &Meter, file: Incoming, prepared: Prepared) -> Result<Kept, Error> {
    let Prepared { digests, copy } = prepared;
    let key = ObjectKey::file(&digests.sha256);
    let mended = match look_up(portal, &key, &digests).await? {
        Standing::Whole => {
            meter.advance(digests.size_bytes);
            return Ok(Kept { path: file.path, digests, written_bytes: 0, mended: None });
        }
        Standing::Spoilt(fault) => {
            tracing::error!(
                object = digests.sha256,
                path = file.path,
                fault,
                "an object of the store is not what it was; it is written anew"
            );
            Some(fault)
        }
        Standing::Unknown => None,
    };
    let written_bytes = match &portal.objects {
        Objects::S3(s3) => upload(s3, meter, &file, &key, &digests).await?,
        Objects::Folder(folder) => {
            meter.advance(digests.size_bytes);
            put_in(folder.clone(), file.clone(), key, digests.size_bytes, copy).await?
        }
    };
    store::insert_object(&mut *portal.db.acquire().await?, &digests, portal.clock.now()).await?;
    Ok(Kept { path: file.path, written_bytes, digests, mended })
}

/// How the store has an object.
enum Standing {
    /// It is not there, not on record, or known to be spoilt.
    Unknown,
    /// As it should be.
    Whole,
    /// Otherwise than it should be, and nobody knew: what is wrong with it.
    Spoilt(String),
}

/// What was not read for long is read back first: what spoilt since must not be in a release that is new. What is wrong is on record before
/// it is mended, as that may fail.
async fn look_up(portal: &Portal, key: &ObjectKey, digests: &Digests) -> Result<Standing, Error> {
    let verified_at = store::object_verified_at(&mut *portal.db.acquire().await?, &digests.sha256).await?;
    let Some(verified_at) = verified_at else { return Ok(Standing::Unknown) };
    if portal.objects.size(key).await.map_err(Problem::for_operator)? != Some(digests.size_bytes) {
        return Ok(Standing::Unknown);
    }
    let now = portal.clock.now();
    if (now - verified_at).abs() < VERIFIED_FOR {
        return Ok(Standing::Whole);
    }
    let fault = read_back(portal, &Stored { sha256: digests.sha256.clone(), size_bytes: digests.size_bytes }).await?;
    store::note_object_read(&mut *portal.db.acquire().await?, &digests.sha256, fault.as_deref(), now).await?;
    Ok(fault.map_or(Standing::Whole, Standing::Spoilt))
}

async fn upload(s3: &S3, meter: &Meter, file: &Incoming, key: &ObjectKey, digests: &Digests) -> Result<u64, Error> {
    let parts = digests.chunks.iter().map(|chunk| chunk.sha256).collect();
    let whole = Whole { path: file.found.source.clone(), size_bytes: digests.size_bytes, parts };
    s3.upload(key, &whole, &|bytes| meter.advance(bytes)).await.map_err(|problem| match problem {
        // What the store does not take is not what was hashed: it has changed since, or on its way.
        Problem::Spoilt(why) => {
            tracing::warn!(path = file.path, why, "an upload was refused");
            match unchanged(&file.path, &file.found) {
                Ok(()) => Error::Unavailable(
                    format!(
                        "{}: what arrived in the object store is not what was sent; it was spoilt on its way: publish again",
                        file.path
                    )
                    .into(),
                ),
                Err(cause) => failed(cause),
            }
        }
        problem => problem.for_operator(),
    })
}

/// Moves the copy, or the file itself where it may be moved, into the folder of objects. What was only hashed, because the store seemed to
/// have it, is copied now.
async fn put_in(folder: Folder, file: Incoming, key: ObjectKey, size_bytes: u64, copy: Option<Copy>) -> Result<u64, Error> {
    blocking(move || {
        if file.staged.is_some() {
            folder.adopt(&file.found.source, &key)?;
            return Ok(size_bytes);
        }
        let copy = match copy {
            Some(copy) => copy,
            None => {
                let again = copy_aside(folder.staging(), &file.path, &file.found, &AtomicBool::new(false))?;
                if again.digests.sha256 != key.sha256() {
                    return Err(changed(&file.path));
                }
                again.copy.ok_or_else(|| io::Error::other("a copy that was made is there"))?
            }
        };
        unchanged(&file.path, &file.found)?;
        folder.keep(copy.staged, &key)?;
        Ok(copy.written_bytes)
    })
    .await
}

/// Off the threads that answer requests.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?.map_err(failed)
}

fn failed(cause: io::Error) -> Error {
    match cause.kind() {
        io::ErrorKind::InvalidData => Error::Conflict(cause.to_string().into()),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Unavailable(
            "the disk is full (the store's, or the data folder's); nothing was published, free some space and publish again".into(),
        ),
        _ => Error::internal(cause),
    }
}

/// The digests of the file where it lies.
pub(super) fn hash(path: &str, found: &Found, stop: &AtomicBool) -> io::Result<Prepared> {
    let digests = open(path, found).and_then(|mut file| integrity::digest(&mut file, found.size_bytes, |_| go_on(stop)));
    let digests = digests.map_err(|cause| about(path, &cause))?;
    unchanged(path, found)?;
    Ok(Prepared { digests, copy: None })
}

/// Copies the file to where the store is, from where an interrupted publication of it stood, and hashes what was copied.
pub(super) fn copy_aside(staging: &Staging, path: &str, found: &Found, stop: &AtomicBool) -> io::Result<Prepared> {
    let staged = staging.stage_lasting(&copy_key(found))?;
    let copied = copy(&open(path, found)?, staged.path(), found.size_bytes, &|| go_on(stop)).map_err(|cause| about(path, &cause))?;
    unchanged(path, found)?;
    Ok(Prepared { digests: copied.digests, copy: Some(Copy { staged, written_bytes: copied.written_bytes }) })
}

/// Where an interrupted copy of this file is looked for. Whatever is found there is compared with the file before it is used.
fn copy_key(found: &Found) -> String {
    let modified = found.modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    sha256_hex(format!("{}\n{}\n{modified:?}", found.source.display(), found.size_bytes).as_bytes())
}

fn go_on(stop: &AtomicBool) -> io::Result<()> {
    if stop.load(Ordering::Relaxed) { Err(io::Error::other("nobody needs it any more")) } else { Ok(()) }
}

fn open(path: &str, found: &Found) -> io::Result<File> {
    File::open(&found.source).map_err(|cause| about(path, &cause))
}

/// What is published has to be what was checked.
fn unchanged(path: &str, found: &Found) -> io::Result<()> {
    let now = std::fs::metadata(&found.source)?;
    if now.len() == found.size_bytes && now.modified().ok() == found.modified { Ok(()) } else { Err(changed(path)) }
}

fn changed(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path}: was changed while it was being published; publish again"))
}

fn about(path: &str, cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("{path}: {cause}"))
}
