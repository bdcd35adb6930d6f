//! Giving access back: its holder attests that nothing of the model is left with them.

use super::grant::HeldGrant;
use super::revoke::{holder_and_model, let_decision_go};
use super::store;
use crate::audit::{self, Event};
use crate::error::{Error, FieldError};
use crate::ids::{AccountId, GrantId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// What is attested, in the words that are ticked.
pub const DELETED: &str = "I have deleted every copy of the weights that I held, and no longer use the model.";

/// Closes a grant for its holder; it does not hold from the next request on. `attested`: whether the box was ticked.
/// Errors: `NotFound` for anybody else's, `Conflict` if it is over or stopped, `Invalid` without the attestation.
pub async fn close(portal: &Portal, holder: AccountId, id: GrantId, attested: bool) -> Result<HeldGrant, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let mut held = store::lock_grant(&mut tx, id).await?;
    if held.account != holder {
        return Err(Error::NotFound("grant"));
    }
    if !attested {
        return Err(FieldError::new("deleted", "tick this: access can be closed once you have deleted every copy").into());
    }
    held.grant = held.grant.close(now, DELETED.into()).map_err(|refused| refused.mended_by(format!("/grants/{id}"), "See your access"))?;
    store::save_grant(&mut tx, &held.grant, Some(holder)).await?;
    let_decision_go(&mut tx, &held, now).await?;
    audit::record(&mut tx, now, Some(holder), &Event::GrantClosed { grant: id, attestation: DELETED }).await?;
    let (holder, model) = holder_and_model(&mut tx, &held).await?;
    let message = Message::AccessClosed {
        to: holder.email.to_string(),
        name: holder.name,
        model: model.full_name(),
        attestation: DELETED,
        link: portal.config.url_of(&format!("/grants/{id}")),
    };
    mail::enqueue(&mut tx, now, &message).await?;
    tx.commit().await?;
    Ok(held)
}
