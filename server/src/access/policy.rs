//! What the owner of a gated model asks of access to it.

use sqlx::PgConnection;
use time::Duration;

use super::store;
use crate::accounts::Admin;
use crate::audit::{self, Event};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::table::thousands;
use crate::ids::ModelId;
use crate::portal::Portal;

/// The most tokens somebody may have of a model while their application waits.
pub const TRIAL_TOKENS_MAX: i32 = 1_000_000;
/// The longest time within which an answer may be promised, in days.
pub const ANSWER_DAYS_MAX: i32 = 90;
/// The longest time that somebody who was declined may be asked to wait, in days.
pub const REAPPLY_DAYS_MAX: i32 = 365;
/// How long revoking goes on taking two people after that rule was lifted, so that nobody lifts it to revoke alone.
pub const TWO_AFTER_LIFTED: Duration = Duration::days(7);

/// The rules of access to one model. A model that nobody has set any for has the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether revoking takes two people: one proposes, another confirms.
    pub revoke_needs_two: bool,
    /// How many tokens an applicant may have in the playground while the application waits; 0 for none.
    pub trial_tokens: i32,
    /// Within how many days applicants are promised an answer.
    pub answer_days: i32,
    /// How many days after a decline the same person may apply again.
    pub reapply_days: i32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { revoke_needs_two: false, trial_tokens: 0, answer_days: 7, reapply_days: 14 }
    }
}

impl Policy {
    /// How soon an answer is promised.
    pub fn promise(&self) -> Duration {
        Duration::days(self.answer_days.into())
    }

    /// The rules as somebody typed them. Errors: every number that is none, or too large.
    pub fn parse(revoke_needs_two: bool, trial_tokens: &str, answer_days: &str, reapply_days: &str) -> Result<Self, Vec<FieldError>> {
        let mut faults = Vec::new();
        let mut number = |field: &'static str, typed: &str, least: i32, most: i32| {
            let number = typed.trim().parse().ok().filter(|number| (least..=most).contains(number));
            if number.is_none() {
                faults.push(FieldError::new(field, format!("enter a whole number from {least} to {}", thousands(most.into()))));
            }
            number.unwrap_or_default()
        };
        let policy = Self {
            revoke_needs_two,
            trial_tokens: number("trial_tokens", trial_tokens, 0, TRIAL_TOKENS_MAX),
            answer_days: number("answer_days", answer_days, 1, ANSWER_DAYS_MAX),
            reapply_days: number("reapply_days", reapply_days, 0, REAPPLY_DAYS_MAX),
        };
        if faults.is_empty() { Ok(policy) } else { Err(faults) }
    }
}

/// How long after a decline the same person waits before they apply again, by what somebody has set, if anybody has.
pub(super) fn cool_down(reapply_days: Option<i32>) -> Duration {
    Duration::days(reapply_days.unwrap_or(Policy::default().reapply_days).into())
}

/// The rules of access to a model, and what those before them still ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// What was set last.
    pub policy: Policy,
    /// How often somebody has set them.
    pub version: i64,
    /// Until when revoking takes two people although the rule was lifted.
    pub two_until: Option<Timestamp>,
}

impl Rules {
    /// Whether revoking takes two people now.
    pub fn revoking_takes_two(&self, now: Timestamp) -> bool {
        self.policy.revoke_needs_two || self.still_two(now).is_some()
    }

    /// Until when it does, where the rule was lifted not long ago.
    pub fn still_two(&self, now: Timestamp) -> Option<Timestamp> {
        self.two_until.filter(|until| !self.policy.revoke_needs_two && now < *until)
    }
}

/// The rules of access to `model`.
pub async fn of(db: &mut PgConnection, model: ModelId) -> Result<Rules, Error> {
    Ok(store::find_rules(db, model).await?.unwrap_or_default())
}

/// Sets the rules; they hold from the next request on, but revoking takes two people for [`TWO_AFTER_LIFTED`] more. `seen`: the version
/// that whoever sets them saw. Says whether that was a change.
/// Errors: `NotFound` for an unknown model, `Stale` if somebody has set others meanwhile.
pub async fn set(portal: &Portal, by: &Admin, model: ModelId, policy: Policy, seen: Option<i64>) -> Result<bool, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    catalog::find_model_by_id(&mut tx, model).await?;
    let stale = || {
        let told = "somebody has changed the rules since you looked; check them, then save yours";
        Error::Stale(told.into()).mended_by(format!("/admin/models/{model}"), "Look at the rules again")
    };
    let before = of(&mut tx, model).await?;
    if seen.is_some_and(|seen| seen != before.version) {
        return Err(stale());
    }
    let changed = before.policy != policy;
    if changed {
        let lifted = before.policy.revoke_needs_two && !policy.revoke_needs_two;
        let two_until = if lifted { Some(now + TWO_AFTER_LIFTED) } else { before.two_until };
        if !store::save_rules(&mut tx, model, &Rules { policy, two_until, ..before }, now).await? {
            return Err(stale());
        }
        let event = Event::PolicyChanged {
            model,
            revoke_needs_two: policy.revoke_needs_two,
            trial_tokens: policy.trial_tokens,
            answer_days: policy.answer_days,
            reapply_days: policy.reapply_days,
        };
        audit::record(&mut tx, now, Some(by.0.id), &event).await?;
    }
    tx.commit().await?;
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_a_policy_or_every_number_that_is_wrong_is_named() {
        let policy = Policy::parse(true, " 500", "10", "0").expect("all of it is in range");
        assert_eq!(policy, Policy { revoke_needs_two: true, trial_tokens: 500, answer_days: 10, reapply_days: 0 });
        let faults = Policy::parse(false, "-1", "0", "a year").expect_err("none of it is");
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_ref()).collect();
        assert_eq!(fields, ["trial_tokens", "answer_days", "reapply_days"]);
    }
}
