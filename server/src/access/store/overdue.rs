//! Which applications wait for longer than was promised, and whose applicants have been told.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, ModelId};

/// An application whose applicant, and reviewers, are to be told that the answer is late.
pub struct OverdueCase {
    pub id: ApplicationId,
    pub applicant: AccountId,
    pub model: ModelId,
    pub submitted_at: Timestamp,
    pub due_at: Timestamp,
    pub claimed_by: Option<AccountId>,
    pub appeal_against: Option<AccountId>,
}

impl OverdueCase {
    /// Whether it is this reviewer's business: not one's own, nor an appeal against one's own decision, nor what a colleague has claimed.
    pub fn is_for(&self, reviewer: AccountId) -> bool {
        let is_open_to = self.claimed_by.is_none_or(|claimer| claimer == reviewer);
        is_open_to && self.applicant != reviewer && self.appeal_against != Some(reviewer)
    }
}

/// Takes applications that wait for longer than was promised, and notes that their applicants are told, so that nobody else takes them. Those
/// that somebody holds in their hands just now are taken another time.
pub async fn claim_overdue(tx: &mut PgConnection, now: Timestamp, limit: i64) -> Result<Vec<OverdueCase>, Error> {
    let due = sqlx::query_as!(
        OverdueCase,
        r#"update application
         set overdue_told_at = $1
         where id in (
             select id from application
             where state = 'submitted' and due_at < $1 and overdue_told_at is null
             order by due_at, id
             limit $2
             for update skip locked)
         returning id as "id: ApplicationId", account_id as "applicant: AccountId", model_id as "model: ModelId", submitted_at as "submitted_at!",
             due_at as "due_at!", claimed_by as "claimed_by: AccountId", appeal_against as "appeal_against: AccountId""#,
        now,
        limit,
    )
    .fetch_all(tx)
    .await?;
    Ok(due)
}
