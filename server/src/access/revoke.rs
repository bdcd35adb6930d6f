//! Taking access back: at once, or for models so marked by two people, of whom the first proposes and the second answers.

use sqlx::PgConnection;

use super::application::own_application;
use super::check::too_long;
use super::grant::{HeldGrant, Note};
use super::{policy, store};
use crate::accounts::{self, Account, Reviewer};
use crate::audit::{self, Event};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::ids::{AccountId, GrantId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// The longest reason for a grant or its end, in characters.
const REASON_CHARS_MAX: usize = 1_000;

/// What became of a grant that somebody wanted to revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// It does not hold any more.
    Done(HeldGrant),
    /// It is suspended, until another person confirms or rejects.
    Proposed(HeldGrant),
}

impl Revoked {
    /// What is said to whoever wanted it.
    pub fn told(&self) -> &'static str {
        match self {
            Revoked::Done(_) => "Revoked. Access is no longer valid anywhere, and its holder gets a mail.",
            Revoked::Proposed(_) => {
                "Suspended, and proposed to be revoked. Access is no longer valid anywhere; another reviewer gets a mail, and confirms or rejects."
            }
        }
    }
}

/// Takes access back, or proposes to where that needs two: either way it does not hold from the next request on. `by` is nobody for the
/// operator's command, which is one person like any other. Errors: `Conflict` if it is over or was proposed, `Invalid` without a reason,
/// `Forbidden` for one's own.
pub async fn revoke(portal: &Portal, by: Option<AccountId>, id: GrantId, reason: &str) -> Result<Revoked, Error> {
    let now = portal.clock.now();
    let reason = parse_reason(reason)?;
    let mut tx = portal.db.begin().await?;
    let mut held = store::lock_grant(&mut tx, id).await?;
    if by == Some(held.account) {
        return Err(own_application().into());
    }
    // What was proposed takes two, whatever the rule has become meanwhile.
    let needs_two = held.grant.proposed.is_some() || policy::of(&mut tx, held.model).await?.revoking_takes_two(now);
    let revoked = if needs_two {
        let was_suspended = held.grant.suspended.is_some();
        held.grant = held.grant.propose_revocation(Note { at: now, by, reason: reason.clone() }, now).map_err(at_the_grant(id))?;
        store::save_grant(&mut tx, &held.grant, None).await?;
        let_decision_go(&mut tx, &held, now).await?;
        audit::record(&mut tx, now, by, &Event::RevocationProposed { grant: id, reason: reason.clone() }).await?;
        let (holder, model) = holder_and_model(&mut tx, &held).await?;
        ask_the_others(&mut tx, portal, &held, by, (&holder, &model), &reason, now).await?;
        if !was_suspended {
            mail::enqueue(&mut tx, now, &access_suspended(portal, &holder, &model, id, reason)).await?;
        }
        Revoked::Proposed(held)
    } else {
        held.grant = held.grant.revoke(now, reason).map_err(at_the_grant(id))?;
        end(&mut tx, portal, &held, by, now).await?;
        Revoked::Done(held)
    };
    tx.commit().await?;
    Ok(revoked)
}

/// Agrees to a proposal: the grant is revoked. Errors: `Conflict` if there is none, `Forbidden` for whoever proposed it or holds it.
pub async fn confirm_revocation(portal: &Portal, by: &Reviewer, id: GrantId) -> Result<HeldGrant, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let mut held = lock_of_another(&mut tx, id, by).await?;
    held.grant = held.grant.confirm_revocation(by.0.id, now).map_err(at_the_grant(id))?;
    end(&mut tx, portal, &held, Some(by.0.id), now).await?;
    tx.commit().await?;
    Ok(held)
}

/// Does not agree: the grant goes on, unless it was suspended besides. Errors: as for confirming.
pub async fn reject_revocation(portal: &Portal, by: &Reviewer, id: GrantId) -> Result<HeldGrant, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let mut held = lock_of_another(&mut tx, id, by).await?;
    held.grant = held.grant.reject_revocation(by.0.id, now).map_err(at_the_grant(id))?;
    store::save_grant(&mut tx, &held.grant, None).await?;
    audit::record(&mut tx, now, Some(by.0.id), &Event::RevocationRejected { grant: id }).await?;
    if held.grant.suspended.is_none() {
        let (holder, model) = holder_and_model(&mut tx, &held).await?;
        mail::enqueue(&mut tx, now, &access_reinstated(portal, &holder, &model, id)).await?;
    }
    tx.commit().await?;
    Ok(held)
}

/// The end of a grant that was taken back: kept, recorded, told.
async fn end(tx: &mut PgConnection, portal: &Portal, held: &HeldGrant, by: Option<AccountId>, now: Timestamp) -> Result<(), Error> {
    let reason = held.grant.end_reason().to_owned();
    store::save_grant(tx, &held.grant, by).await?;
    let_decision_go(tx, held, now).await?;
    audit::record(tx, now, by, &Event::GrantRevoked { grant: held.grant.id, reason: reason.clone() }).await?;
    let (holder, model) = holder_and_model(tx, held).await?;
    let message = Message::AccessRevoked {
        to: holder.email.to_string(),
        name: holder.name,
        model: model.full_name(),
        reason,
        link: portal.config.url_of(&format!("/grants/{}", held.grant.id)),
    };
    mail::enqueue(tx, now, &message).await
}

/// A mail to everybody who may answer a proposal.
async fn ask_the_others(
    tx: &mut PgConnection,
    portal: &Portal,
    held: &HeldGrant,
    by: Option<AccountId>,
    (holder, model): (&Account, &Model),
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let proposer = match by {
        Some(by) => accounts::find_account(tx, by).await?.name,
        None => "The operator".into(),
    };
    let others = accounts::reviewers(tx).await?.into_iter().filter(|other| Some(other.id) != by && other.id != held.account);
    let messages: Vec<Message> = others
        .map(|other| Message::RevocationToConfirm {
            to: other.email.to_string(),
            name: other.name,
            by: proposer.clone(),
            holder: holder.name.clone(),
            model: model.full_name(),
            reason: reason.to_owned(),
            link: portal.config.url_of(&format!("/admin/grants/{}", held.grant.id)),
        })
        .collect();
    mail::enqueue_all(tx, now, &messages).await
}

/// Whoever is refused at a grant looks at it as it is now.
pub(super) fn at_the_grant(id: GrantId) -> impl Fn(Error) -> Error {
    move |refused| refused.mended_by(format!("/admin/grants/{id}"), "See where it stands")
}

/// The grant, locked for a reviewer who decides about it. Errors: `Forbidden` to its holder.
pub(super) async fn lock_of_another(tx: &mut PgConnection, id: GrantId, by: &Reviewer) -> Result<HeldGrant, Error> {
    let held = store::lock_grant(tx, id).await?;
    if held.account == by.0.id { Err(own_application().into()) } else { Ok(held) }
}

/// The mail about the approval that led to a grant leaves before one that says what has become of the grant.
pub(super) async fn let_decision_go(tx: &mut PgConnection, held: &HeldGrant, now: Timestamp) -> Result<(), Error> {
    match held.application {
        Some(application) => mail::let_go(tx, &application.to_string(), now).await,
        None => Ok(()),
    }
}

/// Whose a grant is, and for what.
pub(super) async fn holder_and_model(tx: &mut PgConnection, held: &HeldGrant) -> Result<(Account, Model), Error> {
    let model = catalog::find_model_by_id(tx, held.model).await?;
    Ok((accounts::find_account(tx, held.account).await?, model))
}

/// The mail about a grant that is stopped.
pub(super) fn access_suspended(portal: &Portal, holder: &Account, model: &Model, id: GrantId, reason: String) -> Message {
    Message::AccessSuspended {
        to: holder.email.to_string(),
        name: holder.name.clone(),
        model: model.full_name(),
        reason,
        link: portal.config.url_of(&format!("/grants/{id}")),
    }
}

/// The mail about a grant that goes on.
pub(super) fn access_reinstated(portal: &Portal, holder: &Account, model: &Model, id: GrantId) -> Message {
    Message::AccessReinstated {
        to: holder.email.to_string(),
        name: holder.name.clone(),
        model: model.full_name(),
        link: portal.config.url_of(&format!("/grants/{id}")),
    }
}

/// A reason is a line or two that its reader can act on.
pub(super) fn parse_reason(raw: &str) -> Result<String, FieldError> {
    let reason = raw.split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, "");
    match reason.chars().count() {
        0 => Err(FieldError::new("reason", "say why; it is kept on record and shown to the person")),
        chars if chars > REASON_CHARS_MAX => Err(FieldError::new("reason", too_long(chars, REASON_CHARS_MAX))),
        _ => Ok(reason),
    }
}
