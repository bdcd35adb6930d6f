//! Telling applicants that the promised time has passed, and the reviewers who get a mail for each: whoever has claimed it, or all of them
//! while nobody has. Once for an application, however often and after whatever pause this is run; a reviewer has one mail for all that has
//! become overdue since. The others see it in the queue and in their digest.

use super::store;
use crate::accounts;
use crate::catalog;
use crate::error::Error;
use crate::http::when;
use crate::mail::{self, Message, Waiting};
use crate::portal::Portal;

/// How many are told in one transaction.
const TOLD_AT_ONCE: i64 = 100;

/// Tells those who are due, and says whether more may be left.
pub async fn tell(portal: &Portal) -> Result<bool, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let due = store::claim_overdue(&mut tx, now, TOLD_AT_ONCE).await?;
    let mut waiting = Vec::new();
    for case in &due {
        let model = catalog::find_model_by_id(&mut tx, case.model).await?;
        let applicant = accounts::find_account(&mut tx, case.applicant).await?;
        let message = Message::ApplicationOverdue {
            to: applicant.email.to_string(),
            name: applicant.name.clone(),
            model: model.full_name(),
            promised: when::day(case.due_at),
            link: portal.config.url_of(&format!("/applications/{}", case.id)),
        };
        mail::enqueue(&mut tx, now, &message).await?;
        waiting.push(Waiting {
            model: model.full_name(),
            applicant: applicant.name,
            length: when::span(now - case.submitted_at),
            is_overdue: true,
            link: portal.config.url_of(&format!("/review/{}", case.id)),
        });
    }
    let reviewers = if due.is_empty() { vec![] } else { accounts::reviewers(&mut tx).await? };
    for reviewer in reviewers {
        let theirs = due.iter().zip(&waiting).filter(|(case, _)| case.is_for(reviewer.id)).map(|(_, waiting)| waiting.clone());
        let cases: Vec<Waiting> = theirs.collect();
        if cases.is_empty() {
            continue;
        }
        let message = Message::ReviewsOverdue {
            to: reviewer.email.to_string(),
            name: reviewer.name,
            cases,
            link: portal.config.url_of("/review?view=overdue"),
        };
        mail::enqueue(&mut tx, now, &message).await?;
    }
    tx.commit().await?;
    Ok(due.len() as i64 == TOLD_AT_ONCE)
}
