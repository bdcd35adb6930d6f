//! Applying: save a draft, submit, withdraw. State, record and mails change together.

use sqlx::PgConnection;

use super::answers::Answers;
use super::application::{Application, State};
use super::grant::{Grant, Standing};
use super::{forms, store};
use crate::accounts::{self, Account};
use crate::audit::{self, Event};
use crate::catalog::{Gate, Model};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::when;
use crate::ids::{AccountId, ApplicationId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// What the apply page has to tell somebody.
#[derive(Debug)]
pub(super) enum Opening {
    /// The model is open: nothing to apply for.
    NotNeeded,
    /// They have access already.
    Granted(Grant),
    /// Their application waits for a reviewer.
    Waiting(ApplicationId),
    /// The form, filled in with what is there.
    Form(Prefill),
}

/// What the form is filled in with.
#[derive(Debug, Default)]
pub(super) struct Prefill {
    /// A draft, or a copy of the last application, or nothing.
    pub(super) answers: Answers,
    /// When the draft was saved, if there is one.
    pub(super) saved_at: Option<Timestamp>,
    /// The closed application they were copied from.
    pub(super) copied_from: Option<ApplicationId>,
}

/// What happened to a form that was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// It became an application just now.
    Fresh(ApplicationId),
    /// It had been sent before: a second click, or a second window.
    Already(ApplicationId),
}

/// Where somebody stands with a model before they apply.
pub(super) async fn open(portal: &Portal, applicant: AccountId, model: &Model) -> Result<Opening, Error> {
    let now = portal.clock.now();
    if model.gate == Gate::Open {
        return Ok(Opening::NotNeeded);
    }
    let mut db = portal.db.acquire().await?;
    let (grant, _) = store::standing(&mut db, applicant, model.id).await?;
    if let Some(grant) = grant.filter(|grant| grant.standing(now) == Standing::Holds) {
        return Ok(Opening::Granted(grant));
    }
    let Some(latest) = store::latest(&mut db, applicant, model.id).await? else {
        return Ok(Opening::Form(Prefill::default()));
    };
    Ok(match latest.state {
        State::Submitted { .. } => Opening::Waiting(latest.id),
        State::Draft => {
            Opening::Form(Prefill { answers: as_agreed_under(latest.answers, model), saved_at: Some(latest.updated_at), copied_from: None })
        }
        State::Approved { .. } | State::Declined { .. } | State::Withdrawn { .. } => {
            Opening::Form(Prefill { answers: latest.answers.without_attestations(), saved_at: None, copied_from: Some(latest.id) })
        }
    })
}

/// Ticks in a draft count for the licence text they were made under; under another one they have to be made again.
pub(super) fn as_agreed_under(answers: Answers, model: &Model) -> Answers {
    if answers.get(super::form::LICENCE_SHOWN) == model.licence_sha256.as_deref().unwrap_or_default() {
        answers
    } else {
        answers.without_attestations()
    }
}

/// Keeps what was typed, complete or not. Errors: `Conflict` if no application is needed or one was sent already.
pub async fn save_draft(portal: &Portal, applicant: &Account, model: &Model, answers: Answers) -> Result<ApplicationId, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let draft = open_application(&mut tx, applicant.id, model, now).await?.save_draft(answers, now)?;
    store::save(&mut tx, &draft).await?;
    tx.commit().await?;
    Ok(draft.id)
}

/// Sends an application. What was typed is kept as a draft even when it is refused.
/// Errors: `Invalid` with every fault, `Conflict` if no application is needed, `Limited` if too many were sent lately.
pub async fn submit(portal: &Portal, applicant: &Account, model: &Model, answers: Answers) -> Result<Sent, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = open_application(&mut tx, applicant.id, model, now).await?;
    if matches!(application.state, State::Submitted { .. }) {
        return Ok(Sent::Already(application.id));
    }
    let draft = application.save_draft(answers, now)?;
    let form = forms::current(&mut tx, model.id).await?;
    let submitted = draft.clone().submit(&form, model.licence_sha256.as_deref(), now).and_then(|submitted| {
        portal.limits.applications.check(&applicant.id.to_string())?;
        Ok(submitted)
    });
    let (application, attestations) = match submitted {
        Ok(submitted) => submitted,
        Err(refused) => {
            store::save(&mut tx, &draft).await?;
            tx.commit().await?;
            return Err(refused);
        }
    };
    store::insert_form(&mut tx, &form, None, now).await?;
    store::save(&mut tx, &application).await?;
    store::insert_attestations(&mut tx, application.id, &attestations).await?;
    let event = Event::ApplicationSubmitted {
        application: application.id,
        model: model.id,
        licence_sha256: application.licence_sha256.clone(),
        form_sha256: form.sha256().to_owned(),
        answers_sha256: application.answers.sha256(),
    };
    audit::record(&mut tx, now, Some(applicant.id), &event).await?;
    announce(&mut tx, portal, applicant, model, application.id, now).await?;
    tx.commit().await?;
    Ok(Sent::Fresh(application.id))
}

/// Takes an application back. Errors: `NotFound` for a foreign one, `Conflict` once it is decided.
pub async fn withdraw(portal: &Portal, applicant: AccountId, id: ApplicationId) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = store::lock(&mut tx, id).await?;
    if application.applicant != applicant {
        return Err(Error::NotFound("application"));
    }
    let application = application.withdraw(now)?;
    store::save(&mut tx, &application).await?;
    audit::record(&mut tx, now, Some(applicant), &Event::ApplicationWithdrawn { application: id }).await?;
    tx.commit().await?;
    Ok(())
}

/// The open application of an account for a model, begun now if there was none, locked.
async fn open_application(tx: &mut PgConnection, applicant: AccountId, model: &Model, now: Timestamp) -> Result<Application, Error> {
    if model.gate == Gate::Open {
        return Err(Error::Conflict(format!("{} is open; no application is needed", model.full_name()).into()));
    }
    // Read without a lock: a decision locks the application first and the grant second, and the other order could wait for ever.
    let (grant, _) = store::standing(tx, applicant, model.id).await?;
    if let Some(grant) = grant.filter(|grant| grant.standing(now) == Standing::Holds) {
        let until = when::day(grant.expires_at);
        return Err(Error::Conflict(format!("you have access to {} until {until}; no application is needed", model.full_name()).into()));
    }
    store::insert_unless_open(tx, &Application::begin(applicant, model.id, now)).await?;
    // None only when another window closed it between the two statements.
    let open = store::lock_open(tx, applicant, model.id).await?;
    open.ok_or(Error::Conflict("your application changed in another window; look at it there and try again".into()))
}

/// A receipt to the applicant, and a mail to everybody who may decide.
async fn announce(
    tx: &mut PgConnection,
    portal: &Portal,
    applicant: &Account,
    model: &Model,
    id: ApplicationId,
    now: Timestamp,
) -> Result<(), Error> {
    let receipt = Message::ApplicationReceived {
        to: applicant.email.to_string(),
        name: applicant.name.clone(),
        model: model.full_name(),
        link: portal.config.url_of(&format!("/applications/{id}")),
    };
    mail::enqueue(tx, now, &receipt).await?;
    for reviewer in accounts::reviewers(tx).await?.into_iter().filter(|reviewer| reviewer.id != applicant.id) {
        let message = Message::ApplicationToReview {
            to: reviewer.email.to_string(),
            name: reviewer.name,
            applicant: applicant.name.clone(),
            model: model.full_name(),
            link: portal.config.url_of(&format!("/review/{id}")),
        };
        mail::enqueue(tx, now, &message).await?;
    }
    Ok(())
}
