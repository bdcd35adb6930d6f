//! What is kept of the mails to one person: for them, or to be forgotten.

use serde_json::Value;
use sqlx::PgConnection;

use crate::error::Error;
use crate::ids::MailId;

/// What is known of the mails to an address, without their words, from behind `after` on, the oldest first.
pub async fn rows_to(db: &mut PgConnection, recipient: &str, after: Option<MailId>, limit: i64) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query_scalar!(
        r#"select to_jsonb(m) - 'body' as "row!" from mail m
         where recipient collate "C" = $1 and ($2::uuid is null or id > $2)
         order by id
         limit $3"#,
        recipient,
        after.map(MailId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Which mails an address has chosen to get, and not to.
pub async fn choice_rows(db: &mut PgConnection, recipient: &str) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query_scalar!(r#"select to_jsonb(p) as "row!" from mail_preference p where recipient = $1 order by topic"#, recipient);
    Ok(rows.fetch_all(db).await?)
}

/// Removes every mail to an address with what it has chosen, and every mail to others that speaks of one of `subjects`, printed ids. Says
/// which mails, because `Mailer::forget` may have them on disk.
pub async fn forget(tx: &mut PgConnection, recipient: &str, subjects: &[String]) -> Result<Vec<MailId>, Error> {
    sqlx::query!("delete from mail_preference where recipient = $1", recipient).execute(&mut *tx).await?;
    sqlx::query!("delete from mail_digest where recipient = $1", recipient).execute(&mut *tx).await?;
    let gone = sqlx::query_scalar!(
        r#"delete from mail
         where recipient collate "C" = $1
            or held_for = any($2)
            or exists (select from unnest($2::text[]) about where strpos(coalesce(body, ''), about) > 0)
         returning id as "id: MailId""#,
        recipient,
        subjects,
    )
    .fetch_all(tx)
    .await?;
    Ok(gone)
}
