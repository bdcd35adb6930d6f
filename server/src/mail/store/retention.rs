//! The words of mails that have ended.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::MailId;

/// Mails that ended before `before` and still have words: a text, or what a mail server said. Those that ended first come first.
pub async fn with_words(db: &mut PgConnection, before: Timestamp, limit: i64) -> Result<Vec<MailId>, Error> {
    let ids = sqlx::query_scalar!(
        r#"select id as "id: MailId" from mail
         where coalesce(bounced_at, sent_at, gave_up_at) < $1 and (body is not null or last_error is not null or bounce <> '')
         order by coalesce(bounced_at, sent_at, gave_up_at)
         limit $2"#,
        before,
        limit,
    );
    Ok(ids.fetch_all(db).await?)
}

/// Removes the words of these mails, as far as they are still of those. Says of how many. One that was given up and is tried again keeps its words.
pub async fn remove_words(db: &mut PgConnection, ids: &[MailId], before: Timestamp) -> Result<u64, Error> {
    let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let done = sqlx::query!(
        "update mail set body = null, last_error = null, bounce = left(bounce, 0)
         where id = any($1) and coalesce(bounced_at, sent_at, gave_up_at) < $2",
        &ids,
        before,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
