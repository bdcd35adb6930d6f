//! Grants given without an application: what an operator needs at night, or a reviewer's program, on the record like every decision.

use sqlx::PgConnection;
use time::Duration;

use super::application::own_application;
use super::block;
use super::grant::Grant;
use super::issue::{access_granted, grant_made, make_room};
use super::revoke::{Revoked, parse_reason, revoke};
use super::scope::GrantScope;
use super::store::{self, GrantOrigin};
use crate::accounts::{self, Account, Role};
use crate::audit;
use crate::catalog::Model;
use crate::error::{Error, FieldError};
use crate::ids::{AccountId, GrantId};
use crate::mail::{self, GrantedBy};
use crate::portal::Portal;

/// Gives `account` access to `model` for so many days, for every use. `by` is nobody for the operator's command. Errors: `Conflict` if it
/// has access, is blocked, or has an application that a reviewer can decide on, `Invalid` for days or reason, `Forbidden` to oneself.
pub async fn give(
    portal: &Portal,
    by: Option<AccountId>,
    account: &Account,
    model: &Model,
    reason: &str,
    days: u16,
) -> Result<Grant, Error> {
    give_for(portal, by, account, model, &Gift { scopes: &GrantScope::ALL, reason, days }).await
}

/// What is given without an application.
#[derive(Debug, Clone, Copy)]
pub struct Gift<'a> {
    /// For which uses.
    pub scopes: &'a [GrantScope],
    /// Why.
    pub reason: &'a str,
    /// For so many days.
    pub days: u16,
}

/// The same for some uses alone. Errors: as for [`give`].
pub async fn give_for(portal: &Portal, by: Option<AccountId>, account: &Account, model: &Model, gift: &Gift<'_>) -> Result<Grant, Error> {
    let now = portal.clock.now();
    if by == Some(account.id) {
        return Err(Error::Forbidden(own_application()));
    }
    let reason = parse_reason(gift.reason)?;
    let grant = Grant::new(GrantId::fresh(), now, now + Duration::days(gift.days.into()))
        .map_err(|_| FieldError::new("days", "is a number from 1 to 366"))?
        .for_scopes(gift.scopes)?;
    let mut tx = portal.db.begin().await?;
    block::refuse_gift(&mut tx, account, model, now).await?;
    // What waits is decided on, under the rules for that: an appeal, for one, is another's. Nothing waits beside access.
    if let Some(open) = store::lock_open(&mut tx, account.id, model.id).await?
        && open.state.sent().is_some()
    {
        let told = format!("{} has an application for {} that waits; decide on it at /review/{}", account.name, model.full_name(), open.id);
        return Err(Error::Conflict(told.into()));
    }
    make_room(&mut tx, account.id, model, now).await?;
    let origin = GrantOrigin { account: account.id, model: model.id, application: None, by, reason: &reason };
    store::insert_grant(&mut tx, &grant, &origin).await?;
    audit::record(&mut tx, now, by, &grant_made(&grant, &origin)).await?;
    let giver = GrantedBy::Gift(giver(&mut tx, by).await?);
    mail::enqueue(&mut tx, now, &access_granted(portal, account, model, &grant, giver)).await?;
    tx.commit().await?;
    Ok(grant)
}

/// Who gives, as their role says it: reviewers do not sign with their names.
async fn giver(tx: &mut PgConnection, by: Option<AccountId>) -> Result<&'static str, Error> {
    let Some(by) = by else { return Ok("The operator of this portal") };
    Ok(match accounts::find_account(tx, by).await?.role {
        Role::Reviewer => "A reviewer",
        Role::Admin => "An admin of this portal",
        Role::Researcher => "This portal",
    })
}

/// Takes back the access of `account` to `model`, however it was given, or proposes to where that needs two. Errors: `NotFound` if there is
/// none that holds, `Conflict` if that was proposed already.
pub async fn take_back(portal: &Portal, account: &Account, model: &Model, reason: &str) -> Result<Revoked, Error> {
    let mut db = portal.db.acquire().await?;
    let (grant, _) = store::standing(&mut db, account.id, model.id).await?;
    drop(db);
    let holding = grant.filter(|grant| grant.standing(portal.clock.now()).is_running());
    revoke(portal, None, holding.ok_or(Error::NotFound("grant"))?.id, reason).await
}
