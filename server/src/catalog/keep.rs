//! Brings the files of a release into the object store: each content once, hashed in the pass that copies it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use super::meter::Meter;
use super::store;
use super::survey::Found;
use crate::error::Error;
use crate::integrity::{self, Digests};
use crate::portal::Portal;
use crate::storage::{Folder, ObjectKey, StagedFolder};

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
    if incoming.staged.is_some() || probably_here {
        let (from, counted) = (incoming.clone(), meter.clone());
        let digests = blocking(move || hash(&from, &counted)).await?;
        let mut db = portal.db.acquire().await?;
        let recorded = store::object_is_known(&mut db, &digests.sha256).await?;
        if recorded && portal.objects.size(&ObjectKey::file(&digests.sha256))? == Some(digests.size_bytes) {
            return Ok(Kept { path: incoming.path, digests, written_bytes: 0 });
        }
        hashed = Some(digests);
    }
    let path = incoming.path.clone();
    let (objects, meter) = (portal.objects.clone(), meter.clone());
    let digests = blocking(move || match (&incoming.staged, hashed) {
        (Some(folder), Some(digests)) => move_in(&objects, folder, &incoming.path, digests),
        (_, hashed) => copy_in(&objects, &incoming, hashed.is_none().then_some(&meter)),
    })
    .await?;
    let mut db = portal.db.acquire().await?;
    store::insert_object(&mut db, &digests, portal.clock.now()).await?;
    Ok(Kept { path, written_bytes: digests.size_bytes, digests })
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

fn hash(incoming: &Incoming, meter: &Meter) -> io::Result<Digests> {
    let digests = integrity::digest(&mut open(incoming)?, incoming.found.size_bytes, |piece| {
        meter.advance(piece.len() as u64);
        Ok(())
    })
    .map_err(|cause| about(incoming, &cause))?;
    unchanged(incoming)?;
    Ok(digests)
}

fn move_in(objects: &Folder, folder: &StagedFolder, name: &str, digests: Digests) -> io::Result<Digests> {
    objects.adopt(folder, name, &ObjectKey::file(&digests.sha256))?;
    Ok(digests)
}

/// Copies the file into the store and hashes it on the way. `meter`: none if its bytes were counted before.
fn copy_in(objects: &Folder, incoming: &Incoming, meter: Option<&Arc<Meter>>) -> io::Result<Digests> {
    let staged = objects.stage()?;
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
    objects.keep(staged, &ObjectKey::file(&digests.sha256))?;
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
