//! Claim, send, mark; back off when it fails. Takes pool, mailer and clock, not the portal.

use sqlx::PgPool;

use super::client::FailureKind;
use super::{Mailer, Message, outbox};
use crate::clock::Clock;
use crate::error::Error;

/// So many mails are sent at once: enough that a slow one holds up few, little enough for servers that count their clients.
pub const SENDERS: usize = 4;

/// Sends what is due, until nothing is, the server cannot be used, or `is_told` says to stop.
pub async fn empty(db: &PgPool, mailer: &Mailer, clock: &Clock, is_told: impl Fn() -> bool) -> Result<(), Error> {
    while !is_told() && !mailer.rests(clock.now()) && send_next(db, mailer, clock).await? {}
    Ok(())
}

/// Sends one mail that is due; says whether there was one. Errors are of the database; a mail that fails is noted in its row.
/// No connection is held while the mail server is talked to.
pub async fn send_next(db: &PgPool, mailer: &Mailer, clock: &Clock) -> Result<bool, Error> {
    let Some(mail) = outbox::claim(&mut *db.acquire().await?, clock.now()).await? else {
        return Ok(false);
    };
    let sent = mailer.send(&mail, clock.now()).await;
    let mut tx = db.begin().await?;
    outbox::wait_for_locks(&mut tx).await?;
    match sent {
        Ok(()) => {
            let forget_body = !mailer.keeps_mails() && Message::carries_link(&mail.kind);
            outbox::mark_sent(&mut tx, mail.id, clock.now(), forget_body).await?;
        }
        Err(failure) => {
            let (id, attempt, error) = (mail.id, mail.attempts, &failure.text);
            match failure.kind {
                FailureKind::Away => tracing::error!(mail = %id, attempt, error, "the mail server cannot be used"),
                FailureKind::NotNow => tracing::warn!(mail = %id, attempt, error, "a mail is not taken now"),
                FailureKind::Refused => tracing::warn!(mail = %id, attempt, error, "a mail is refused and given up"),
            }
            outbox::mark_failed(&mut tx, &mail, clock.now(), &failure).await?;
        }
    }
    tx.commit().await?;
    Ok(true)
}
