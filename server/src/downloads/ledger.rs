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
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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
/// How long a transfer waits for its row before it is refused: longer than for what somebody has locked in the database, and less than
/// clients wait for a first byte.
const WRITTEN_WITHIN: Duration = Duration::from_secs(8);
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
    opening: Arc<Opening>,
    running: Arc<AtomicUsize>,
    watch: Watch,
    begun: Arc<AtomicU64>,
    sent_bytes: Arc<AtomicU64>,
    clock: Clock,
}

/// Rows of which there was none.
#[derive(Debug, Default)]
struct Opening {
    waiting: Mutex<HashMap<Key, Tally>>,
    written: Mutex<HashSet<Key>>,
    /// Held by whoever writes: the next of those who come meanwhile writes the rows of all.
    turn: tokio::sync::Mutex<()>,
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

    /// Opens the row of a transfer that begins now. If it cannot be written, no byte may leave.
    pub(super) async fn begin(
        &self,
        db: &PgPool,
        visitor: &Visitor,
        (model, release, file): (&Model, &Release, &ReleaseFile),
        client: &str,
    ) -> Result<Meter, Error> {
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
        let first = Tally { requests: 1, ..tally.clone() };
        if self.opening.is_written(&key) {
            add(&self.unwritten, &key, first);
        } else {
            let (opening, db, key) = (Arc::clone(&self.opening), db.clone(), key.clone());
            // In a task of its own: others' rows are written with it, whether or not its own reader goes on waiting.
            let task = tokio::spawn(async move { opening.write(&db, &key, &first).await });
            match tokio::time::timeout(WRITTEN_WITHIN, task).await {
                Ok(written) => written.unwrap_or_else(|cause| Err(Error::internal(cause)))?,
                Err(_) => return Err(Error::Unavailable("the ledger of downloads is busy; try again in a moment".into())),
            }
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Ok(Meter { ledger: self.clone(), key, tally, unreported: 0, pass: None })
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
        self.running.load(Ordering::Relaxed)
    }

    /// Writes what has come together since the last time. What cannot be written, or is given up on the way, is kept for the next.
    pub async fn write(&self, db: &PgPool) -> Result<(), Error> {
        let rows = in_order(std::mem::take(&mut *lock(&self.unwritten)));
        if rows.is_empty() {
            return Ok(());
        }
        let mut taken = Taken { from: &self.unwritten, rows };
        write_all(db, &taken.rows).await?;
        taken.rows.clear();
        Ok(())
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
}

impl Opening {
    /// Writes this row and those of all who wait; nothing if one of them has written it along.
    async fn write(&self, db: &PgPool, key: &Key, first: &Tally) -> Result<(), Error> {
        add(&self.waiting, key, first.clone());
        let _turn = self.turn.lock().await;
        // Taken along by somebody who could not write it, it is tried once more: what he failed on may have been a row of others.
        let is_waiting = lock(&self.waiting).contains_key(key);
        match (is_waiting, self.is_written(key)) {
            (false, true) => return Ok(()),
            (false, false) => add(&self.waiting, key, first.clone()),
            (true, _) => {}
        }
        let rows = in_order(std::mem::take(&mut *lock(&self.waiting)));
        write_all(db, &rows).await?;
        let mut written = lock(&self.written);
        if written.len() + rows.len() > WRITTEN_MAX {
            written.clear();
        }
        written.extend(rows.into_iter().map(|(key, _)| key));
        Ok(())
    }

    /// Whether there is a row of it in the database.
    fn is_written(&self, key: &Key) -> bool {
        lock(&self.written).contains(key)
    }
}

/// Rows that are being written. Those that are left when it is dropped go back to where they came from.
struct Taken<'a> {
    from: &'a Mutex<HashMap<Key, Tally>>,
    rows: Vec<(Key, Tally)>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.rows.drain(..).for_each(|(key, tally)| add(self.from, &key, tally));
    }
}

fn add(rows: &Mutex<HashMap<Key, Tally>>, key: &Key, tally: Tally) {
    let mut rows = lock(rows);
    match rows.get_mut(key) {
        Some(before) => {
            before.sent_bytes += tally.sent_bytes;
            before.requests = before.requests.saturating_add(tally.requests);
            before.started_at = before.started_at.min(tally.started_at);
            before.last_at = before.last_at.max(tally.last_at);
            before.client = tally.client;
        }
        None => {
            rows.insert(key.clone(), tally);
        }
    }
}

/// Nothing panics while it holds one half changed.
fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In one order, so that two portals on one database do not wait for each other's rows in a circle.
fn in_order(rows: HashMap<Key, Tally>) -> Vec<(Key, Tally)> {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by(|(a, _), (b, _)| (a.account, a.release, &a.path, a.day).cmp(&(b.account, b.release, &b.path, b.day)));
    rows
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

    /// For who tells how much has left.
    pub(super) fn listen(mut self) -> impl FnMut(u64) + use<> {
        move |sent| self.count(sent)
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
            add(&self.ledger.unwritten, &self.key, Tally { sent_bytes, last_at, ..self.tally.clone() });
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.report();
        self.ledger.running.fetch_sub(1, Ordering::Relaxed);
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
