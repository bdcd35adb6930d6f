//! Who has had the digest of which day.

use sqlx::PgConnection;
use time::Date;

use super::super::topic::Topic;
use crate::error::Error;

/// The addresses whose readers want one mail a day for this topic and have none of this day.
pub async fn readers_without_digest(db: &mut PgConnection, topic: Topic, day: Date) -> Result<Vec<String>, Error> {
    let readers = sqlx::query_scalar!(
        "select recipient from mail_preference p
         where topic = $1 and pace = 'daily'
           and not exists (select 1 from mail_digest d where d.recipient = p.recipient and d.day = $2)
         order by recipient",
        topic.as_str(),
        day,
    )
    .fetch_all(db)
    .await?;
    Ok(readers)
}

/// Claims a reader's digest of a day for this transaction, and says whether it was there to be claimed. Another process at it waits for
/// the end of this transaction, and then finds it done, or does it if this one came to nothing.
pub async fn begin_digest(tx: &mut PgConnection, recipient: &str, day: Date) -> Result<bool, Error> {
    let begun =
        sqlx::query!("insert into mail_digest (recipient, day) values ($1, $2) on conflict do nothing", recipient, day).execute(tx).await?;
    Ok(begun.rows_affected() == 1)
}
