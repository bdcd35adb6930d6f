//! Deciding: approve and decline. Of two reviewers at once one decides and the other is told.

use sqlx::PgConnection;

use super::application::{Application, State};
use super::decline::DeclineReason;
use super::grant::Grant;
use super::issue::{access_granted, grant_made, make_room};
use super::store::{self, GrantOrigin};
use crate::accounts::{self, Reviewer};
use crate::audit::{self, Event};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::when;
use crate::ids::ApplicationId;
use crate::mail::{self, Message};
use crate::portal::Portal;

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
