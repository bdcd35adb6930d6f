//! What the database keeps of the rules of access to a model.

use sqlx::PgConnection;

use super::super::policy::Policy;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::ModelId;

/// The rules that somebody has set for `model`, if anybody has.
pub async fn find_policy(db: &mut PgConnection, model: ModelId) -> Result<Option<Policy>, Error> {
    let policy = sqlx::query_as!(
        Policy,
        "select revoke_needs_two, trial_tokens, answer_days, reapply_days from access_policy where model_id = $1",
        model.uuid(),
    )
    .fetch_optional(db)
    .await?;
    Ok(policy)
}

/// Sets the rules for `model`.
pub async fn save_policy(tx: &mut PgConnection, model: ModelId, policy: &Policy, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into access_policy (model_id, revoke_needs_two, trial_tokens, answer_days, reapply_days, changed_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (model_id) do update
         set revoke_needs_two = excluded.revoke_needs_two,
             trial_tokens = excluded.trial_tokens,
             answer_days = excluded.answer_days,
             reapply_days = excluded.reapply_days,
             changed_at = excluded.changed_at",
        model.uuid(),
        policy.revoke_needs_two,
        policy.trial_tokens,
        policy.answer_days,
        policy.reapply_days,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}
