//! Mails that came back.

use sqlx::PgConnection;

use crate::error::Error;

/// Which of these addresses the newest mail did not reach, because it bounced or was given up.
pub async fn unreachable(db: &mut PgConnection, addresses: &[String]) -> Result<Vec<String>, Error> {
    let found = sqlx::query_scalar!(
        r#"select address as "address!"
         from unnest($1::text[]) as address
         where (select state from mail where recipient collate "C" = address and state <> 'waiting' order by id desc limit 1)
             in ('bounced', 'given_up')"#,
        addresses,
    )
    .fetch_all(db)
    .await?;
    Ok(found)
}
