//! Claim, send, mark; back off when it fails. Takes pool, mailer and clock, not the portal.

use sqlx::PgPool;

use super::{Mailer, outbox};
use crate::clock::Clock;
use crate::error::Error;

/// Sends everything that is due and returns how many mails left. Errors are of the database; a mail that fails is noted in its row.
pub async fn empty_outbox(db: &PgPool, mailer: &Mailer, clock: &Clock) -> Result<usize, Error> {
    let mut sent = 0;
    loop {
        let mut connection = db.acquire().await?;
        let Some(mail) = outbox::claim(&mut connection, clock.now()).await? else {
            return Ok(sent);
        };
        match mailer.send(&mail).await {
            Ok(()) => {
                outbox::mark_sent(&mut connection, mail.id, clock.now(), !mailer.keeps_mails()).await?;
                sent += 1;
            }
            Err(error) => {
                tracing::warn!(mail = %mail.id, attempt = mail.attempts, error, "a mail could not be sent");
                outbox::mark_failed(&mut connection, &mail, clock.now(), &error).await?;
            }
        }
    }
}
