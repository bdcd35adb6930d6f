//! Removing objects that no release needs: what a publication kept that was never finished.
//!
//! A publication counts on objects that it found in the store before it names them. So it holds a shared lock of the database from its
//! beginning to its end, and this takes the same lock for itself alone, or does nothing. The kernel's end of a process is the connection's
//! end, and the lock's.

use std::collections::HashSet;

use sqlx::PgConnection;
use time::Duration;

use super::store;
use crate::audit::{self, Event};
use crate::error::Error;
use crate::portal::Portal;
use crate::storage::{ObjectKey, Problem};

/// Objects that are younger may belong to a publication that was interrupted and will go on: 7 days, as long as the staging folders wait.
pub const KEEP_DAYS_DEFAULT: u32 = 7;

/// An object that no release needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unneeded {
    /// Its SHA-256.
    pub sha256: String,
    /// Its size.
    pub size_bytes: u64,
    /// Whether it is on record. One that is not was left by a process that was killed; or it is another portal's, in a bucket that two share.
    pub is_on_record: bool,
}

/// What to remove.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// How old an object on record has to be.
    pub keep: Duration,
    /// Whether to remove anything.
    pub delete: bool,
    /// Whether to remove also what is not on record.
    pub unrecorded: bool,
}

/// Finds what no release needs, and removes it if asked to. Errors: `Conflict` while a publication runs.
pub async fn collect(portal: &Portal, sweep: Sweep) -> Result<Vec<Unneeded>, Error> {
    let mut db = portal.db.acquire().await?;
    // The lock is the connection's; it must not go back to the pool with it.
    db.close_on_drop();
    if !store::claim_objects(&mut db).await? {
        return Err(Error::Conflict(
            "a publication is running, and what it has stored is in no release yet; try again when it has ended".into(),
        ));
    }
    let found = collect_alone(portal, &mut db, sweep).await;
    store::let_go(&mut db).await?;
    found
}

async fn collect_alone(portal: &Portal, db: &mut PgConnection, sweep: Sweep) -> Result<Vec<Unneeded>, Error> {
    let now = portal.clock.now();
    let mut unneeded = store::unneeded_objects(db, now - sweep.keep).await?;
    let on_record: HashSet<String> = store::object_names(db).await?.into_iter().collect();
    let stored = portal.objects.list().await.map_err(Problem::for_operator)?;
    let strangers = stored.into_iter().filter(|(key, _)| !on_record.contains(key.sha256()));
    unneeded.extend(strangers.map(|(key, size_bytes)| Unneeded { sha256: key.sha256().to_owned(), size_bytes, is_on_record: false }));
    if !sweep.delete {
        return Ok(unneeded);
    }
    let mut removed = Vec::new();
    for object in unneeded.into_iter().filter(|object| object.is_on_record || sweep.unrecorded) {
        // The record first: a release that needed it after all keeps it there (release_file_object_fk), and then it stays in the store.
        if object.is_on_record && !store::forget_object(db, &object.sha256).await? {
            continue;
        }
        portal.objects.remove(&ObjectKey::file(&object.sha256)).await.map_err(Problem::for_operator)?;
        removed.push(object);
    }
    if !removed.is_empty() {
        let bytes = removed.iter().map(|object| object.size_bytes).sum();
        audit::record(db, now, None, &Event::ObjectsRemoved { objects: removed.len(), bytes }).await?;
    }
    Ok(removed)
}
