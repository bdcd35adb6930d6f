//! How often somebody wants to hear of what.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::super::topic::{Pace, Topic};
use crate::clock::Timestamp;
use crate::error::Error;

/// The paces that readers of these addresses have chosen for these topics; none of who has not chosen.
pub async fn chosen(db: &mut PgConnection, asked: &[(&str, Topic)]) -> Result<HashMap<(String, Topic), Pace>, Error> {
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let recipients: Vec<String> = asked.iter().map(|(recipient, _)| (*recipient).to_owned()).collect();
    let topics: Vec<String> = asked.iter().map(|(_, topic)| topic.as_str().to_owned()).collect();
    let rows = sqlx::query!(
        "select recipient, topic, pace from mail_preference where (recipient, topic) in (select * from unnest($1::text[], $2::text[]))",
        &recipients,
        &topics,
    )
    .fetch_all(db)
    .await?;
    let known = |name: &str| Topic::ALL.into_iter().find(|topic| topic.as_str() == name);
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let topic = known(&row.topic)?;
            Some(((row.recipient, topic), Pace::parse(topic, &row.pace).ok()?))
        })
        .collect())
}

/// What the reader of an address hears of each topic.
pub async fn paces(db: &mut PgConnection, recipient: &str) -> Result<Vec<(Topic, Pace)>, Error> {
    let chosen = chosen(db, &Topic::ALL.map(|topic| (recipient, topic))).await?;
    let pace = |topic| chosen.get(&(recipient.to_owned(), topic)).copied().unwrap_or(Pace::Each);
    Ok(Topic::ALL.map(|topic| (topic, pace(topic))).into())
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
