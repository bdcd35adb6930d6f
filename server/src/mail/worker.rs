//! Claim, send, mark; back off when it fails. Takes pool, mailer and clock, not the portal.

use sqlx::PgPool;

use super::{Mailer, outbox};
use crate::clock::Clock;
use crate::error::Error;

/// Sends one mail that is due; says whether there was one. Errors are of the database; a mail that fails is noted in its row.
/// No connection is held while the mail server is talked to.
pub async fn send_next(db: &PgPool, mailer: &Mailer, clock: &Clock) -> Result<bool, Error> {
    let Some(mail) = outbox::claim(&mut *db.acquire().await?, clock.now()).await? else {
        return Ok(false);
    };
    let sent = mailer.send(&mail).await;
    let mut connection = db.acquire().await?;
    match sent {
        Ok(()) => outbox::mark_sent(&mut connection, mail.id, clock.now(), !mailer.keeps_mails()).await?,
        Err(failure) => {
            tracing::warn!(mail = %mail.id, attempt = mail.attempts, error = failure.text, "a mail could not be sent");
            outbox::mark_failed(&mut connection, &mail, clock.now(), &failure).await?;
        }
    }
    Ok(true)
}
