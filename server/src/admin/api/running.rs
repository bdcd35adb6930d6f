//! How the portal runs: what works in the background, and the store of weights.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::holdings::{FAULTY_MAX, ROUNDS};
use super::super::jobs::Standing;
use crate::accounts::AdministeringProgram;
use crate::catalog::{self, Faulty, Round};
use crate::error::Error;
use crate::http::api::{Moment, Refused, answer};
use crate::ids::ScrubId;
use crate::jobs::Job;
use crate::portal::Portal;

/// What works in the background, and what waits for it.
#[derive(Serialize, ToSchema)]
struct Jobs {
    /// Each loop.
    jobs: Vec<JobLine>,
    /// The outbox.
    mails: MailsWaiting,
    /// Releases that have no signature yet.
    releases_unproven: usize,
    /// Events of the record that have no place in its log yet.
    events_waiting: i64,
    /// Why the log is not signed any more; null while it is.
    #[schema(example = json!(null))]
    log_fault: Option<String>,
    /// When all of the record was last looked through, which is done every day; null before the first time since the start.
    record_checked_at: Option<Moment>,
    /// The first thing that was not as it was then; null if everything was.
    #[schema(example = json!(null))]
    record_fault: Option<String>,
    /// The latest time through the store; null before the first.
    scrub: Option<RoundLine>,
}

/// One loop, since the portal was started.
#[derive(Serialize, ToSchema)]
struct JobLine {
    /// What it is called in the log, too.
    #[schema(example = "outbox")]
    name: &'static str,
    /// How long it rests between two runs.
    every_ms: u64,
    /// Runs that ended.
    runs: u64,
    /// Runs that ended with a fault.
    failures: u64,
    /// Since when it runs; null while it rests.
    running_since: Option<Moment>,
    /// When the last run ended.
    last_at: Option<Moment>,
    /// How long that took.
    last_took_ms: u64,
    /// Whether it failed.
    has_failed: bool,
    /// What the last fault was, even if it went well since.
    last_fault: Option<JobFault>,
}

/// A run that failed.
#[derive(Serialize, ToSchema)]
struct JobFault {
    /// When.
    at: Moment,
    /// What it said.
    fault: String,
}

/// The outbox, in numbers.
#[derive(Serialize, ToSchema)]
struct MailsWaiting {
    /// Mails that are to leave, now or later.
    waiting: i64,
    /// Mails that are tried no more.
    given_up: i64,
    /// Mails that came back.
    bounced: i64,
    /// When the one that is due longest was due; null when none is.
    due_since: Option<Moment>,
    /// Whether mails stay in the house as files, because no mail server is set.
    keeps_mails: bool,
    /// What is wrong with the mail server; null while nothing is.
    #[schema(example = json!(null))]
    trouble: Option<String>,
}

/// One time through the store.
#[derive(Serialize, ToSchema)]
struct RoundLine {
    /// Its id.
    id: ScrubId,
    /// When it began.
    started_at: Moment,
    /// When it came on last.
    last_at: Moment,
    /// When it was through; null before.
    finished_at: Option<Moment>,
    /// Objects it has read.
    objects: i64,
    /// Their bytes.
    bytes: i64,
    /// Objects that were not what they should be.
    faults: i64,
}

impl From<Job> for JobLine {
    fn from(job: Job) -> Self {
        let ms = |length: std::time::Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            name: job.name,
            every_ms: ms(job.every),
            runs: job.runs,
            failures: job.failures,
            running_since: job.running_since.map(Moment),
            last_at: job.last_at.map(Moment),
            last_took_ms: ms(job.last_took),
            has_failed: job.failed,
            last_fault: job.last_fault.map(|(at, fault)| JobFault { at: at.into(), fault }),
        }
    }
}

impl From<Round> for RoundLine {
    fn from(round: Round) -> Self {
        Self {
            id: round.id,
            started_at: round.started_at.into(),
            last_at: round.last_at.into(),
            finished_at: round.finished_at.map(Moment),
            objects: round.objects,
            bytes: round.bytes,
            faults: round.faults,
        }
    }
}

/// Background jobs
///
/// What works in the background, when it ran last and with what it failed, and what waits for it.
#[utoipa::path(get, path = "/api/v1/admin/jobs", operation_id = "get_jobs", tag = "admin",
    responses((status = 200, body = Jobs), Refused), security(("token" = ["admin"])))]
pub(super) async fn jobs(portal: Data<Portal>, _: AdministeringProgram) -> Result<HttpResponse, Error> {
    let standing = Standing::look(&portal).await?;
    let mails = MailsWaiting {
        waiting: standing.mails.waiting,
        given_up: standing.mails.given_up,
        bounced: standing.mails.bounced,
        due_since: standing.mails.due_since.map(Moment),
        keeps_mails: portal.mailer.keeps_mails(),
        trouble: portal.mailer.trouble().map(|trouble| trouble.text),
    };
    Ok(answer(&Jobs {
        jobs: standing.jobs.into_iter().map(JobLine::from).collect(),
        mails,
        releases_unproven: standing.releases_unproven,
        events_waiting: standing.events_waiting,
        log_fault: standing.log_fault,
        record_checked_at: standing.checked.as_ref().map(|checked| Moment(checked.at)),
        record_fault: standing.checked.and_then(|checked| checked.fault).map(|fault| fault.to_string()),
        scrub: standing.scrub.map(RoundLine::from),
    }))
}

/// The store of weights.
#[derive(Serialize, ToSchema)]
struct StoreTold {
    /// Objects it should hold.
    objects: i64,
    /// Their bytes.
    bytes: i64,
    /// Objects that were not what they should be when they were read last, 500 at most.
    faulty: Vec<FaultyObject>,
    /// The latest times through it, the newest first, 20 at most.
    rounds: Vec<RoundLine>,
}

/// An object that is not what it should be.
#[derive(Serialize, ToSchema)]
struct FaultyObject {
    /// Its SHA-256, in hex.
    sha256: String,
    /// What is wrong.
    fault: String,
    /// When that was seen.
    checked_at: Moment,
    /// The files it is: model, revision and path.
    files: Vec<String>,
}

impl From<Faulty> for FaultyObject {
    fn from(object: Faulty) -> Self {
        Self { sha256: object.sha256, fault: object.fault, checked_at: object.checked_at.into(), files: object.files }
    }
}

/// The store
///
/// What it holds, when it was read back, and what was not what it should be.
#[utoipa::path(get, path = "/api/v1/admin/store", operation_id = "get_store", tag = "admin",
    responses((status = 200, body = StoreTold), Refused), security(("token" = ["admin"])))]
pub(super) async fn store(portal: Data<Portal>, _: AdministeringProgram) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let holdings = catalog::holdings(&mut db).await?;
    let faulty = catalog::faulty(&mut db, FAULTY_MAX).await?.into_iter().map(FaultyObject::from).collect();
    let rounds = catalog::rounds(&mut db, ROUNDS).await?.into_iter().map(RoundLine::from).collect();
    Ok(answer(&StoreTold { objects: holdings.objects, bytes: holdings.bytes, faulty, rounds }))
}
