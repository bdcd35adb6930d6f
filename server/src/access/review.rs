//! What a reviewer does with a case: claim, tick, ask for changes, approve, decline, undo. Of two at once one decides and the other is told.

use sqlx::PgConnection;

use super::answers_view::asked_in_words;
use super::application::{APPEAL, Application, Approval, CHANGES_LIFE, UNDO, decline_text};
use super::comment::{Comment, Kind, Lane};
use super::decline::DeclineReason;
use super::grant::Grant;
use super::issue::{access_granted, grant_made, make_room};
use super::policy::{self, Policy, cool_down};
use super::state::State;
use super::store::{self, GrantOrigin};
use super::{block, forms};
use crate::accounts::{self, Reviewer};
use crate::audit::{self, Event};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::when;
use crate::ids::ApplicationId;
use crate::mail::{self, GrantedBy, Message};
use crate::portal::Portal;

/// What whoever decides has seen of a case. What they do not say is not asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Its version.
    pub version: Option<i64>,
    /// How many comments stood in its thread.
    pub comments: Option<i64>,
}

/// Takes a case on, or over from whoever had it. Errors: `Forbidden` for one's own, `Conflict` unless it waits.
pub async fn claim(portal: &Portal, by: &Reviewer, id: ApplicationId, seen: Option<i64>) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = lock_waiting(&mut tx, by, id, seen).await?.claim(by.0.id, now).map_err(at_the_case(id))?;
    store::save(&mut tx, &application).await?;
    audit::record(&mut tx, now, Some(by.0.id), &Event::ApplicationClaimed { application: id }).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives a case back to everybody. Errors: `Conflict` unless it is theirs.
pub async fn release(portal: &Portal, by: &Reviewer, id: ApplicationId, seen: Option<i64>) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = lock_waiting(&mut tx, by, id, seen).await?.release(by.0.id, now).map_err(at_the_case(id))?;
    store::save(&mut tx, &application).await?;
    audit::record(&mut tx, now, Some(by.0.id), &Event::ApplicationReleased { application: id }).await?;
    tx.commit().await?;
    Ok(())
}

/// Keeps which points of the checklist are ticked, all of them by name, and puts on record who ticked what. Errors: as [`approve`].
pub async fn check(portal: &Portal, by: &Reviewer, id: ApplicationId, seen: Option<i64>, points: Vec<String>) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = lock_waiting(&mut tx, by, id, seen).await?.check(by.0.id, now).map_err(at_the_case(id))?;
    if store::set_checked(&mut tx, id, &points).await? {
        store::save(&mut tx, &application).await?;
        audit::record(&mut tx, now, Some(by.0.id), &Event::ApplicationChecked { application: id, points }).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Sends it back to its applicant: `text` in words, `fields` the questions that are meant. Errors: as [`approve`].
pub async fn request_changes(
    portal: &Portal,
    by: &Reviewer,
    id: ApplicationId,
    seen: Seen,
    text: &str,
    fields: Vec<String>,
) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = lock_to_decide(&mut tx, by, id, seen).await?.request_changes(by.0.id, text, fields, now).map_err(at_the_case(id))?;
    let State::ChangesRequested { changes, .. } = &application.state else {
        return Err(Error::internal("a request for changes left no trace in its application"));
    };
    let model = catalog::find_model_by_id(&mut tx, application.model).await?;
    let applicant = accounts::find_account(&mut tx, application.applicant).await?;
    store::save(&mut tx, &application).await?;
    let comment =
        Comment { fields: changes.fields.clone(), ..Comment::new(by.0.id, Lane::Shared, Kind::Changes, changes.text.clone(), now) };
    store::insert_comment(&mut tx, id, &comment).await?;
    let event = Event::ChangesRequested { application: id, fields: changes.fields.clone() };
    audit::record(&mut tx, now, Some(by.0.id), &event).await?;
    let form = forms::of(&mut tx, &application).await?;
    let message = Message::ChangesRequested {
        to: applicant.email.to_string(),
        name: applicant.name,
        model: model.full_name(),
        text: changes.text.clone(),
        fields: changes.fields.iter().map(|field| asked_in_words(&form, field)).collect(),
        until: when::day(now + CHANGES_LIFE),
        link: portal.config.url_of(&format!("{}/apply", model.path())),
    };
    mail::enqueue(&mut tx, now, &message).await?;
    tx.commit().await?;
    Ok(())
}

/// Opens the model to the applicant; the mail leaves after [`UNDO`]. Errors: `Conflict` if it was decided or withdrawn
/// meanwhile, changed or was written about since it was `seen`, is another's case, its applicant is blocked, or access was given another way; `Forbidden` for one's own application;
/// `Invalid` for the end, no use at all, or the note.
pub async fn approve(portal: &Portal, by: &Reviewer, id: ApplicationId, seen: Seen, approval: Approval<'_>) -> Result<Grant, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let (grant, message) = approve_within(&mut tx, portal, by, id, seen, approval).await?;
    mail::hold(&mut tx, now, now + UNDO, &id.to_string(), &message).await?;
    tx.commit().await?;
    Ok(grant)
}

/// The mail that an approval would send: all of it is done, and undone. Errors: as [`approve`].
pub(super) async fn approval_mail(
    portal: &Portal,
    by: &Reviewer,
    id: ApplicationId,
    seen: Seen,
    approval: Approval<'_>,
) -> Result<Message, Error> {
    let mut tx = portal.db.begin().await?;
    let (_, message) = approve_within(&mut tx, portal, by, id, seen, approval).await?;
    tx.rollback().await?;
    Ok(message)
}

async fn approve_within(
    tx: &mut PgConnection,
    portal: &Portal,
    by: &Reviewer,
    id: ApplicationId,
    seen: Seen,
    approval: Approval<'_>,
) -> Result<(Grant, Message), Error> {
    let now = portal.clock.now();
    let (application, grant) = lock_to_decide(tx, by, id, seen).await?.approve(by.0.id, approval, now).map_err(at_the_case(id))?;
    let model = catalog::find_model_by_id(tx, application.model).await?;
    let applicant = accounts::find_account(tx, application.applicant).await?;
    block::refuse_gift(tx, &applicant, &model, now).await?;
    make_room(tx, application.applicant, &model, now).await?;
    store::save(tx, &application).await?;
    let reason = format!("application {id}");
    let origin = GrantOrigin { account: applicant.id, model: model.id, application: Some(id), by: Some(by.0.id), reason: &reason };
    store::insert_grant(tx, &grant, &origin).await?;
    audit::record(tx, now, Some(by.0.id), &Event::ApplicationApproved { application: id, grant: grant.id }).await?;
    audit::record(tx, now, Some(by.0.id), &grant_made(&grant, &origin)).await?;
    let origin = GrantedBy::Approval { note: application.state.words().to_owned(), is_appeal: application.is_appeal() };
    // As it is kept, the grant says whether there is something new to agree to.
    let kept = store::find_grant(tx, grant.id).await?.grant;
    let message = access_granted(portal, &applicant, &model, &kept, origin);
    Ok((grant, message))
}

/// Says no, and why; the mail leaves after [`UNDO`]. Errors: as [`approve`].
pub async fn decline(
    portal: &Portal,
    by: &Reviewer,
    id: ApplicationId,
    seen: Seen,
    reason: DeclineReason,
    text: &str,
) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = lock_to_decide(&mut tx, by, id, seen).await?.decline(by.0.id, reason, text, now).map_err(at_the_case(id))?;
    let model = catalog::find_model_by_id(&mut tx, application.model).await?;
    let applicant = accounts::find_account(&mut tx, application.applicant).await?;
    store::save(&mut tx, &application).await?;
    audit::record(&mut tx, now, Some(by.0.id), &Event::ApplicationDeclined { application: id, code: reason.as_str() }).await?;
    let rules = policy::of(&mut tx, model.id).await?.policy;
    let message = application_declined(portal, &applicant, &model, &application, (reason, application.state.words()), &rules, now);
    mail::hold(&mut tx, now, now + UNDO, &id.to_string(), &message).await?;
    tx.commit().await?;
    Ok(())
}

/// The mail that a decline would send. Errors: `NotFound` for what was never sent, `Forbidden` for one's own.
pub(super) async fn decline_mail(
    portal: &Portal,
    by: &Reviewer,
    id: ApplicationId,
    reason: DeclineReason,
    text: &str,
) -> Result<Message, Error> {
    let (application, applicant, model) = parties(portal, by, id).await?;
    let rules = policy::of(&mut *portal.db.acquire().await?, model.id).await?.policy;
    let now = portal.clock.now();
    Ok(application_declined(portal, &applicant, &model, &application, (reason, &decline_text(text)?), &rules, now))
}

/// What was sent, by whom, and for what.
async fn parties(portal: &Portal, by: &Reviewer, id: ApplicationId) -> Result<(Application, accounts::Account, catalog::Model), Error> {
    let mut db = portal.db.acquire().await?;
    let application = store::find(&mut db, id).await?;
    application.case_for(by.0.id)?;
    let applicant = accounts::find_account(&mut db, application.applicant).await?;
    let model = catalog::find_model_by_id(&mut db, application.model).await?;
    Ok((application, applicant, model))
}

/// Takes a decision back before its mail has left: the application waits again, and access that was given ends.
/// Errors: `Conflict` after [`UNDO`], once the mail is on its way or another application was begun, `Forbidden` to everybody but who decided.
pub async fn undo(portal: &Portal, by: &Reviewer, id: ApplicationId, seen: Option<i64>) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = store::lock(&mut tx, id).await?;
    application.case_for(by.0.id)?;
    let application = application.seen_as(seen).and_then(|application| application.undo(by.0.id, now)).map_err(at_the_case(id))?;
    // Invariant: one open application per account and model.
    if store::lock_open(&mut tx, application.applicant, application.model).await?.is_some() {
        let told = "the applicant has begun another application for this model since; decide on that one. Nothing was changed";
        return Err(Error::Conflict(told.into()));
    }
    let held = store::lock_unrevoked(&mut tx, application.applicant, application.model).await?;
    if held.as_ref().is_some_and(|held| held.application != Some(id) && held.grant.standing(now).is_running()) {
        let told = "the applicant has been given access another way since; revoke that first. Nothing was changed";
        return Err(at_the_case(id)(Error::Conflict(told.into())));
    }
    if mail::take_back(&mut tx, &id.to_string()).await? == 0 {
        return Err(at_the_case(id)(Error::Conflict("the mail about this decision is on its way already; nothing was changed".into())));
    }
    if let Some(held) = held.filter(|held| held.application == Some(id)) {
        store::revoke_grant(&mut tx, held.grant.id, Some(by.0.id), "the decision was taken back", now).await?;
        audit::record(&mut tx, now, Some(by.0.id), &Event::GrantUndone { grant: held.grant.id }).await?;
    }
    store::save(&mut tx, &application).await?;
    audit::record(&mut tx, now, Some(by.0.id), &Event::DecisionUndone { application: id }).await?;
    tx.commit().await?;
    Ok(())
}

/// The application, unless somebody decided: then `Conflict` says who and what, as the second of two reviewers wants to know.
/// Errors besides: `NotFound` for what was never sent, `Forbidden` for one's own, `Stale` unless it is as it was `seen`.
async fn lock_waiting(tx: &mut PgConnection, by: &Reviewer, id: ApplicationId, seen: Option<i64>) -> Result<Application, Error> {
    let application = store::lock(tx, id).await?;
    application.case_for(by.0.id)?;
    let (decided, by, at) = match &application.state {
        // The state machine has words for those.
        State::Draft | State::Submitted(_) | State::ChangesRequested { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => {
            return application.seen_as(seen).map_err(at_the_case(id));
        }
        State::Approved { by, at, .. } => ("approved".to_owned(), *by, *at),
        State::Declined { by, at, reason, .. } => (format!("declined ({})", reason.label()), *by, *at),
    };
    let by = accounts::find_account(tx, by).await?.name;
    let told = format!("{by} has {decided} this application on {}; nothing was changed", when::minute(at));
    Err(at_the_case(id)(Error::Conflict(told.into())))
}

/// The same for a decision, before which is read what others have written. Errors besides: `Stale` if somebody wrote since it was `seen`.
async fn lock_to_decide(tx: &mut PgConnection, by: &Reviewer, id: ApplicationId, seen: Seen) -> Result<Application, Error> {
    let application = lock_waiting(tx, by, id, seen.version).await?;
    refuse_unread(tx, by, id, seen.comments).await?;
    Ok(application)
}

/// Refuses whoever has not read what somebody else wrote about a case since there were `seen` comments. Errors: `Stale`, which says who wrote.
pub(super) async fn refuse_unread(db: &mut PgConnection, by: &Reviewer, id: ApplicationId, seen: Option<i64>) -> Result<(), Error> {
    let Some(seen) = seen else { return Ok(()) };
    let Some((author, lane)) = store::unread_comment(db, id, seen, by.0.id).await? else { return Ok(()) };
    let name = accounts::find_account(db, author).await?.name;
    let what = match lane {
        Lane::Internal => "an internal comment",
        Lane::Shared => "a comment",
    };
    let told = format!("{name} wrote {what} while you were looking at this application; read it, then decide");
    Err(at_the_case(id)(Error::Stale(told.into())))
}

/// Whoever is refused at a case looks at it as it is now.
fn at_the_case(id: ApplicationId) -> impl Fn(Error) -> Error {
    move |refused| refused.mended_by(format!("/review/{id}"), "Look at the case again")
}

/// The mail about a decline.
fn application_declined(
    portal: &Portal,
    applicant: &accounts::Account,
    model: &catalog::Model,
    application: &Application,
    (reason, text): (DeclineReason, &str),
    rules: &Policy,
    at: Timestamp,
) -> Message {
    let days = rules.reapply_days;
    Message::ApplicationDeclined {
        to: applicant.email.to_string(),
        name: applicant.name.clone(),
        model: model.full_name(),
        reason: format!("{}. {}", reason.label(), reason.advice()),
        text: text.to_owned(),
        appeal_until: (!application.is_appeal()).then(|| when::day(at + APPEAL)),
        again_from: if days == 0 { "at any time".into() } else { format!("from {}", when::day(at + cool_down(Some(days)))) },
        link: portal.config.url_of(&format!("/applications/{}", application.id)),
    }
}
