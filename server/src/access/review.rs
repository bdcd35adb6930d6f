//! Deciding: approve, decline, revoke. Of two reviewers at once one decides and the other is told.

use sqlx::PgConnection;

use super::application::{Application, State};
use super::decline::DeclineReason;
use super::grant::{Grant, HeldGrant, Standing};
use super::store::{self, GrantOrigin};
use crate::accounts::{self, Reviewer};
use crate::audit::{self, Event};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::when;
use crate::ids::{AccountId, ApplicationId, GrantId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// The longest reason for a grant or its end, in characters.
const REASON_CHARS_MAX: usize = 1_000;

/// Opens the model to the applicant until `until`. Errors: `Conflict` if it was decided or withdrawn meanwhile or access was given
/// another way, `Forbidden` for one's own application, `Invalid` for the end or the note.
pub async fn approve(portal: &Portal, by: &Reviewer, id: ApplicationId, until: Timestamp, note: &str) -> Result<Grant, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let (application, grant) = lock_waiting(&mut tx, id).await?.approve(by.0.id, until, note, now)?;
    let model = catalog::find_model_by_id(&mut tx, application.model).await?;
    let applicant = accounts::find_account(&mut tx, application.applicant).await?;
    make_room(&mut tx, application.applicant, &model, now).await?;
    store::save(&mut tx, &application).await?;
    let reason = format!("application {id}");
    let origin = GrantOrigin { account: applicant.id, model: model.id, application: Some(id), by: Some(by.0.id), reason: &reason };
    store::insert_grant(&mut tx, &grant, &origin).await?;
    audit::record(&mut tx, now, Some(by.0.id), &Event::ApplicationApproved { application: id, grant: grant.id }).await?;
    audit::record(&mut tx, now, Some(by.0.id), &grant_made(&grant, &origin)).await?;
    mail::enqueue(&mut tx, now, &access_granted(portal, &applicant, &model, &grant, application.state.words())).await?;
    tx.commit().await?;
    Ok(grant)
}

/// Says no, and why. Errors: `Conflict` if it was decided or withdrawn meanwhile, `Forbidden` for one's own application.
pub async fn decline(portal: &Portal, by: &Reviewer, id: ApplicationId, reason: DeclineReason, text: &str) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = lock_waiting(&mut tx, id).await?.decline(by.0.id, reason, text, now)?;
    let model = catalog::find_model_by_id(&mut tx, application.model).await?;
    let applicant = accounts::find_account(&mut tx, application.applicant).await?;
    store::save(&mut tx, &application).await?;
    audit::record(&mut tx, now, Some(by.0.id), &Event::ApplicationDeclined { application: id, code: reason.as_str() }).await?;
    let message = Message::ApplicationDeclined {
        to: applicant.email.to_string(),
        name: applicant.name,
        model: model.full_name(),
        reason: format!("{}. {}", reason.label(), reason.advice()),
        text: application.state.words().to_owned(),
        link: portal.config.url_of(&format!("/applications/{id}")),
    };
    mail::enqueue(&mut tx, now, &message).await?;
    tx.commit().await?;
    Ok(())
}

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

/// The application, unless somebody decided: then `Conflict` says who and what, as the second of two reviewers wants to know.
/// Reviewers see what was sent; a draft is its applicant's alone.
async fn lock_waiting(tx: &mut PgConnection, id: ApplicationId) -> Result<Application, Error> {
    let application = store::lock(tx, id).await?;
    let (decided, by, at) = match &application.state {
        State::Draft | State::Withdrawn { submitted_at: None, .. } => return Err(Error::NotFound("application")),
        // The state machine has words for one that was withdrawn.
        State::Submitted { .. } | State::Withdrawn { .. } => return Ok(application),
        State::Approved { by, at, .. } => ("approved".to_owned(), *by, *at),
        State::Declined { by, at, reason, .. } => (format!("declined ({})", reason.label()), *by, *at),
    };
    let by = accounts::find_account(tx, by).await?.name;
    Err(Error::Conflict(format!("{by} has {decided} this application on {}; nothing was changed", when::minute(at)).into()))
}

/// Closes a grant of before that has expired, so that a new one can follow. Errors: `Conflict` if it still holds.
pub(super) async fn make_room(tx: &mut PgConnection, account: AccountId, model: &catalog::Model, now: Timestamp) -> Result<(), Error> {
    let Some(held) = store::lock_unrevoked(tx, account, model.id).await? else {
        return Ok(());
    };
    match held.grant.standing(now) {
        Standing::Holds => {
            let until = when::day(held.grant.expires_at);
            Err(Error::Conflict(
                format!("this person has access to {} until {until} already; nothing was changed", model.full_name()).into(),
            ))
        }
        Standing::Expired | Standing::Revoked => store::revoke_grant(tx, held.grant.id, None, "expired; another grant followed", now).await,
    }
}

/// The record of a new grant.
pub(super) fn grant_made(grant: &Grant, origin: &GrantOrigin<'_>) -> Event {
    Event::GrantMade {
        grant: grant.id,
        account: origin.account,
        model: origin.model,
        days: (grant.expires_at - grant.granted_at).whole_days(),
        reason: origin.reason.to_owned(),
    }
}

/// The mail about a new grant, with what the reviewer wrote to its holder.
pub(super) fn access_granted(portal: &Portal, holder: &accounts::Account, model: &catalog::Model, grant: &Grant, note: &str) -> Message {
    Message::AccessGranted {
        to: holder.email.to_string(),
        name: holder.name.clone(),
        model: model.full_name(),
        until: when::day(grant.expires_at),
        note: note.to_owned(),
        link: portal.config.url_of(&model.path()),
    }
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
