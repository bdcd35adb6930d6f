//! `GET /metrics`: the numbers we have, in the words of Prometheus, the engine's in those of vLLM. They tell how much is downloaded here, so only this machine, trusted
//! proxies' networks and programs with an admin's token may read them.

mod engine;

use std::fmt::Write as _;
use std::net::IpAddr;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::accounts::{Role, Visitor};
use crate::audit;
use crate::catalog::{self, Holdings, Round};
use crate::clock::Timestamp;
use crate::downloads::{Counts, Ledger};
use crate::error::Error;
use crate::http::limits::client_address;
use crate::jobs::Job;
use crate::mail;
use crate::portal::Portal;

/// `GET /metrics`
pub(crate) async fn metrics(
    portal: Data<Portal>,
    ledger: Data<Ledger>,
    request: HttpRequest,
    visitor: Visitor,
) -> Result<HttpResponse, Error> {
    let client = client_address(&request, &portal.config.trusted_proxies).parse::<IpAddr>();
    let is_near = client.is_ok_and(|client| client.is_loopback() || portal.config.trusted_proxies.contains(client));
    if !is_near && visitor.account().is_none_or(|account| account.role < Role::Admin) {
        return Err(Error::NotFound("page"));
    }
    let mut db = portal.db.acquire().await?;
    let holdings = catalog::holdings(&mut db).await?;
    let rounds = catalog::rounds(&mut db, 2).await?;
    let waiting = audit::pending(&mut db).await?;
    let now = portal.clock.now();
    let mails = mail::counts(&mut db, now).await?;
    let loaded = portal.engine.loaded();
    let revisions: Vec<String> = loaded.iter().map(|model| model.key.clone()).collect();
    let names = catalog::names_of_revisions(&mut db, &revisions).await?;
    let mut text = exposition(&ledger.counts(), ledger.running(), &holdings, &rounds);
    text.push_str(&of_the_log(&portal.audit, waiting));
    text.push_str(&of_the_outbox(&mails, portal.mailer.trouble().is_some(), now));
    text.push_str(&of_the_workers(&portal.jobs.all()));
    text.push_str(&engine::exposition(&loaded, &names));
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

/// What each background loop did.
fn of_the_workers(jobs: &[Job]) -> String {
    let mut text = String::new();
    let mut tell = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Job) -> Option<String>| {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for job in jobs {
            if let Some(value) = value(job) {
                let _ = writeln!(text, "{name}{{worker=\"{}\"}} {value}", job.name);
            }
        }
    };
    tell("sluice_worker_runs_total", "counter", "Runs that ended, since the start.", &|job| Some(job.runs.to_string()));
    tell("sluice_worker_failures_total", "counter", "Of these, with an error.", &|job| Some(job.failures.to_string()));
    tell("sluice_worker_failed", "gauge", "1 if the last run ended with an error.", &|job| Some(u8::from(job.failed).to_string()));
    tell("sluice_worker_last_run_timestamp_seconds", "gauge", "When the last run ended.", &|job| {
        job.last_at.map(|at| at.unix_timestamp().to_string())
    });
    tell("sluice_worker_last_run_seconds", "gauge", "How long it took.", &|job| {
        job.last_at.map(|_| job.last_took.as_secs_f64().to_string())
    });
    text
}

fn exposition(counts: &Counts, running: usize, holdings: &Holdings, rounds: &[Round]) -> String {
    let mut text = String::new();
    let mut tell = |name: &str, kind: &str, help: &str, value: String| {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{value}\n");
    };
    let seconds = |at: Timestamp| format!(" {}", at.unix_timestamp());
    tell(
        "sluice_build_info",
        "gauge",
        "Always 1; the version is in the label.",
        format!("{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
    );
    tell("sluice_downloads_running", "gauge", "Transfers of files that run now.", format!(" {running}"));
    tell("sluice_download_requests_total", "counter", "Transfers of files begun since the start.", format!(" {}", counts.requests));
    tell(
        "sluice_download_sent_bytes_total",
        "counter",
        "Bytes of files sent, or handed over to the store to send, since the start.",
        format!(" {}", counts.sent_bytes),
    );
    tell("sluice_store_objects", "gauge", "Objects on record.", format!(" {}", holdings.objects));
    tell("sluice_store_bytes", "gauge", "Bytes of the objects on record.", format!(" {}", holdings.bytes));
    tell(
        "sluice_store_faulty_objects",
        "gauge",
        "Objects that were not what they should be when they were read last.",
        format!(" {}", holdings.faulty),
    );
    if let Some(round) = rounds.first() {
        tell(
            "sluice_scrub_running",
            "gauge",
            "1 if the latest round of the scrub is not through.",
            format!(" {}", u8::from(round.finished_at.is_none())),
        );
        tell("sluice_scrub_started_seconds", "gauge", "When the latest round began, in seconds since 1970.", seconds(round.started_at));
        tell("sluice_scrub_checked_objects", "gauge", "Objects that the latest round has read.", format!(" {}", round.objects));
        tell("sluice_scrub_checked_bytes", "gauge", "Bytes that the latest round has read.", format!(" {}", round.bytes));
        tell("sluice_scrub_faults", "gauge", "Objects that the latest round found faulty.", format!(" {}", round.faults));
    }
    if let Some(finished) = rounds.iter().find_map(|round| round.finished_at) {
        tell("sluice_scrub_finished_seconds", "gauge", "When a round was last through, in seconds since 1970.", seconds(finished));
    }
    text
}

/// How the outbox goes.
fn of_the_outbox(mails: &mail::Counts, is_in_trouble: bool, now: Timestamp) -> String {
    let mail::Counts { waiting, given_up, bounced, due_since } = mails;
    let overdue_s = due_since.map_or(0, |since| (now - since).whole_seconds().max(0));
    let trouble = u8::from(is_in_trouble);
    format!(
        "# HELP sluice_mail_waiting Mails that are to leave, now or later.\n# TYPE sluice_mail_waiting gauge\nsluice_mail_waiting {waiting}\n\
         # HELP sluice_mail_overdue_seconds For how long the mail that is due longest has been due.\n\
         # TYPE sluice_mail_overdue_seconds gauge\nsluice_mail_overdue_seconds {overdue_s}\n\
         # HELP sluice_mail_given_up Mails that could not be sent and are tried no more.\n\
         # TYPE sluice_mail_given_up gauge\nsluice_mail_given_up {given_up}\n\
         # HELP sluice_mail_bounced Mails that came back.\n# TYPE sluice_mail_bounced gauge\nsluice_mail_bounced {bounced}\n\
         # HELP sluice_mail_server_fault 1 if the mail server could not be used at the last try.\n\
         # TYPE sluice_mail_server_fault gauge\nsluice_mail_server_fault {trouble}\n"
    )
}

/// How the audit log goes.
fn of_the_log(log: &audit::Log, waiting: i64) -> String {
    let audit::Standing { signed, fault, checked } = log.standing();
    let stands_still = u8::from(fault.is_some());
    let mut text = format!(
        "# HELP sluice_audit_signed_entries Entries that the newest checkpoint of the audit log speaks of.\n\
         # TYPE sluice_audit_signed_entries gauge\nsluice_audit_signed_entries {signed}\n\
         # HELP sluice_audit_waiting_events Events without a place in the audit log yet; more than a moment's worth is a fault.\n\
         # TYPE sluice_audit_waiting_events gauge\nsluice_audit_waiting_events {waiting}\n\
         # HELP sluice_audit_fault 1 if the audit log and the database contradict each other and nothing is signed.\n\
         # TYPE sluice_audit_fault gauge\nsluice_audit_fault {stands_still}\n"
    );
    if let Some(checked) = checked {
        let (at, is_damaged) = (checked.at.unix_timestamp(), u8::from(checked.fault.is_some()));
        let _ = write!(
            text,
            "# HELP sluice_audit_checked_seconds When all of the audit record was last looked through, in seconds since 1970.\n\
             # TYPE sluice_audit_checked_seconds gauge\nsluice_audit_checked_seconds {at}\n\
             # HELP sluice_audit_damaged 1 if something in it was not what it was then.\n\
             # TYPE sluice_audit_damaged gauge\nsluice_audit_damaged {is_damaged}\n"
        );
    }
    text
}
