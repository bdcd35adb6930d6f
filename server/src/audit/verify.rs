//! Proves the record whole: the tree is built anew from the database, event by event, and compared with the tiles and with what was signed.

use std::collections::HashSet;
use std::fmt;
use std::io::ErrorKind;
use std::pin::pin;

use futures_util::TryStreamExt;
use sqlx::{Connection, PgConnection, PgPool};

use super::leaf::commitment;
use super::log::Log;
use super::merkle::{Frontier, Hash};
use super::note::Checkpoint;
use super::store::{self, Logged};
use super::tiles::TILE_HASHES;
use crate::clock::Timestamp;
use crate::error::Error;

/// What was found.
#[derive(Debug)]
pub struct Verdict {
    /// Entries that the database has places for.
    pub entries: u64,
    /// Entries that the newest checkpoint speaks of.
    pub signed: u64,
    /// Events that wait for their place.
    pub waiting: i64,
    /// Entries whose detail was erased. The proofs hold without it.
    pub erased: u64,
    /// The first thing that is not as it was.
    pub fault: Option<Fault>,
}

/// Something is not as it was when it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The first entry that is concerned; nothing if it is not about one.
    pub index: Option<u64>,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(out, "entry {index}: {}", self.what),
            None => out.write_str(&self.what),
        }
    }
}

/// What was found when all of the record was last looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// When that began.
    pub at: Timestamp,
    /// How many entries there were.
    pub entries: u64,
    /// The first thing that is not as it was.
    pub fault: Option<Fault>,
}

/// Looks through all of the record, as [`verify`] does for whoever asks, and keeps what was found: [`Log::standing`] tells it.
pub async fn look_through(db: &PgPool, log: &Log, now: Timestamp) -> Result<(), Error> {
    let Verdict { entries, fault, .. } = verify(db, log, &[]).await?;
    if let Some(fault) = &fault {
        tracing::error!(%fault, "the audit record is not what it was; keep the data as it is, and compare it with a backup from before");
    }
    log.keep_checked(Checked { at: now, entries, fault });
    Ok(())
}

/// Compares database, tiles and checkpoint. `others` are checkpoints of this log that were kept elsewhere: the log must have grown from
/// them. Errors: only what keeps us from looking; what is wrong with the record is in the verdict.
pub async fn verify(db: &PgPool, log: &Log, others: &[Checkpoint]) -> Result<Verdict, Error> {
    // The note first: the database is always ahead of it.
    let signed = match log.checkpoint() {
        Ok(signed) => signed,
        Err(cause) if cause.kind() == std::io::ErrorKind::InvalidData => {
            let fault = Some(Fault { index: None, what: cause.to_string() });
            return Ok(Verdict { entries: 0, signed: 0, waiting: 0, erased: 0, fault });
        }
        Err(cause) => return Err(cause.into()),
    };
    let mut held = db.acquire().await?;
    // Whoever stops in the middle reads no more of it.
    held.close_on_drop();
    let mut tx = held.begin().await?;
    store::look_at_one_moment(&mut tx).await?;
    let may_be_missing = store::erased(&mut tx).await?;
    let checkpoints = signed.iter().chain(others).collect();
    let mut walk = Walk { log, checkpoints, tree: Frontier::default(), tile: Vec::new(), may_be_missing, erased: 0 };
    let signed = signed.as_ref().map_or(0, |signed| signed.size);
    let mut fault = walk.all(&mut tx, signed).await?;
    if fault.is_none() {
        let beside = store::first_beside_the_log(&mut tx).await?;
        fault = beside.map(|seq| Fault {
            index: None,
            what: format!("event {seq} came in behind the log's back: it has no place and waits for none"),
        });
    }
    let waiting = store::pending(&mut tx).await?;
    Ok(Verdict { entries: walk.tree.size(), signed, waiting, erased: walk.erased, fault })
}

struct Walk<'a> {
    log: &'a Log,
    checkpoints: Vec<&'a Checkpoint>,
    tree: Frontier,
    /// The tile of leaf hashes that we are in.
    tile: Vec<u8>,
    /// The events whose details were erased, on the record.
    may_be_missing: HashSet<i64>,
    erased: u64,
}

impl Walk<'_> {
    async fn all(&mut self, db: &mut PgConnection, signed: u64) -> Result<Option<Fault>, Error> {
        let mut entries = pin!(store::logged(db));
        while let Some(entry) = entries.try_next().await? {
            if let Some(fault) = self.step(&entry, signed)? {
                return Ok(Some(fault));
            }
        }
        let size = self.tree.size();
        let longest = self.checkpoints.iter().map(|checkpoint| checkpoint.size).max().unwrap_or(0);
        Ok((size < longest).then(|| Fault {
            index: Some(size),
            what: format!(
                "{longest} entries were signed and the database has {size}: an older copy of it was restored, or its last rows were removed"
            ),
        }))
    }

    fn step(&mut self, entry: &Logged, signed: u64) -> Result<Option<Fault>, Error> {
        let at = self.tree.size();
        let fault = |what: String| Ok(Some(Fault { index: Some(at), what }));
        if entry.index.unsigned_abs() != at {
            return fault("its place in the database is empty: the row was removed".into());
        }
        let Some(leaf) = entry.leaf() else { return fault(format!("event {} was removed", entry.seq)) };
        let hash = leaf.hash();
        if at < signed && self.tile_hash(at, signed)? != Some(hash) {
            return fault(match entry.hash == hash {
                true => "the log's tile says another hash than the database: one of them was changed".into(),
                false => format!("event {} is not what was logged: it was changed, or moved", entry.seq),
            });
        }
        if entry.hash != hash {
            return fault(format!("event {} does not fit the hash that the database keeps of it: one of them was changed", entry.seq));
        }
        match (&entry.salt, &entry.detail) {
            (Some(salt), Some(detail)) => {
                if entry.commitment.as_deref() != Some(&commitment(salt, detail)[..]) {
                    return fault(format!("the detail of event {} is not what it was committed to: it was changed", entry.seq));
                }
            }
            _ if self.may_be_missing.contains(&entry.seq) => self.erased += 1,
            _ => {
                return fault(format!(
                    "the detail of event {} is missing, and no erasure on the record took it: it was removed",
                    entry.seq
                ));
            }
        }
        self.tree.push(hash, |_, _, _| ());
        let size = self.tree.size();
        if self.checkpoints.iter().any(|checkpoint| checkpoint.size == size && checkpoint.root != self.tree.root()) {
            let what = format!(
                "the first {size} entries do not lead to the root that was signed for them: the log was forked, or tiles and events changed alike"
            );
            return fault(what);
        }
        Ok(None)
    }

    /// The hash on the tile; `None` if it is cut short.
    fn tile_hash(&mut self, at: u64, signed: u64) -> Result<Option<Hash>, Error> {
        let (tile, place) = (at / TILE_HASHES, at % TILE_HASHES);
        if place == 0 {
            let width = (signed - at).min(TILE_HASHES);
            self.tile = match self.log.tiles().read(0, tile, width) {
                // What is missing or cut is a fault of the record; that it cannot be read now is none.
                Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => Vec::new(),
                read => read?,
            };
        }
        Ok(self.tile.as_chunks::<32>().0.get(place as usize).copied())
    }
}
