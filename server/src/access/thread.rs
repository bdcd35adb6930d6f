//! The thread of an application: what its two sides write to each other, and what reviewers write among themselves.

use sqlx::PgConnection;

use super::application::{Application, words};
use super::comment::{Comment, Kind, Lane};
use super::grant::HeldGrant;
use super::state::State;
use super::{held, store};
use crate::accounts::{self, Account, Reviewer};
use crate::audit::{self, Event};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::ids::{AccountId, ApplicationId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// The most comments that one application may have. It ends a quarrel, and bounds a page.
const COMMENTS_MAX: i64 = 500;

/// The applicant writes to the reviewers. Errors: `NotFound` for a foreign application, `Conflict` for one that was never sent or is
/// closed, unless its access is stopped, `Invalid` without a word, `Limited` after many.
pub async fn write(portal: &Portal, applicant: &Account, id: ApplicationId, body: &str) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = super::apply::own(&mut tx, applicant.id, id).await?;
    let comment = Comment::new(applicant.id, Lane::Shared, Kind::Comment, said(body)?, now);
    let stopped = add(&mut tx, &application, &comment).await?;
    portal.limits.comments.check(&applicant.id.to_string())?;
    for reviewer in readers(&mut tx, &application, stopped.as_ref()).await? {
        tell(&mut tx, portal, &reviewer, &application, &applicant.name, &format!("/review/{id}"), now).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// A reviewer writes to the applicant, or to the other reviewers. Errors: as [`write`].
pub async fn answer(portal: &Portal, by: &Reviewer, id: ApplicationId, lane: Lane, body: &str) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = store::lock(&mut tx, id).await?;
    application.case_for(by.0.id)?;
    let applicant = accounts::find_account(&mut tx, application.applicant).await?;
    if applicant.is_erased() {
        let gone = Error::Conflict("its applicant was erased, and nothing more is written about them".into());
        return Err(gone.mended_by(page_for(&application, by.0.id), "See the application"));
    }
    let comment = Comment::new(by.0.id, lane, Kind::Comment, said(body)?, now);
    add(&mut tx, &application, &comment).await?;
    if lane == Lane::Shared {
        tell(&mut tx, portal, &applicant, &application, "A reviewer", &format!("/applications/{id}"), now).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The access that an application led to, while somebody has stopped it: its holder has something to say, and somebody to say it to.
pub(super) fn stopped<'a>(application: &Application, grants: &'a [HeldGrant], now: Timestamp) -> Option<&'a HeldGrant> {
    let is_stopped = |held: &&HeldGrant| held.grant.standing(now).is_running() && held.grant.stopped().is_some();
    grants.iter().filter(|held| held.application == Some(application.id)).find(is_stopped)
}

/// Whether the applicant may write to the reviewers.
pub(super) fn may_write(application: &Application, grants: &[HeldGrant], now: Timestamp) -> bool {
    let waits = matches!(application.state, State::Submitted(_) | State::ChangesRequested { .. });
    waits || stopped(application, grants, now).is_some()
}

/// Who hears of what an applicant writes: whoever stopped their access, or the reviewer who claimed the application, or everybody who may.
async fn readers(tx: &mut PgConnection, application: &Application, stopped: Option<&HeldGrant>) -> Result<Vec<Account>, Error> {
    let Some(sent) = application.state.sent() else { return Ok(vec![]) };
    let mut reviewers = accounts::reviewers(tx).await?;
    let seen_to = match stopped.and_then(|held| held.grant.stopped()) {
        Some(note) => note.by.filter(|by| reviewers.iter().any(|reviewer| reviewer.id == *by)),
        None => sent.claim.map(|claim| claim.by),
    };
    if let Some(by) = seen_to {
        return Ok(vec![accounts::find_account(tx, by).await?]);
    }
    let against = sent.appeal.as_ref().map(|appeal| appeal.against);
    reviewers.retain(|reviewer| reviewer.id != application.applicant && Some(reviewer.id) != against);
    Ok(reviewers)
}

fn said(body: &str) -> Result<String, FieldError> {
    let body = words("text", body)?;
    if body.is_empty() { Err(FieldError::new("text", "write something first")) } else { Ok(body) }
}

/// Adds a comment, on the record; says which access of its applicant is stopped, where the two sides may write for that alone.
async fn add(tx: &mut PgConnection, application: &Application, comment: &Comment) -> Result<Option<HeldGrant>, Error> {
    let grants = match application.state {
        State::Approved { .. } => held::grants_of(tx, application.applicant).await?,
        _ => vec![],
    };
    match (&application.state, comment.lane) {
        (_, Lane::Internal) => {}
        _ if may_write(application, &grants, comment.at) => {}
        (State::Draft, Lane::Shared) => {
            let unsent = Error::Conflict("this application has not been sent yet; send it first".into());
            return Err(unsent.mended_by(format!("/applications/{}", application.id), "See your application"));
        }
        _ => {
            let closed = Error::Conflict("this application is closed; nothing was written".into());
            return Err(closed.mended_by(page_for(application, comment.author), "See how it ended"));
        }
    }
    if store::count_comments(tx, application.id).await? >= COMMENTS_MAX {
        let full = format!("this application has {COMMENTS_MAX} comments, and no more fit; it is time to decide it");
        return Err(Error::Conflict(full.into()).mended_by(page_for(application, comment.author), "Go to the application"));
    }
    store::insert_comment(tx, application.id, comment).await?;
    let event = match comment.lane {
        Lane::Shared => Event::CommentWritten { application: application.id },
        Lane::Internal => Event::NoteWritten { application: application.id },
    };
    audit::record(tx, comment.at, Some(comment.author), &event).await?;
    Ok(stopped(application, &grants, comment.at).cloned())
}

/// The page on which its applicant, or a reviewer, sees an application.
fn page_for(application: &Application, reader: AccountId) -> String {
    let room = if application.applicant == reader { "applications" } else { "review" };
    format!("/{room}/{}", application.id)
}

async fn tell(
    tx: &mut PgConnection,
    portal: &Portal,
    reader: &Account,
    application: &Application,
    author: &str,
    path: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let model = catalog::find_model_by_id(tx, application.model).await?;
    let message = Message::CommentWritten {
        to: reader.email.to_string(),
        name: reader.name.clone(),
        author: author.to_owned(),
        model: model.full_name(),
        link: portal.config.url_of(path),
    };
    mail::enqueue(tx, now, &message).await
}
