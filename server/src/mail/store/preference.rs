//! How often somebody wants to hear of what.

use sqlx::PgConnection;

use super::super::topic::{Pace, Topic};
use crate::clock::Timestamp;
use crate::error::Error;

/// The pace that the reader of an address has chosen.
pub async fn pace(db: &mut PgConnection, recipient: &str, topic: Topic) -> Result<Pace, Error> {
    let chosen = sqlx::query_scalar!("select pace from mail_preference where recipient = $1 and topic = $2", recipient, topic.as_str())
        .fetch_optional(db)
        .await?;
    Ok(chosen.and_then(|name| Pace::parse(topic, &name).ok()).unwrap_or(Pace::Each))
}

/// The same for every topic.
pub async fn paces(db: &mut PgConnection, recipient: &str) -> Result<Vec<(Topic, Pace)>, Error> {
    let mut paces = Vec::new();
    for topic in Topic::ALL {
        paces.push((topic, pace(db, recipient, topic).await?));
    }
    Ok(paces)
}

/// Notes a choice.
pub async fn set_pace(tx: &mut PgConnection, recipient: &str, topic: Topic, pace: Pace, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into mail_preference (recipient, topic, pace, changed_at) values ($1, $2, $3, $4)
         on conflict (recipient, topic) do update set pace = excluded.pace, changed_at = excluded.changed_at",
        recipient,
        topic.as_str(),
        pace.as_str(),
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}
