//! Who fetched what, when, how much. That somebody fetches a file is written before its first byte leaves. How much, and how often on
//! that day, is only added to a table in memory, which a worker writes to the database every second.
//!
//! Bytes count when they have left for the socket: a chunk when the connection asks for the next one. What a long transfer has sent
//! is added as it goes, so that of a killed server's rows each is there, and lacks at most [`REPORT_EVERY_BYTES`] of each transfer and
//! what was sent in one second.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use sqlx::PgPool;
use time::Date;

use super::store;
use super::watch::Watch;
use crate::accounts::Visitor;
use crate::catalog::{Model, Release, ReleaseFile};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, FieldError};
use crate::http::allowance::Pass;
use crate::ids::{AccountId, DownloadId, ModelId, ReleaseId};
use crate::portal::Portal;

/// At the end, how often to look whether the last stream has been dropped, and for how long: two seconds.
const CLOSING_PAUSE: Duration = Duration::from_millis(20);
const CLOSING_PAUSES_MAX: u32 = 100;
/// How many bytes a running transfer may have sent without telling.
const REPORT_EVERY_BYTES: u64 = 64 * 1024 * 1024;
/// How long a transfer waits until others have written their rows, before it is refused.
const TURN_WITHIN: Duration = Duration::from_secs(5);
/// Rows that are remembered as written; the next one forgets them all, and each is written once more when it is met again.
const WRITTEN_MAX: usize = 100_000;
/// How much of a client's name is kept.
const CLIENT_CHARS_MAX: usize = 200;

/// A row of the ledger: what one account (or nobody, for open models) fetched of one file on one day.
#[derive(Debug, Clone)]
pub struct Download {
    /// Its id.
    pub id: DownloadId,
    /// Who; nobody when an open model was fetched without an account.
    pub account: Option<AccountId>,
    /// The model's name at that time.
    pub model_name: String,
    /// The release's revision.
    pub revision: String,
    /// The file's path.
    pub path: String,
    /// The file's size.
    pub size_bytes: i64,
    /// The bytes that were sent, over all requests.
    pub sent_bytes: i64,
    /// How many requests.
    pub requests: i32,
    /// The first request.
    pub started_at: Timestamp,
    /// The last time bytes were sent.
    pub last_at: Timestamp,
    /// When as many bytes had been sent as the file has.
    pub completed_at: Option<Timestamp>,
    /// What the client called itself.
    pub client: String,
}

/// A place in a list of downloads: `microseconds.dl_…` in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// The last row's time.
    pub at: Timestamp,
    /// The last row's id.
    pub id: DownloadId,
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.unix_timestamp_nanos() / 1_000, self.id)
    }
}

impl FromStr for Before {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, FieldError> {
        let parse = || {
            let (micros, id) = text.split_once('.')?;
            let at = Timestamp::from_unix_timestamp_nanos(i128::from(micros.parse::<i64>().ok()?) * 1_000).ok()?;
            Some(Self { at, id: id.parse().ok()? })
        };
        parse().ok_or_else(|| FieldError::new("before", "is the place the page before gave; start again without it"))
    }
}

/// What makes two transfers one row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub account: Option<AccountId>,
    pub release: ReleaseId,
    pub path: String,
    pub day: Date,
}

/// What has not been written yet of one row.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub model: ModelId,
    pub model_name: String,
    pub revision: String,
    pub size_bytes: i64,
    pub sent_bytes: i64,
    pub requests: i32,
    pub started_at: Timestamp,
    pub last_at: Timestamp,
    pub client: String,
}

/// The table in memory; every clone is the same one.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    unwritten: Arc<Mutex<HashMap<Key, Tally>>>,
    written: Arc<Mutex<HashSet<Key>>>,
    /// Held by whoever writes: those who come meanwhile wait, and the next of them writes all their rows at once.
    turn: Arc<tokio::sync::Mutex<()>>,
    watch: Watch,
    begun: Arc<AtomicU64>,
    sent_bytes: Arc<AtomicU64>,
    clock: Clock,
}

/// What was transferred since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Transfers begun.
    pub requests: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
}

impl Ledger {
    /// An empty one.
    pub fn new(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Opens the row of a transfer that begins now. `Unavailable` if it cannot be written: then no byte may leave.
    pub(super) async fn begin(
        &self,
        db: &PgPool,
        visitor: &Visitor,
        (model, release, file): (&Model, &Release, &ReleaseFile),
        client: &str,
    ) -> Result<Meter, Error> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.now();
        let key = Key { account: visitor.account_id(), release: release.id, path: file.path.clone(), day: now.date() };
        let tally = Tally {
            model: model.id,
            model_name: model.full_name(),
            revision: release.revision.clone(),
            size_bytes: file.size_bytes,
            sent_bytes: 0,
            requests: 0,
            started_at: now,
            last_at: now,
            client: client.chars().filter(|c| !c.is_control()).take(CLIENT_CHARS_MAX).collect(),
        };
        self.add(&key, Tally { requests: 1, ..tally.clone() });
        if !self.is_written(&key) {
            self.write_along(db, &key).await?;
        }
        Ok(Meter { ledger: self.clone(), key, tally, unreported: 0, pass: None })
    }

    /// Writes this row, and those of whoever else waits.
    async fn write_along(&self, db: &PgPool, key: &Key) -> Result<(), Error> {
        let (ledger, db, key) = (self.clone(), db.clone(), key.clone());
        // In a task of its own, which goes on when the reader does not: what it has taken out of the table must not be lost.
        let written = tokio::spawn(async move {
            let turn = tokio::time::timeout(TURN_WITHIN, ledger.turn.lock()).await;
            let _turn = turn.map_err(|_| Error::Unavailable("others are being noted in the ledger; try again in a moment".into()))?;
            // Whoever was before may have written it along.
            if ledger.is_written(&key) { Ok(()) } else { ledger.write_in_turn(&db).await }
        });
        written.await.unwrap_or_else(|cause| Err(Error::internal(cause)))
    }

    /// Asks of every running transfer whether its reader may still have the bytes, and ends those that may not.
    pub async fn end_what_was_revoked(&self, portal: &Portal) -> Result<(), Error> {
        self.watch.ask(portal).await
    }

    /// The transfers that can be ended.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// What was transferred since the start.
    pub fn counts(&self) -> Counts {
        Counts { requests: self.begun.load(Ordering::Relaxed), sent_bytes: self.sent_bytes.load(Ordering::Relaxed) }
    }

    /// How many transfers are running.
    pub fn running(&self) -> usize {
        // Each holds a clone, and the portal one.
        Arc::strong_count(&self.unwritten) - 1
    }

    /// Writes what has come together since the last time. What cannot be written is kept for the next.
    pub async fn write(&self, db: &PgPool) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        self.write_in_turn(db).await
    }

    async fn write_in_turn(&self, db: &PgPool) -> Result<(), Error> {
        let mut taken: Vec<_> = std::mem::take(&mut *self.lock()).into_iter().collect();
        if taken.is_empty() {
            return Ok(());
        }
        // In one order, so that two portals on one database do not wait for each other's rows in a circle.
        taken.sort_by(|(a, _), (b, _)| (a.account, a.release, &a.path, a.day).cmp(&(b.account, b.release, &b.path, b.day)));
        let done = write_all(db, &taken).await;
        if done.is_err() {
            taken.iter().for_each(|(key, tally)| self.add(key, tally.clone()));
            return done;
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, _) in taken {
            if written.len() >= WRITTEN_MAX {
                written.clear();
            }
            written.insert(key);
        }
        Ok(())
    }

    /// Whether there is a row of it in the database.
    fn is_written(&self, key: &Key) -> bool {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Writes the last of it: to be called when the server has stopped. Streams that were cut may take a moment to be dropped.
    pub async fn close(&self, db: &PgPool) -> Result<(), Error> {
        for _ in 0..CLOSING_PAUSES_MAX {
            if self.running() == 0 {
                break;
            }
            tokio::time::sleep(CLOSING_PAUSE).await;
        }
        self.write(db).await
    }

    fn add(&self, key: &Key, tally: Tally) {
        let mut unwritten = self.lock();
        match unwritten.get_mut(key) {
            Some(before) => {
                before.sent_bytes += tally.sent_bytes;
                before.requests = before.requests.saturating_add(tally.requests);
                before.started_at = before.started_at.min(tally.started_at);
                before.last_at = before.last_at.max(tally.last_at);
                before.client = tally.client;
            }
            None => {
                unwritten.insert(key.clone(), tally);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Tally>> {
        // Nothing panics while holding it half changed.
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write_all(db: &PgPool, rows: &[(Key, Tally)]) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    for (key, tally) in rows {
        store::add(&mut tx, key, tally).await?;
    }
    Ok(tx.commit().await?)
}

/// Counts what one transfer sends.
#[derive(Debug)]
pub(super) struct Meter {
    ledger: Ledger,
    key: Key,
    tally: Tally,
    unreported: u64,
    pass: Option<Pass>,
}

impl Meter {
    /// Holds a place among the account's downloads for as long as it counts.
    pub(super) fn holding(mut self, pass: Option<Pass>) -> Self {
        self.pass = pass;
        self
    }

    /// `bytes`, counted as they leave.
    pub(super) fn measure<S>(self, bytes: S) -> Measured<S> {
        Measured { bytes: Box::pin(bytes), leaving: 0, meter: self }
    }

    /// The store itself sends so many bytes, or fewer: we do not hear how many arrive, and count what was handed over.
    pub(super) fn hand_over(mut self, bytes: u64) {
        self.count(bytes);
    }

    fn count(&mut self, sent: u64) {
        self.unreported += sent;
        self.ledger.sent_bytes.fetch_add(sent, Ordering::Relaxed);
        if let Some(pass) = &mut self.pass {
            pass.sent(sent);
        }
        if self.unreported >= REPORT_EVERY_BYTES {
            self.report();
        }
    }

    fn report(&mut self) {
        let sent_bytes = i64::try_from(std::mem::take(&mut self.unreported)).unwrap_or(i64::MAX);
        if sent_bytes > 0 {
            let last_at = self.ledger.clock.now();
            self.ledger.add(&self.key, Tally { sent_bytes, last_at, ..self.tally.clone() });
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.report();
    }
}

/// A stream whose bytes are counted when the next are asked for.
pub(super) struct Measured<S> {
    bytes: Pin<Box<S>>,
    leaving: u64,
    meter: Meter,
}

impl<S: Stream<Item = std::io::Result<Bytes>>> Stream for Measured<S> {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let left = std::mem::take(&mut self.leaving);
        self.meter.count(left);
        let next = self.bytes.as_mut().poll_next(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &next {
            self.leaving = chunk.len() as u64;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_list_reads_back() {
        let at = Clock::System.now();
        let before = Before { at, id: DownloadId::fresh() };
        assert_eq!(before.to_string().parse::<Before>().expect("a place"), before);
        for wrong in ["", "1", "1.", "x.dl_01", "99999999999999999999.dl_0"] {
            assert!(wrong.parse::<Before>().is_err(), "{wrong}");
        }
    }
}
