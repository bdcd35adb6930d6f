//! Reading every object back and comparing it with its digest, at a bounded rate. A round that is interrupted goes on at the object it
//! stood at; a fault is written down and told, and nothing is changed: what to do about it somebody has to decide.

use std::time::Instant;

use data_encoding::HEXLOWER;
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::store::{self, Round, Stored};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::ScrubId;
use crate::portal::Portal;
use crate::storage::{ObjectKey, Objects, Problem};

/// How fast the store is read unless somebody says otherwise: 50 MB/s, which leaves most of a disk to downloads.
pub const RATE_DEFAULT: u64 = 50_000_000;
/// How often an object is read back that a release waits for, where the reading breaks off.
const READ_BACK_TRIES: usize = 3;

/// Checks every object that this round has not checked yet, and tells each. Errors: `Conflict` while another does, `Unavailable` if the
/// store does not answer; the next call goes on from there.
pub async fn scrub(portal: &Portal, bytes_a_second: u64, mut each: impl FnMut(&Stored, Option<&str>, &Round)) -> Result<Round, Error> {
    let mut db = portal.db.acquire().await?;
    // The lock is the connection's; it must not go back to the pool with it.
    db.close_on_drop();
    if !store::claim_scrub(&mut db).await? {
        return Err(Error::Conflict("a scrub is running already; /admin/store shows how far it is".into()));
    }
    let round = scrub_alone(portal, &mut db, bytes_a_second, &mut each).await;
    store::let_go(&mut db).await?;
    round
}

async fn scrub_alone(
    portal: &Portal,
    db: &mut PgConnection,
    bytes_a_second: u64,
    each: &mut impl FnMut(&Stored, Option<&str>, &Round),
) -> Result<Round, Error> {
    let mut round = match store::open_round(db).await? {
        Some(round) => round,
        None => store::begin_round(db, ScrubId::fresh(), portal.clock.now()).await?,
    };
    let mut pace = Pace::new(bytes_a_second);
    while let Some(object) = store::next_to_check(db, round.started_at).await? {
        let fault = check(portal, &object, &mut pace).await?.fault();
        if let Some(fault) = &fault {
            tracing::error!(object = object.sha256, fault, "an object of the store is not what it was");
        }
        round = store::note_checked(db, &round, &object, checked_at(portal, &round), fault.as_deref()).await?;
        each(&object, fault.as_deref(), &round);
    }
    store::finish_round(db, round.id, portal.clock.now()).await
}

/// After the round's beginning, whatever the clock says: else an object would come up again and again.
fn checked_at(portal: &Portal, round: &Round) -> Timestamp {
    portal.clock.now().max(round.started_at)
}

/// Reads one object back, as fast as it goes; says what is wrong with it. Errors are of the store as a whole, or of the way to it.
pub(super) async fn read_back(portal: &Portal, object: &Stored) -> Result<Option<String>, Error> {
    let mut why = String::new();
    for _ in 0..READ_BACK_TRIES {
        match check(portal, object, &mut Pace::new(0)).await? {
            Seen::BrokeOff(cause) => why = cause,
            seen => return Ok(seen.fault()),
        }
    }
    match portal.objects {
        Objects::Folder(_) => Ok(Seen::BrokeOff(why).fault()),
        Objects::S3(_) => Err(Error::Unavailable(
            format!("the object store breaks off while {} is read back ({why}); nothing was published: publish again", object.sha256)
                .into(),
        )),
    }
}

/// What reading an object back has shown.
enum Seen {
    Right,
    Wrong(String),
    /// It came to no end: a disk that cannot read a sector says so, and so does a line that breaks.
    BrokeOff(String),
}

impl Seen {
    /// What is wrong with the object, as far as is known.
    fn fault(self) -> Option<String> {
        match self {
            Seen::Right => None,
            Seen::Wrong(what) => Some(what),
            Seen::BrokeOff(cause) => Some(format!("cannot be read: {cause}")),
        }
    }
}

/// Whether the object is what it was. Errors are of the store as a whole.
async fn check(portal: &Portal, object: &Stored, pace: &mut Pace) -> Result<Seen, Error> {
    let key = ObjectKey::file(&object.sha256);
    let mut pieces = match portal.objects.slice(&key, object.size_bytes, 0, object.size_bytes).await {
        Ok(pieces) => pieces,
        Err(Problem::Missing(_)) => return Ok(Seen::Wrong("is missing".into())),
        Err(Problem::Spoilt(why)) => return Ok(Seen::Wrong(format!("has another size: {why}"))),
        Err(problem) => return Err(problem.for_operator()),
    };
    let mut hasher = Sha256::new();
    loop {
        match pieces.try_next().await {
            Ok(None) => break,
            Ok(Some(piece)) => {
                hasher.update(&piece);
                pace.keep(piece.len() as u64).await;
            }
            // Of a scrub, the next round will tell which it was.
            Err(cause) => return Ok(Seen::BrokeOff(cause.to_string())),
        }
    }
    let found = HEXLOWER.encode(&hasher.finalize());
    Ok(if found == object.sha256 { Seen::Right } else { Seen::Wrong(format!("has the SHA-256 {found}")) })
}

/// Holds reading back to so many bytes a second, over the whole.
struct Pace {
    bytes_a_second: u64,
    begun: Instant,
    bytes: u64,
}

impl Pace {
    /// 0 stands for as fast as it goes.
    fn new(bytes_a_second: u64) -> Self {
        Self { bytes_a_second, begun: Instant::now(), bytes: 0 }
    }

    async fn keep(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes_a_second > 0 {
            let due = std::time::Duration::from_secs_f64(self.bytes as f64 / self.bytes_a_second as f64);
            tokio::time::sleep(due.saturating_sub(self.begun.elapsed())).await;
        }
    }
}
