//! Taking access back.

use super::grant::{HeldGrant, Standing};
use super::store;
use crate::accounts;
use crate::audit::{self, Event};
use crate::catalog;
use crate::error::{Error, FieldError};
use crate::http::when;
use crate::ids::{AccountId, GrantId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// The longest reason for a grant or its end, in characters.
const REASON_CHARS_MAX: usize = 1_000;

/// Takes access back: it does not hold from the next request on. `by` is nobody for the operator's command.
/// Errors: `Conflict` if it does not hold any more, `Invalid` without a reason.
pub async fn revoke(portal: &Portal, by: Option<AccountId>, id: GrantId, reason: &str) -> Result<HeldGrant, Error> {
    let now = portal.clock.now();
    let reason = parse_reason(reason)?;
    let mut tx = portal.db.begin().await?;
    let held = store::lock_grant(&mut tx, id).await?;
    match held.grant.standing(now) {
        Standing::Holds => {}
        Standing::Expired => {
            let end = when::minute(held.grant.expires_at);
            return Err(Error::Conflict(format!("this access ended by itself on {end}; there is nothing to revoke").into()));
        }
        Standing::Revoked => return Err(Error::Conflict("this access was revoked already".into())),
    }
    store::revoke_grant(&mut tx, id, by, &reason, now).await?;
    audit::record(&mut tx, now, by, &Event::GrantRevoked { grant: id, reason: reason.clone() }).await?;
    let model = catalog::find_model_by_id(&mut tx, held.model).await?;
    let holder = accounts::find_account(&mut tx, held.account).await?;
    let message = Message::AccessRevoked {
        to: holder.email.to_string(),
        name: holder.name,
        model: model.full_name(),
        reason,
        link: portal.config.url_of("/applications"),
    };
    mail::enqueue(&mut tx, now, &message).await?;
    tx.commit().await?;
    Ok(held)
}

/// A reason is a line or two that its reader can act on.
pub(super) fn parse_reason(raw: &str) -> Result<String, FieldError> {
    let reason = raw.split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, "");
    match reason.chars().count() {
        0 => Err(FieldError::new("reason", "say why; it is kept on record and shown to the person")),
        chars if chars > REASON_CHARS_MAX => {
            Err(FieldError::new("reason", format!("has {chars} characters; at most {REASON_CHARS_MAX} fit")))
        }
        _ => Ok(reason),
    }
}
