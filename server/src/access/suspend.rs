//! Stopping a grant for the time being, and letting it go on: one reviewer does either.

use super::grant::{HeldGrant, Note};
use super::revoke::{access_reinstated, access_suspended, at_the_grant, holder_and_model, let_decision_go, lock_of_another, parse_reason};
use super::store;
use crate::accounts::Reviewer;
use crate::audit::{self, Event};
use crate::error::Error;
use crate::ids::GrantId;
use crate::mail;
use crate::portal::Portal;

/// Suspends a grant: it does not hold from the next request on. Errors: `Conflict` if it is suspended or over, `Invalid` without a reason,
/// `Forbidden` for one's own.
pub async fn suspend(portal: &Portal, by: &Reviewer, id: GrantId, reason: &str) -> Result<HeldGrant, Error> {
    let now = portal.clock.now();
    let reason = parse_reason(reason)?;
    let mut tx = portal.db.begin().await?;
    let mut held = lock_of_another(&mut tx, id, by).await?;
    held.grant = held.grant.suspend(Note { at: now, by: Some(by.0.id), reason: reason.clone() }, now).map_err(at_the_grant(id))?;
    store::save_grant(&mut tx, &held.grant, None).await?;
    let_decision_go(&mut tx, &held, now).await?;
    audit::record(&mut tx, now, Some(by.0.id), &Event::GrantSuspended { grant: id, reason: reason.clone() }).await?;
    let (holder, model) = holder_and_model(&mut tx, &held).await?;
    mail::enqueue(&mut tx, now, &access_suspended(portal, &holder, &model, id, reason)).await?;
    tx.commit().await?;
    Ok(held)
}

/// Lets a suspended grant go on. Errors: `Conflict` if it is not suspended or over, `Forbidden` for one's own.
pub async fn reinstate(portal: &Portal, by: &Reviewer, id: GrantId) -> Result<HeldGrant, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let mut held = lock_of_another(&mut tx, id, by).await?;
    held.grant = held.grant.reinstate(now).map_err(at_the_grant(id))?;
    store::save_grant(&mut tx, &held.grant, None).await?;
    audit::record(&mut tx, now, Some(by.0.id), &Event::GrantReinstated { grant: id }).await?;
    if held.grant.proposed.is_none() {
        let (holder, model) = holder_and_model(&mut tx, &held).await?;
        mail::enqueue(&mut tx, now, &access_reinstated(portal, &holder, &model, id)).await?;
    }
    tx.commit().await?;
    Ok(held)
}
