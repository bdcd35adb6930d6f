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
        let words = event.kind.replace(['.', '_'], " ");
        Self { seq: event.seq, what: words[..1].to_uppercase() + &words[1..], at: when::minute(event.at) }
    }
}

/// What happened to these subjects, in its order.
pub(super) async fn recorded(db: &mut PgConnection, subjects: Vec<String>) -> Result<Vec<Recorded>, Error> {
    let events = audit::page(db, &about(subjects), RECORDED_MAX).await?;
    Ok(events.iter().rev().map(Recorded::of).collect())
}
