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
    pub due_at: Timestamp,
}

/// How much waits for a reviewer.
pub struct WaitingCounts {
    /// How many applications.
    pub waiting: i64,
    /// How many of these for longer than was promised.
    pub overdue: i64,
    /// How many others that a colleague sees to wait for longer than was promised.
    pub overdue_elsewhere: i64,
    /// How many requests to renew access wait, for whichever reviewer.
    pub renewals: i64,
}

/// How much waits for this reviewer.
pub async fn count_waiting_for(db: &mut PgConnection, reviewer: AccountId, now: Timestamp) -> Result<WaitingCounts, Error> {
    let counts = sqlx::query_as!(
        WaitingCounts,
        r#"select count(*) filter (where is_theirs) as "waiting!",
                count(*) filter (where is_theirs and due_at < $2) as "overdue!",
                count(*) filter (where not is_theirs and due_at < $2) as "overdue_elsewhere!",
                (select count(*) from renewal r join access_grant g on g.id = r.grant_id
                 where r.state = 'open' and g.account_id <> $1) as "renewals!"
         from (
             select due_at, claimed_by is null or claimed_by = $1 as is_theirs
             from application
             where state = 'submitted' and account_id <> $1 and appeal_against is distinct from $1) waiting"#,
        reviewer.uuid(),
        now,
    )
    .fetch_one(db)
    .await?;
    Ok(counts)
}

/// Those whose promised time is nearest or longest past, in that order.
pub async fn most_urgent_for(db: &mut PgConnection, reviewer: AccountId, limit: i64) -> Result<Vec<WaitingCase>, Error> {
    let cases = sqlx::query_as!(
        WaitingCase,
        r#"select id as "id: ApplicationId", account_id as "applicant: AccountId", model_id as "model: ModelId", submitted_at as "submitted_at!",
                due_at as "due_at!"
         from application
         where state = 'submitted' and account_id <> $1 and (claimed_by is null or claimed_by = $1) and appeal_against is distinct from $1
         order by due_at, id
         limit $2"#,
        reviewer.uuid(),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(cases)
}
