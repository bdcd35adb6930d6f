//! What the database keeps of the rules of access to a model.

use sqlx::PgConnection;

use super::super::policy::{Policy, Rules};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::ModelId;

/// The rules that somebody has set for `model`, if anybody has.
pub async fn find_rules(db: &mut PgConnection, model: ModelId) -> Result<Option<Rules>, Error> {
    let row = sqlx::query!(
        "select revoke_needs_two, trial_tokens, answer_days, reapply_days, version, two_until from access_policy where model_id = $1",
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
        Rules { policy, version: row.version, two_until: row.two_until }
    }))
}

/// Sets the rules for `model` in place of those of this version; 0 where nobody has set any. Says whether it did, or there are others now.
pub async fn save_rules(tx: &mut PgConnection, model: ModelId, rules: &Rules, now: Timestamp) -> Result<bool, Error> {
    let Rules { policy, version, two_until } = rules;
    let done = sqlx::query!(
        "insert into access_policy (model_id, revoke_needs_two, trial_tokens, answer_days, reapply_days, changed_at, two_until)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (model_id) do update
         set revoke_needs_two = excluded.revoke_needs_two,
             trial_tokens = excluded.trial_tokens,
             answer_days = excluded.answer_days,
             reapply_days = excluded.reapply_days,
             changed_at = excluded.changed_at,
             two_until = excluded.two_until,
             version = access_policy.version + 1
         where access_policy.version = $8",
        model.uuid(),
        policy.revoke_needs_two,
        policy.trial_tokens,
        policy.answer_days,
        policy.reapply_days,
        now,
        *two_until,
        version,
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
