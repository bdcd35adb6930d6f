//! Jobs: what works in the background, and what waits for it.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;

use crate::accounts::Admin;
use crate::audit::{self, Checked};
use crate::catalog::{self, Round};
use crate::error::Error;
use crate::http::filters;
use crate::http::page::page;
use crate::http::{Frame, when};
use crate::jobs::{Job, JobState};
use crate::mail;
use crate::mail::Counts;
use crate::portal::Portal;

#[derive(Template)]
#[template(path = "admin/jobs.html")]
struct JobsPage {
    frame: Frame,
    jobs: Vec<JobRow>,
    mails: Counts,
    releases_unproven: usize,
    events_waiting: i64,
    log_fault: Option<String>,
    checked: Option<Checked>,
    scrub: Option<Round>,
    scrub_told: String,
}

struct JobRow {
    name: &'static str,
    every: String,
    state: &'static str,
    class: &'static str,
    last: String,
    took: String,
    runs: u64,
    failures: u64,
    fault: Option<String>,
}

impl From<Job> for JobRow {
    fn from(job: Job) -> Self {
        let (state, class) = match job.state() {
            JobState::Failed => ("Failed", "bad"),
            JobState::Running => ("Running", "info"),
            JobState::Rests => ("Idle", "ok"),
            JobState::Begins => ("Starting", "info"),
        };
        Self {
            name: job.name,
            every: short(job.every),
            state,
            class,
            last: match (job.running_since, job.last_at) {
                (_, Some(at)) => when::minute(at),
                (Some(since), None) => format!("running since {}", when::minute(since)),
                (None, None) => "never".into(),
            },
            took: if job.last_at.is_some() { short(job.last_took) } else { "–".into() },
            runs: job.runs,
            failures: job.failures,
            fault: job.last_fault.map(|(at, fault)| format!("{}: {fault}", when::minute(at))),
        }
    }
}

/// What works in the background, and what waits for it.
pub(super) struct Standing {
    pub(super) jobs: Vec<Job>,
    pub(super) mails: Counts,
    pub(super) releases_unproven: usize,
    pub(super) events_waiting: i64,
    /// Why the log of the record is not signed any more.
    pub(super) log_fault: Option<String>,
    /// What was found when all of the record was last looked through.
    pub(super) checked: Option<Checked>,
    /// The latest time through the store.
    pub(super) scrub: Option<Round>,
}

impl Standing {
    /// As it is.
    pub(super) async fn look(portal: &Portal) -> Result<Self, Error> {
        let mut db = portal.db.acquire().await?;
        let audit::Standing { fault, checked, .. } = portal.audit.standing();
        Ok(Self {
            jobs: portal.jobs.all(),
            mails: mail::counts(&mut db, portal.clock.now()).await?,
            releases_unproven: catalog::waiting_for_proof(portal, &mut db).await?,
            events_waiting: audit::pending(&mut db).await?,
            log_fault: fault,
            checked,
            scrub: catalog::rounds(&mut db, 1).await?.into_iter().next(),
        })
    }
}

/// `GET /admin/jobs`
pub(super) async fn jobs(portal: Data<Portal>, frame: Frame, _: Admin) -> Result<HttpResponse, Error> {
    let standing = Standing::look(&portal).await?;
    page(&JobsPage {
        frame,
        jobs: standing.jobs.into_iter().map(JobRow::from).collect(),
        mails: standing.mails,
        releases_unproven: standing.releases_unproven,
        events_waiting: standing.events_waiting,
        log_fault: standing.log_fault,
        checked: standing.checked,
        scrub_told: standing.scrub.as_ref().map(told).unwrap_or_default(),
        scrub: standing.scrub,
    })
}

fn told(round: &Round) -> String {
    match round.finished_at {
        Some(at) => format!("ended on {}: {} objects, {} faulty", when::minute(at), round.objects, round.faults),
        None => format!("began on {}, {} objects so far, {} faulty", when::minute(round.started_at), round.objects, round.faults),
    }
}

/// `250 ms`, `10 s`, `10 min`
fn short(length: std::time::Duration) -> String {
    match length.as_millis() {
        0 => "under 1 ms".into(),
        ms @ 1..1_000 => format!("{ms} ms"),
        ms @ 1_000..60_000 => format!("{} s", ms / 1_000),
        ms => format!("{} min", ms / 60_000),
    }
}
