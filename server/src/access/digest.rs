//! The reviewer's digest: once a working day, how many applications and renewals wait and which are most urgent. Never an empty one, never two.

use sqlx::PgConnection;
use time::Weekday;

use super::store;
use crate::accounts::{self, Account};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::when;
use crate::mail::{self, Message, Topic, Waiting};
use crate::portal::Portal;

/// Applications named in a digest, the most overdue first; the queue has the others.
const NAMED_MAX: i64 = 10;

/// Writes today's digests that are due and not yet written, and says how many. Restarts and other processes make none twice: a reader's
/// day is claimed in the transaction that writes the mail.
pub async fn send_digests(portal: &Portal) -> Result<u64, Error> {
    let now = portal.clock.now();
    let is_free_day = matches!(now.weekday(), Weekday::Saturday | Weekday::Sunday);
    if is_free_day || now.hour() < portal.config.mail.digest_hour {
        return Ok(0);
    }
    let mut db = portal.db.acquire().await?;
    let readers = mail::readers_without_digest(&mut db, Topic::Reviews, now.date()).await?;
    if readers.is_empty() {
        return Ok(0);
    }
    let reviewers = accounts::reviewers(&mut db).await?;
    drop(db);
    let mut written = 0;
    for reviewer in reviewers.iter().filter(|reviewer| readers.iter().any(|reader| reader == reviewer.email.as_str())) {
        let mut tx = portal.db.begin().await?;
        if mail::begin_digest(&mut tx, reviewer.email.as_str(), now.date()).await?
            && let Some(digest) = digest_of(&mut tx, portal, reviewer, now).await?
        {
            mail::enqueue(&mut tx, now, &digest).await?;
            written += 1;
        }
        tx.commit().await?;
    }
    Ok(written)
}

/// What waits for a reviewer, or nothing if nothing does.
async fn digest_of(db: &mut PgConnection, portal: &Portal, reviewer: &Account, now: Timestamp) -> Result<Option<Message>, Error> {
    let counts = store::count_waiting_for(db, reviewer.id, now).await?;
    if counts.waiting == 0 && counts.renewals == 0 {
        return Ok(None);
    }
    let cases = store::most_urgent_for(db, reviewer.id, NAMED_MAX).await?;
    let models = catalog::find_models(db, &cases.iter().map(|case| case.model).collect::<Vec<_>>()).await?;
    let people = accounts::find_accounts(db, &cases.iter().map(|case| case.applicant).collect::<Vec<_>>()).await?;
    let named = |case: &store::WaitingCase| Waiting {
        model: models.iter().find(|model| model.id == case.model).map(Model::full_name).unwrap_or_default(),
        applicant: people.iter().find(|person| person.id == case.applicant).map(|person| person.name.clone()).unwrap_or_default(),
        length: when::span(now - case.submitted_at),
        is_overdue: case.due_at < now,
        link: portal.config.url_of(&format!("/review/{}", case.id)),
    };
    Ok(Some(Message::ReviewDigest {
        to: reviewer.email.to_string(),
        name: reviewer.name.clone(),
        waiting: counts.waiting,
        overdue: counts.overdue,
        overdue_elsewhere: counts.overdue_elsewhere,
        urgent: cases.iter().map(named).collect(),
        renewals: counts.renewals,
        renewals_link: portal.config.url_of("/review/renewals"),
        link: portal.config.url_of("/review"),
    }))
}
