//! What the database keeps of the rules of access to a model.

use sqlx::PgConnection;

use super::super::policy::Policy;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::ModelId;

/// The rules that somebody has set for `model`, if anybody has, and how often they were set.
pub async fn find_policy(db: &mut PgConnection, model: ModelId) -> Result<Option<(Policy, i64)>, Error> {
    let row = sqlx::query!(
        "select revoke_needs_two, trial_tokens, answer_days, reapply_days, version from access_policy where model_id = $1",
        model.uuid(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        let policy = Policy {
            revoke_needs_two: row.revoke_needs_two,
            trial_tokens: row.trial_tokens,
            answer_days: row.answer_days,
            reapply_days: row.reapply_days,
        };
        (policy, row.version)
    }))
}

/// Sets the rules for `model` in place of those of this version; 0 where nobody has set any. Says whether it did, or there are others now.
pub async fn save_policy(tx: &mut PgConnection, model: ModelId, policy: &Policy, version: i64, now: Timestamp) -> Result<bool, Error> {
    let done = sqlx::query!(
        "insert into access_policy (model_id, revoke_needs_two, trial_tokens, answer_days, reapply_days, changed_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (model_id) do update
         set revoke_needs_two = excluded.revoke_needs_two,
             trial_tokens = excluded.trial_tokens,
             answer_days = excluded.answer_days,
             reapply_days = excluded.reapply_days,
             changed_at = excluded.changed_at,
             version = access_policy.version + 1
         where access_policy.version = $7",
        model.uuid(),
        policy.revoke_needs_two,
        policy.trial_tokens,
        policy.answer_days,
        policy.reapply_days,
        now,
        version,
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
