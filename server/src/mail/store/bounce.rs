//! Mails that came back.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::MailId;

/// Notes that a mail came back, and says whom it went to; nothing if we sent none of this id. The first report stands.
pub async fn mark_bounced(db: &mut PgConnection, id: MailId, now: Timestamp, said: &str) -> Result<Option<String>, Error> {
    let recipient = sqlx::query_scalar!(
        "update mail set bounced_at = coalesce(bounced_at, $2), bounce = coalesce(bounce, $3)
         where id = $1 and sent_at is not null
         returning recipient",
        id.uuid(),
        now,
        said,
    )
    .fetch_optional(db)
    .await?;
    Ok(recipient)
}

/// Which of these addresses the newest mail did not reach, because it bounced or was given up.
pub async fn unreachable(db: &mut PgConnection, addresses: &[String]) -> Result<Vec<String>, Error> {
    let found = sqlx::query_scalar!(
        r#"select address as "address!"
         from unnest($1::text[]) as address
         where is_unreachable(address)"#,
        addresses,
    )
    .fetch_all(db)
    .await?;
    Ok(found)
}
