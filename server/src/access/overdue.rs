//! Telling applicants that the promised time has passed: once for an application, however often and after whatever pause this is run.
//! Reviewers see it in the queue and in their digest.

use super::store;
use crate::accounts;
use crate::catalog;
use crate::error::Error;
use crate::http::when;
use crate::mail::{self, Message};
use crate::portal::Portal;

/// How many are told in one transaction.
const TOLD_AT_ONCE: i64 = 100;

/// Tells those who are due, and says whether more may be left.
pub async fn tell(portal: &Portal) -> Result<bool, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let due = store::claim_overdue(&mut tx, now, TOLD_AT_ONCE).await?;
    for case in &due {
        let model = catalog::find_model_by_id(&mut tx, case.model).await?;
        let applicant = accounts::find_account(&mut tx, case.applicant).await?;
        let message = Message::ApplicationOverdue {
            to: applicant.email.to_string(),
            name: applicant.name,
            model: model.full_name(),
            promised: when::day(case.due_at),
            link: portal.config.url_of(&format!("/applications/{}", case.id)),
        };
        mail::enqueue(&mut tx, now, &message).await?;
    }
    tx.commit().await?;
    Ok(due.len() as i64 == TOLD_AT_ONCE)
}
