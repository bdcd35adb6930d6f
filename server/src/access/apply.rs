//! Applying: save a draft, submit, withdraw, appeal. State, record and mails change together.

use sqlx::PgConnection;

use super::answers::Answers;
use super::application::Application;
use super::comment::{Comment, Kind, Lane};
use super::difference::differences;
use super::grant::{Grant, Standing};
use super::state::{Changes, State};
use super::{authorize, block, forms, policy, store};
use crate::accounts::{self, Account};
use crate::audit::{self, Event};
use crate::catalog::{self, Gate, Model};
use crate::clock::Timestamp;
use crate::error::{Error, Refusal};
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
    /// They have access that does not hold now: what stands against it, and where that is mended.
    Stopped(Refusal),
    /// Their application waits for a reviewer.
    Waiting(ApplicationId),
    /// Their last application was declined, and they may apply again from then on.
    Declined {
        /// That application.
        id: ApplicationId,
        /// From when on.
        from: Timestamp,
        /// Whether they may appeal meanwhile.
        may_appeal: bool,
    },
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
    /// The version of the application that is written on; none while there is none.
    pub(super) version: Option<i64>,
    /// The application that was sent back, and what a reviewer asks to be changed.
    pub(super) changes: Option<(ApplicationId, Changes)>,
    /// The form that it was sent with, where it was sent back.
    pub(super) form_sha256: Option<String>,
    /// Whether ticks are gone that were made under another text of the licence.
    pub(super) licence_changed: bool,
}

/// What happened to a form that was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// It became an application just now.
    Fresh(ApplicationId),
    /// It came back changed, as a reviewer had asked.
    Again(ApplicationId),
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
    let footing = store::footing(&mut db, applicant, model.id).await?;
    block::refuse_by(footing.bar.as_ref(), model, now)?;
    if let Some(grant) = footing.grant {
        let standing = grant.standing(now);
        match authorize::stopped(&model.full_name(), &grant, standing) {
            Some(refusal) => return Ok(Opening::Stopped(refusal)),
            None if standing == Standing::Holds => return Ok(Opening::Granted(grant)),
            None => {}
        }
    }
    let Some(latest) = store::latest(&mut db, applicant, model.id).await? else {
        return Ok(Opening::Form(Prefill::default()));
    };
    if let Some(from) = footing.cools_until.filter(|from| now < *from && !latest.state.is_open()) {
        return Ok(Opening::Declined { id: latest.id, from, may_appeal: latest.may_be_appealed(now).is_ok() });
    }
    let version = Some(latest.version);
    Ok(match latest.state {
        State::Submitted(_) => Opening::Waiting(latest.id),
        State::Draft => {
            let (answers, licence_changed) = as_agreed_under(latest.answers, model);
            Opening::Form(Prefill { answers, saved_at: Some(latest.updated_at), version, licence_changed, ..Prefill::default() })
        }
        State::ChangesRequested { changes, .. } => {
            let (answers, licence_changed) = as_agreed_under(latest.answers, model);
            let saved_at = (latest.updated_at > changes.at).then_some(latest.updated_at);
            let (changes, form_sha256) = (Some((latest.id, changes)), latest.form_sha256);
            Opening::Form(Prefill { answers, saved_at, version, changes, form_sha256, licence_changed, ..Prefill::default() })
        }
        State::Approved { .. } | State::Declined { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => {
            Opening::Form(Prefill { answers: latest.answers.without_attestations(), copied_from: Some(latest.id), ..Prefill::default() })
        }
    })
}

/// From when on the applicant of their latest application may apply again, if a decline makes them wait; it need not be that of the latest.
pub(super) async fn cooling(db: &mut PgConnection, latest: &Application, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    match latest.state {
        State::Draft | State::Submitted(_) | State::ChangesRequested { .. } | State::Approved { .. } => Ok(None),
        State::Declined { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => {
            let until = store::footing(db, latest.applicant, latest.model).await?.cools_until;
            Ok(until.filter(|until| now < *until))
        }
    }
}

/// Ticks in a draft count for the licence text they were made under; under another one they have to be made again. Says whether any are
/// gone for that.
pub(super) fn as_agreed_under(answers: Answers, model: &Model) -> (Answers, bool) {
    if answers.get(super::form::LICENCE_SHOWN) == model.licence_sha256.as_deref().unwrap_or_default() {
        return (answers, false);
    }
    let without = answers.clone().without_attestations();
    let are_gone = without != answers;
    (without, are_gone)
}

/// Keeps what was typed, complete or not. `seen`: the version that was written on, when whoever saves must not write over what another
/// window saved. Errors: `Conflict` if no application is needed, one was sent already, or it changed meanwhile.
pub async fn save_draft(
    portal: &Portal,
    applicant: &Account,
    model: &Model,
    answers: Answers,
    seen: Option<i64>,
) -> Result<Application, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = to_write_on(&mut tx, portal, applicant.id, model, now).await?;
    let id = application.id;
    let draft = application.seen_as(seen).map_err(|changed| changed.mended_by(format!("{}/apply", model.path()), "Look at it again"))?;
    let answers = forms::with_left_over(&mut tx, answers, &draft.answers).await?;
    let draft = draft.save_draft(answers, now).map_err(at_own(id))?;
    store::save(&mut tx, &draft).await?;
    tx.commit().await?;
    Ok(draft)
}

/// Sends an application, the first time or again after changes were asked for. `seen`: as for [`save_draft`]; what was typed is kept when
/// it is refused for what it says. Errors: `Invalid` with every fault, `Conflict` if no application is needed, `Stale` if it changed
/// meanwhile, `Limited` if too many were sent lately.
pub async fn submit(portal: &Portal, applicant: &Account, model: &Model, answers: Answers, seen: Option<i64>) -> Result<Sent, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = to_write_on(&mut tx, portal, applicant.id, model, now).await?;
    if matches!(application.state, State::Submitted(_)) {
        return Ok(Sent::Already(application.id));
    }
    let application = application.seen_as(seen)?;
    let answers = forms::with_left_over(&mut tx, answers, &application.answers).await?;
    let sent_before = store::as_sent(&mut tx, vec![application.clone()]).await?;
    let draft = application.save_draft(answers, now)?;
    let is_first = matches!(draft.state, State::Draft);
    let promise = policy::of(&mut tx, model.id).await?.policy.promise();
    // What was sent back is finished on the form it was sent with.
    let form = if is_first { forms::current(&mut tx, model.id).await? } else { forms::of(&mut tx, &draft).await? };
    let submitted = draft.clone().submit(&form, model.licence_sha256.as_deref(), promise, now).and_then(|submitted| {
        if is_first {
            portal.limits.applications.check(&applicant.id.to_string())?;
        }
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
    store::insert_sending(&mut tx, &application, applicant, now).await?;
    store::replace_attestations(&mut tx, application.id, &attestations).await?;
    let (id, answers_sha256) = (application.id, application.answers.sha256());
    let event = if is_first {
        let licence_sha256 = application.licence_sha256.clone();
        let form_sha256 = form.sha256().to_owned();
        Event::ApplicationSubmitted { application: id, model: model.id, licence_sha256, form_sha256, answers_sha256 }
    } else {
        Event::ApplicationResubmitted { application: id, answers_sha256 }
    };
    audit::record(&mut tx, now, Some(applicant.id), &event).await?;
    if is_first {
        mail::enqueue(&mut tx, now, &receipt(portal, applicant, model, &application)).await?;
        call_reviewers(&mut tx, portal, applicant, model, id, None, now).await?;
    } else {
        let is_changed = sent_before.iter().any(|before| !differences(&form, &before.answers, &application.answers).is_empty());
        tell_who_asked(&mut tx, portal, applicant, model, &application, is_changed, now).await?;
    }
    tx.commit().await?;
    Ok(if is_first { Sent::Fresh(id) } else { Sent::Again(id) })
}

/// Asks for another reviewer after a decline, once. Errors: `NotFound` for a foreign one, `Conflict` if it is not or no more possible or
/// access has been given since, `Forbidden` while blocked, `Invalid` without a word.
pub async fn appeal(portal: &Portal, applicant: &Account, id: ApplicationId, text: &str) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = own(&mut tx, applicant.id, id).await?;
    let decline = in_thread(&application);
    let promise = policy::of(&mut tx, application.model).await?.policy.promise();
    let application = application.appeal(text, promise, now).map_err(at_own(id))?;
    if let Some(grant) = store::footing(&mut tx, applicant.id, application.model).await?.grant
        && grant.standing(now).is_running()
    {
        let held = Error::Conflict("you have been given access since; there is nothing to appeal against".into());
        return Err(held.mended_by(format!("/grants/{}", grant.id), "See your access"));
    }
    // Invariant: one open application per account and model. A new one that was begun meanwhile goes first.
    if let Some(begun) = store::lock_open(&mut tx, applicant.id, application.model).await? {
        let refused = Error::Conflict("you have begun a new application for this model; discard it, then appeal".into());
        return Err(at_own(begun.id)(refused));
    }
    let appealed = application.state.sent().and_then(|sent| Some((sent.appeal.as_ref()?, sent.due_at)));
    let Some((text, against, due_at)) = appealed.map(|(appeal, due_at)| (appeal.text.clone(), appeal.against, due_at)) else {
        return Err(Error::internal("an appeal left no trace in its application"));
    };
    let model = catalog::find_model_by_id(&mut tx, application.model).await?;
    block::refuse(&mut tx, applicant.id, &model, now).await?;
    mail::let_go(&mut tx, &id.to_string(), now).await?;
    store::save(&mut tx, &application).await?;
    for word in decline.into_iter().chain([Comment::new(applicant.id, Lane::Shared, Kind::Appeal, text, now)]) {
        store::insert_comment(&mut tx, id, &word).await?;
    }
    audit::record(&mut tx, now, Some(applicant.id), &Event::ApplicationAppealed { application: id }).await?;
    let message = Message::AppealReceived {
        to: applicant.email.to_string(),
        name: applicant.name.clone(),
        model: model.full_name(),
        promised: when::day(due_at),
        link: portal.config.url_of(&format!("/applications/{id}")),
    };
    mail::enqueue(&mut tx, now, &message).await?;
    call_reviewers(&mut tx, portal, applicant, &model, id, Some(against), now).await?;
    tx.commit().await?;
    Ok(())
}

/// The decline of an application as a word of its thread, where both sides go on reading it once it is appealed.
fn in_thread(application: &Application) -> Option<Comment> {
    let State::Declined { by, at, reason, text, .. } = &application.state else { return None };
    let decline = Comment::new(*by, Lane::Shared, Kind::Decline, text.clone(), *at);
    Some(Comment { fields: vec![reason.as_str().into()], ..decline })
}

/// Takes an application back. Errors: `NotFound` for a foreign one, `Conflict` once it is decided.
pub async fn withdraw(portal: &Portal, applicant: AccountId, id: ApplicationId) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = own(&mut tx, applicant, id).await?.withdraw(now).map_err(at_own(id))?;
    store::save(&mut tx, &application).await?;
    audit::record(&mut tx, now, Some(applicant), &Event::ApplicationWithdrawn { application: id }).await?;
    tx.commit().await?;
    Ok(())
}

/// The application `id` of this account, locked. Errors: `NotFound` for a foreign one.
pub(super) async fn own(tx: &mut PgConnection, applicant: AccountId, id: ApplicationId) -> Result<Application, Error> {
    let application = store::lock(tx, id).await?;
    if application.applicant == applicant { Ok(application) } else { Err(Error::NotFound("application")) }
}

/// An applicant who is refused looks at their application as it is now.
fn at_own(id: ApplicationId) -> impl Fn(Error) -> Error {
    move |refused| refused.mended_by(format!("/applications/{id}"), "See your application")
}

/// The application that is written on; whoever may write on none is led to their latest one, which says why.
async fn to_write_on(
    tx: &mut PgConnection,
    portal: &Portal,
    applicant: AccountId,
    model: &Model,
    now: Timestamp,
) -> Result<Application, Error> {
    match open_application(tx, portal, applicant, model, now).await {
        Err(refused @ Error::Conflict(_)) => Err(match store::latest(tx, applicant, model.id).await? {
            Some(latest) => at_own(latest.id)(refused),
            None => refused.mended_by(model.path(), "See the model"),
        }),
        other => other,
    }
}

/// The open application of an account for a model, begun now if there was none, locked.
async fn open_application(
    tx: &mut PgConnection,
    portal: &Portal,
    applicant: AccountId,
    model: &Model,
    now: Timestamp,
) -> Result<Application, Error> {
    if model.gate == Gate::Open {
        let open = Error::Conflict(format!("{} is open; no application is needed", model.full_name()).into());
        return Err(open.mended_by(model.path(), "See the model"));
    }
    // Read without a lock: a decision locks the application first and the grant second, and the other order could wait for ever.
    let footing = store::footing(tx, applicant, model.id).await?;
    block::refuse_by(footing.bar.as_ref(), model, now)?;
    if let Some(grant) = footing.grant {
        let standing = grant.standing(now);
        match authorize::stopped(&model.full_name(), &grant, standing) {
            Some(refusal) => return Err(refusal.into()),
            None if standing == Standing::Holds => {
                let until = when::day(grant.expires_at);
                let held =
                    Error::Conflict(format!("you have access to {} until {until}; no application is needed", model.full_name()).into());
                return Err(held.mended_by(format!("/grants/{}", grant.id), "See your access"));
            }
            None => {}
        }
    }
    if let Some(open) = store::lock_open(tx, applicant, model.id).await? {
        return Ok(open);
    }
    if let Some(from) = footing.cools_until.filter(|from| now < *from) {
        let from = when::day(from);
        return Err(Error::Conflict(format!("your last application was declined; you may apply again from {from}").into()));
    }
    portal.limits.drafts.check(&applicant.to_string())?;
    store::insert_unless_open(tx, &Application::begin(applicant, model.id, now)).await?;
    // None only when another window closed it between the two statements.
    let open = store::lock_open(tx, applicant, model.id).await?;
    open.ok_or(Error::Conflict("your application changed in another window; look at it there and try again".into()))
}

fn receipt(portal: &Portal, applicant: &Account, model: &Model, application: &Application) -> Message {
    Message::ApplicationReceived {
        to: applicant.email.to_string(),
        name: applicant.name.clone(),
        model: model.full_name(),
        promised: application.state.sent().map(|sent| when::day(sent.due_at)).unwrap_or_default(),
        link: portal.config.url_of(&format!("/applications/{}", application.id)),
    }
}

/// A mail to everybody who may decide. `against`: with an appeal, whose decision it is against, who may not.
async fn call_reviewers(
    tx: &mut PgConnection,
    portal: &Portal,
    applicant: &Account,
    model: &Model,
    id: ApplicationId,
    against: Option<AccountId>,
    now: Timestamp,
) -> Result<(), Error> {
    let all = accounts::reviewers(tx).await?;
    let called = all.into_iter().filter(|reviewer| reviewer.id != applicant.id && Some(reviewer.id) != against);
    let messages: Vec<Message> = called
        .map(|reviewer| Message::ApplicationToReview {
            to: reviewer.email.to_string(),
            name: reviewer.name,
            applicant: applicant.name.clone(),
            model: model.full_name(),
            is_appeal: against.is_some(),
            link: portal.config.url_of(&format!("/review/{id}")),
        })
        .collect();
    mail::enqueue_all(tx, now, &messages).await
}

/// A mail to the reviewer who sees to it, because what they asked for has come.
async fn tell_who_asked(
    tx: &mut PgConnection,
    portal: &Portal,
    applicant: &Account,
    model: &Model,
    application: &Application,
    is_changed: bool,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(claim) = application.state.sent().and_then(|sent| sent.claim) else { return Ok(()) };
    let reviewer = accounts::find_account(tx, claim.by).await?;
    let message = Message::ApplicationResubmitted {
        to: reviewer.email.to_string(),
        name: reviewer.name,
        applicant: applicant.name.clone(),
        model: model.full_name(),
        is_changed,
        link: portal.config.url_of(&format!("/review/{}", application.id)),
    };
    mail::enqueue(tx, now, &message).await
}
