//! How long people wait: told to whoever is waiting.

use sqlx::PgConnection;
use time::Duration;

use super::application::Application;
use super::store;
use crate::error::Error;
use crate::http::when;

/// What an applicant is told while they wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// How many were sent before this one and wait still.
    pub before: i64,
    /// Half of the last decisions came within this time, and nine of ten within the other; none while there were too few.
    pub usual: Option<(Duration, Duration)>,
}

/// The place of an application in the queue, and how long decisions took lately.
pub async fn waits(db: &mut PgConnection, application: &Application) -> Result<Option<Waits>, Error> {
    let Some(sent) = application.state.sent() else { return Ok(None) };
    Ok(Some(store::waits(db, sent.at, application.id).await?))
}

impl Waits {
    /// In a sentence or two.
    pub(super) fn told(&self) -> String {
        let place = match self.before {
            0 => "You are first in the queue.".to_owned(),
            1 => "One application was sent before yours.".to_owned(),
            before => format!("{before} applications were sent before yours."),
        };
        let usual = match self.usual {
            Some((half, most)) => {
                format!("Half of the last decisions came within {}, nine of ten within {}.", when::span(half), when::span(most))
            }
            None => "Too few decisions yet to tell the usual wait.".to_owned(),
        };
        format!("{place} {usual} All models are counted together.")
    }
}
