//! Brings the files of a release into the object store: each content once, hashed in the pass that copies it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::meter::Meter;
use super::store;
use super::survey::Found;
use crate::error::Error;
use crate::integrity::{self, Digests};
use crate::portal::Portal;
use crate::storage::{Folder, ObjectKey, Objects, PART_BYTES, Problem, StagedFolder, Whole};

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
}

/// Keeps one file. The object is on record as soon as it is complete, so that whoever comes after an interruption finds it.
pub(super) async fn keep(portal: &Portal, meter: &Arc<Meter>, incoming: Incoming) -> Result<Kept, Error> {
    let mut db = portal.db.acquire().await?;
    // An object of just this size is on record: most likely this one, so look before copying.
    let probably_here = store::any_object_of_size(&mut db, incoming.found.size_bytes).await?;
    drop(db);
    let mut hashed = None;
    // A bucket takes an object under its name alone, and the name is its digest.
    if incoming.staged.is_some() || probably_here || matches!(portal.objects, Objects::S3(_)) {
        let (from, counted) = (incoming.clone(), meter.clone());
        let (digests, parts) = blocking(move || hash(&from, &counted)).await?;
        let mut db = portal.db.acquire().await?;
        let recorded = store::object_is_known(&mut db, &digests.sha256).await?;
        if recorded && portal.objects.size(&ObjectKey::file(&digests.sha256)).await? == Some(digests.size_bytes) {
            return Ok(Kept { path: incoming.path, digests, written_bytes: 0 });
        }
        hashed = Some((digests, parts));
    }
    let path = incoming.path.clone();
    let (digests, written_bytes) = match (&portal.objects, hashed) {
        (Objects::S3(s3), Some((digests, parts))) => {
            let whole = Whole { path: incoming.found.source.clone(), size_bytes: digests.size_bytes, parts };
            let written_bytes =
                s3.upload(&ObjectKey::file(&digests.sha256), &whole, &|_| ()).await.map_err(|problem| changed(&path, problem))?;
            (digests, written_bytes)
        }
        (Objects::S3(_), None) => unreachable!("hashed above"),
        (Objects::Folder(folder), hashed) => {
            let (folder, meter) = (folder.clone(), meter.clone());
            let digests = blocking(move || match (&incoming.staged, hashed) {
                (Some(_), Some((digests, _))) => move_in(&folder, &incoming, digests),
                (_, hashed) => copy_in(&folder, &incoming, hashed.is_none().then_some(&meter)),
            })
            .await?;
            let written_bytes = digests.size_bytes;
            (digests, written_bytes)
        }
    };
    let mut db = portal.db.acquire().await?;
    store::insert_object(&mut db, &digests, portal.clock.now()).await?;
    Ok(Kept { path, written_bytes, digests })
}

/// What the store does not take because it is not what was hashed has changed since.
fn changed(path: &str, problem: Problem) -> Error {
    match problem {
        Problem::Spoilt(why) => {
            tracing::warn!(path, why, "an upload was refused");
            Error::Conflict(format!("{path}: was changed while it was being published; publish again").into())
        }
        problem => problem.for_operator(),
    }
}

/// Off the threads that answer requests.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await.map_err(Error::internal)?;
    done.map_err(|cause| match cause.kind() {
        io::ErrorKind::InvalidData => Error::Conflict(cause.to_string().into()),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::Unavailable("the disk of the object store is full; nothing was published, free some space and publish again".into())
        }
        _ => Error::internal(cause),
    })
}

/// The digests of the file, and the SHA-256 of each of its parts.
fn hash(incoming: &Incoming, meter: &Meter) -> io::Result<(Digests, Vec<[u8; 32]>)> {
    let mut parts = Parts::default();
    let digests = integrity::digest(&mut open(incoming)?, incoming.found.size_bytes, |piece| {
        meter.advance(piece.len() as u64);
        parts.add(piece);
        Ok(())
    })
    .map_err(|cause| about(incoming, &cause))?;
    unchanged(incoming)?;
    Ok((digests, parts.finish()))
}

/// Takes bytes as they come and gives the SHA-256 of each [`PART_BYTES`] of them.
#[derive(Default)]
struct Parts {
    done: Vec<[u8; 32]>,
    hasher: Sha256,
    in_hasher: u64,
}

impl Parts {
    fn add(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let room = usize::try_from(PART_BYTES - self.in_hasher).unwrap_or(usize::MAX);
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.hasher.update(now);
            self.in_hasher += now.len() as u64;
            piece = later;
            if self.in_hasher == PART_BYTES {
                self.done.push(self.hasher.finalize_reset().into());
                self.in_hasher = 0;
            }
        }
    }

    fn finish(mut self) -> Vec<[u8; 32]> {
        if self.in_hasher > 0 {
            self.done.push(self.hasher.finalize().into());
        }
        self.done
    }
}

fn move_in(folder: &Folder, incoming: &Incoming, digests: Digests) -> io::Result<Digests> {
    folder.adopt(&incoming.found.source, &ObjectKey::file(&digests.sha256))?;
    Ok(digests)
}

/// Copies the file into the store and hashes it on the way. `meter`: none if its bytes were counted before.
fn copy_in(folder: &Folder, incoming: &Incoming, meter: Option<&Arc<Meter>>) -> io::Result<Digests> {
    let staged = folder.staging().stage()?;
    let mut copy = File::create(staged.path())?;
    let digests = integrity::digest(&mut open(incoming)?, incoming.found.size_bytes, |piece| {
        if let Some(meter) = meter {
            meter.advance(piece.len() as u64);
        }
        copy.write_all(piece)
    })
    .map_err(|cause| about(incoming, &cause))?;
    drop(copy);
    unchanged(incoming)?;
    folder.keep(staged, &ObjectKey::file(&digests.sha256))?;
    Ok(digests)
}

fn open(incoming: &Incoming) -> io::Result<File> {
    File::open(&incoming.found.source).map_err(|cause| about(incoming, &cause))
}

/// What is published has to be what was checked.
fn unchanged(incoming: &Incoming) -> io::Result<()> {
    let now = std::fs::metadata(&incoming.found.source)?;
    if now.len() == incoming.found.size_bytes && now.modified().ok() == incoming.found.modified {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: was changed while it was being published; publish again", incoming.path)))
}

fn about(incoming: &Incoming, cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("{}: {cause}", incoming.path))
}
