//! The steps by which a grant comes into being, whether an application led to it or an operator gave it.

use sqlx::PgConnection;

use super::grant::{Grant, Standing};
use super::scope::GrantScope;
use super::store::{self, GrantOrigin};
use crate::accounts;
use crate::audit::{self, Event};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::when;
use crate::ids::AccountId;
use crate::mail::{GrantedBy, Message};
use crate::portal::Portal;

/// Closes a grant of before that has expired, so that a new one can follow. Errors: `Conflict` if it still holds.
pub(super) async fn make_room(tx: &mut PgConnection, account: AccountId, model: &catalog::Model, now: Timestamp) -> Result<(), Error> {
    let Some(held) = store::lock_unrevoked(tx, account, model.id).await? else {
        return Ok(());
    };
    match held.grant.standing(now) {
        standing @ (Standing::Holds | Standing::Suspended | Standing::Blocked | Standing::ConsentNeeded) => {
            let until = when::day(held.grant.expires_at);
            let stopped = if standing == Standing::Holds { "" } else { ", stopped just now" };
            let told = format!("this person has access to {} until {until} already{stopped}; nothing was changed", model.full_name());
            Err(Error::Conflict(told.into()).mended_by(format!("/admin/grants/{}", held.grant.id), "See their access"))
        }
        Standing::Expired | Standing::Closed | Standing::Revoked => {
            store::revoke_grant(tx, held.grant.id, None, "expired; another grant followed", now).await?;
            audit::record(tx, now, None, &Event::GrantReplaced { grant: held.grant.id }).await
        }
    }
}

/// The record of a new grant.
pub(super) fn grant_made(grant: &Grant, origin: &GrantOrigin<'_>) -> Event {
    Event::GrantMade {
        grant: grant.id,
        account: origin.account,
        model: origin.model,
        scopes: grant.scopes.iter().map(|scope| scope.as_str()).collect(),
        days: (grant.expires_at - grant.granted_at).whole_days(),
        reason: origin.reason.to_owned(),
    }
}

/// The mail about a new grant.
pub(super) fn access_granted(
    portal: &Portal,
    holder: &accounts::Account,
    model: &catalog::Model,
    grant: &Grant,
    origin: GrantedBy,
) -> Message {
    Message::AccessGranted {
        to: holder.email.to_string(),
        name: holder.name.clone(),
        model: model.full_name(),
        until: when::day(grant.expires_at),
        may: GrantScope::mean(&grant.scopes),
        origin,
        agree_by: grant.consent_due_at.map(when::minute),
        link: portal.config.url_of(&model.path()),
    }
}
