//! What stands on the record about an application or a grant, as its page lists it, each with its receipt.

use sqlx::PgConnection;

use crate::audit;
use crate::error::Error;
use crate::http::when;

/// How much of the record is listed; the newest.
pub(super) const RECORDED_MAX: i64 = 50;

/// What is asked of the record about these subjects.
pub(super) fn about(subjects: Vec<String>) -> audit::Filter {
    audit::Filter { subjects: Some(subjects), ..audit::Filter::default() }
}

/// One event.
pub(super) struct Recorded {
    pub(super) seq: i64,
    pub(super) what: String,
    pub(super) at: String,
}

impl Recorded {
    pub(super) fn of(event: &audit::Row) -> Self {
        Self { seq: event.seq, what: told(&event.kind), at: when::minute(event.at) }
    }
}

/// What happened, in words for its reader.
fn told(kind: &str) -> String {
    let words = match kind {
        "application.submitted" => "Application sent",
        "application.resubmitted" => "Application sent again",
        "application.withdrawn" => "Application withdrawn",
        "application.lapsed" => "Application lapsed",
        "application.claimed" => "Claimed by a reviewer",
        "application.released" => "Released by the reviewer",
        "application.changes_requested" => "Changes requested",
        "application.comment_written" => "Comment posted",
        "application.appealed" => "Appeal sent",
        "application.decision_undone" => "Decision taken back",
        "application.approved" => "Application approved",
        "application.declined" => "Application declined",
        "grant.made" => "Access granted",
        "grant.revoked" => "Access revoked",
        "grant.undone" => "Access taken back with the decision",
        "grant.suspended" => "Access suspended",
        "grant.reinstated" => "Access reinstated",
        "grant.revocation_proposed" => "Revocation proposed",
        "grant.revocation_rejected" => "Revocation rejected",
        "grant.closed" => "Access closed",
        "grant.renewal_requested" => "Renewal requested",
        "grant.renewal_withdrawn" => "Renewal withdrawn",
        "grant.renewal_approved" => "Access renewed",
        "grant.renewal_declined" => "Renewal declined",
        "grant.renewal_lapsed" => "Renewal lapsed",
        "grant.consent_given" => "Agreed to changed terms",
        other => return other.replace(['.', '_'], " "),
    };
    words.to_owned()
}

/// What happened to these subjects, in its order.
pub(super) async fn recorded(db: &mut PgConnection, subjects: Vec<String>) -> Result<Vec<Recorded>, Error> {
    let events = audit::page(db, &about(subjects), RECORDED_MAX).await?;
    Ok(events.iter().rev().map(Recorded::of).collect())
}
