//! What waits for a reviewer who does not look at the queue: what they have claimed, and what nobody has. One's own applications, and appeals
//! against one's own decisions, are others' to decide.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, ModelId};

/// An application that waits.
pub struct WaitingCase {
    pub id: ApplicationId,
    pub applicant: AccountId,
    pub model: ModelId,
    pub submitted_at: Timestamp,
}

/// How many applications wait for this reviewer, and how many of them for longer than was promised.
pub async fn count_waiting_for(db: &mut PgConnection, reviewer: AccountId, now: Timestamp) -> Result<(i64, i64), Error> {
    let row = sqlx::query!(
        r#"select count(*) as "waiting!", count(*) filter (where due_at < $2) as "overdue!"
         from application
         where state = 'submitted' and account_id <> $1 and (claimed_by is null or claimed_by = $1) and appeal_against is distinct from $1"#,
        reviewer.uuid(),
        now,
    )
    .fetch_one(db)
    .await?;
    Ok((row.waiting, row.overdue))
}

/// Those that wait longest, the longest first.
pub async fn longest_waiting_for(db: &mut PgConnection, reviewer: AccountId, limit: i64) -> Result<Vec<WaitingCase>, Error> {
    let cases = sqlx::query_as!(
        WaitingCase,
        r#"select id as "id: ApplicationId", account_id as "applicant: AccountId", model_id as "model: ModelId", submitted_at as "submitted_at!"
         from application
         where state = 'submitted' and account_id <> $1 and (claimed_by is null or claimed_by = $1) and appeal_against is distinct from $1
         order by submitted_at, id
         limit $2"#,
        reviewer.uuid(),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(cases)
}
