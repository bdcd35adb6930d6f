//! What is counted of applications and grants, period by period: for whoever runs the portal. What everybody may read of it is in
//! `turnaround.rs`.

use sqlx::PgConnection;
use time::Date;

use super::store;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ModelId};

/// How long a period is. Weeks begin on Mondays; all in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A calendar month.
    Month,
    /// A week.
    Week,
}

impl Unit {
    /// As it is asked for, and as the database calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Month => "month",
            Unit::Week => "week",
        }
    }
}

/// Which time, in which periods, and of which model; of all without one.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The periods.
    pub unit: Unit,
    /// The beginning of the first one.
    pub from: Timestamp,
    /// The end of the last one.
    pub until: Timestamp,
    /// The model.
    pub model: Option<ModelId>,
}

/// How many, in the period that begins on a day.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The first day.
    pub period: Date,
    /// How many.
    pub count: i64,
}

/// Applications that were closed alike.
#[derive(Debug, Clone)]
pub struct Closed {
    /// The first day.
    pub period: Date,
    /// As it is stored: `approved`, `declined`, `withdrawn`, `lapsed`.
    pub state: String,
    /// Why it was declined, if it was.
    pub decline_code: Option<String>,
    /// How many.
    pub count: i64,
}

/// How long decisions took.
#[derive(Debug, Clone)]
pub struct Waited {
    /// The first day.
    pub period: Date,
    /// How many were decided.
    pub decided: i64,
    /// Half of them within this time, in seconds.
    pub median_s: f64,
    /// Nine of ten within this time, in seconds.
    pub most_s: f64,
    /// How many by the day that was promised.
    pub in_time: i64,
}

/// What one reviewer decided.
#[derive(Debug, Clone)]
pub struct Load {
    /// Who.
    pub reviewer: AccountId,
    /// Approved.
    pub approved: i64,
    /// Declined.
    pub declined: i64,
}

/// By how much the number of grants in force changed.
#[derive(Debug, Clone)]
pub struct GrantsMoved {
    /// The first day.
    pub period: Date,
    /// How many more, or fewer.
    pub by: i64,
}

/// What was decided of one model in one month.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Which model.
    pub model: ModelId,
    /// The first day.
    pub month: Date,
    /// How many.
    pub decided: i64,
    /// Of these, approved; the others were declined.
    pub approved: i64,
    /// Of these, by the day that was promised.
    pub in_time: i64,
    /// Half of them within this time, in seconds.
    pub median_s: f64,
    /// Nine of ten within this time, in seconds.
    pub most_s: f64,
}

/// All that is counted of one span.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// Applications sent.
    pub sent: Vec<Counted>,
    /// Applications closed.
    pub closed: Vec<Closed>,
    /// How long decisions took.
    pub waited: Vec<Waited>,
    /// What each reviewer decided.
    pub decisions: Vec<Load>,
    /// How many cases each reviewer sees to now.
    pub held: Vec<(AccountId, i64)>,
    /// Grants that began and ended.
    pub grants_moved: Vec<GrantsMoved>,
}

/// Counts.
pub async fn statistics(db: &mut PgConnection, span: &Span) -> Result<Statistics, Error> {
    store::statistics(db, span).await
}
