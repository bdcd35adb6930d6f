//! What is kept of a mail that has ended: its words for a while, and for ever that it was written, to whom, about what, and how it ended.

use sqlx::PgPool;
use time::Duration;

use super::{Mailer, store};
use crate::clock::Clock;
use crate::error::Error;

/// For how long the words of a mail are kept that has left, came back or was given up: long enough to look into what somebody says they got.
pub const WORDS_LIFE: Duration = Duration::days(90);

/// Mails seen to in one transaction.
const MAILS_AT_ONCE: i64 = 500;

/// Removes the words of mails that ended more than [`WORDS_LIFE`] ago, with what mail servers said about them. Says of how many.
pub async fn forget_words(db: &PgPool, mailer: &Mailer, clock: &Clock) -> Result<u64, Error> {
    let before = clock.now() - WORDS_LIFE;
    let mut count = 0;
    loop {
        let old = store::with_words(&mut *db.acquire().await?, before, MAILS_AT_ONCE).await?;
        if old.is_empty() {
            return Ok(count);
        }
        // The files first: a row that still has its words is found again.
        mailer.forget(&old).await;
        count += store::remove_words(&mut *db.acquire().await?, &old, before).await?;
    }
}
