//! What a reviewer does with a case: each form of its page, with the page again where a form came back with a fault.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};

use super::application::{Approval, seen_version};
use super::case_page::{Panel, Preview, case_page};
use super::decline::DeclineReason;
use super::grant::Grant;
use super::scope::GrantScope;
use super::{answers_view, checklist, forms, review, revoke as revoking, store, thread};
use crate::accounts::{self, Reviewer};
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_in_conflict, page_with_faults};
use crate::http::problem::sentence;
use crate::http::{self, Frame, see_other, when};
use crate::ids::{ApplicationId, GrantId};
use crate::mail::Message;
use crate::portal::Portal;

/// The same page with what was typed: with the faults of one of its forms, or as it is now where it is not as it was seen. Else the error
/// itself.
async fn came_back(
    portal: &Portal,
    frame: Frame,
    by: &Reviewer,
    id: ApplicationId,
    panel: Panel,
    form: &'static str,
    error: Error,
) -> Result<HttpResponse, Error> {
    match error {
        Error::Invalid(faults) => page_with_faults(&case_page(portal, frame, by, id, panel.with(form, faults), None).await?),
        Error::Stale(why) | Error::Conflict(why) => {
            let panel = Panel { refused: Some(sentence(&why)), ..panel.with(form, vec![]) };
            page_in_conflict(&case_page(portal, frame, by, id, panel, None).await?)
        }
        other => Err(other),
    }
}

/// What a field of a posted form says; nothing where it has no such field.
fn value<'a>(posted: &'a [(String, String)], field: &str) -> &'a str {
    posted.iter().find(|(name, _)| name == field).map_or("", |(_, value)| value)
}

/// What a posted form of a decision says that was seen.
fn seen_of(posted: &[(String, String)]) -> review::Seen {
    review::Seen { version: seen_version(value(posted, "version")), comments: seen_version(value(posted, "comments")) }
}

/// Whoever acts says which version they saw.
#[derive(serde::Deserialize)]
pub(super) struct Seen {
    version: Option<i64>,
}

/// Notes that a reviewer still has the case on the screen, and tells the page's script who else does and how the case stands.
pub(super) async fn seen(portal: Data<Portal>, by: Reviewer, id: Path<ApplicationId>, _: http::Form<Seen>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let application = store::find(&mut db, *id).await?;
    application.case_for(by.0.id)?;
    let looking = portal.cases_seen.look(*id, by.0.id, portal.clock.now());
    let people = accounts::find_accounts(&mut db, &looking).await?;
    let names: Vec<String> = people.into_iter().map(|account| account.name).collect();
    let comments = store::count_comments(&mut db, *id).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "others": names, "version": application.version, "comments": comments })))
}

pub(super) async fn claim(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(sent): http::Form<Seen>,
) -> Result<HttpResponse, Error> {
    match review::claim(&portal, &by, *id, sent.version).await {
        Ok(()) => Ok(see_other(&format!("/review/{id}"), Some("Claimed. Other reviewers can see that you have it."))),
        Err(error) => came_back(&portal, frame, &by, *id, Panel::default(), "claim", error).await,
    }
}

pub(super) async fn release(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(sent): http::Form<Seen>,
) -> Result<HttpResponse, Error> {
    match review::release(&portal, &by, *id, sent.version).await {
        Ok(()) => Ok(see_other(&format!("/review/{id}"), Some("Released. Any reviewer can claim it."))),
        Err(error) => came_back(&portal, frame, &by, *id, Panel::default(), "release", error).await,
    }
}

pub(super) async fn check(
    portal: Data<Portal>,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(posted): http::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    review::check(&portal, &by, *id, seen_version(value(&posted, "version")), checklist::ticked(&posted)).await?;
    Ok(see_other(&format!("/review/{id}"), Some("Checklist saved.")))
}

#[derive(serde::Deserialize)]
pub(super) struct Words {
    lane: String,
    #[serde(default)]
    text: String,
}

pub(super) async fn comment(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(sent): http::Form<Words>,
) -> Result<HttpResponse, Error> {
    let written = match sent.lane.parse() {
        Ok(lane) => thread::answer(&portal, &by, *id, lane, &sent.text).await,
        Err(fault) => Err(FieldError::into(fault)),
    };
    match written {
        Ok(()) => Ok(see_other(&format!("/review/{id}#thread-title"), Some("Comment posted."))),
        Err(error) => came_back(&portal, frame, &by, *id, Panel { comment: sent.text, ..Panel::default() }, "comment", error).await,
    }
}

/// A request for changes: the words, and a box for each question that is meant.
pub(super) async fn changes(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(posted): http::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let fields: Vec<String> = posted.iter().filter_map(|(name, _)| name.strip_prefix("field_")).map(str::to_owned).collect();
    let mut db = portal.db.acquire().await?;
    let application = store::find(&mut db, *id).await?;
    let known = answers_view::known(&forms::of(&mut db, &application).await?, &fields);
    drop(db);
    match review::request_changes(&portal, &by, *id, seen_of(&posted), value(&posted, "text"), known.clone()).await {
        Ok(()) => Ok(see_other(
            &format!("/review/{id}"),
            Some("Sent back. The applicant gets a mail with your message and keeps their place in the queue."),
        )),
        Err(error) => {
            let panel = Panel { changes: value(&posted, "text").to_owned(), fields: known, ..Panel::default() };
            came_back(&portal, frame, &by, *id, panel, "changes", error).await
        }
    }
}

/// What came of the form of an approval.
enum Done {
    Previewed(Message),
    Approved(Grant),
}

pub(super) async fn approve(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(posted): http::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let note = value(&posted, "note");
    let (until, scopes) = (when::last_moment_of("until", value(&posted, "until")), GrantScope::posted(&posted));
    let panel = Panel {
        until: value(&posted, "until").to_owned(),
        scopes: scopes.clone().unwrap_or_default(),
        note: note.to_owned(),
        form: "approve",
        ..Panel::default()
    };
    let wants_preview = !value(&posted, "preview").is_empty();
    let done = match (until, &scopes) {
        (Ok(until), Ok(scopes)) if wants_preview => {
            review::approval_mail(&portal, &by, *id, seen_of(&posted), Approval { until, scopes, note }).await.map(Done::Previewed)
        }
        (Ok(until), Ok(scopes)) => {
            review::approve(&portal, &by, *id, seen_of(&posted), Approval { until, scopes, note }).await.map(Done::Approved)
        }
        (until, scopes) => Err(Error::Invalid([until.err(), scopes.clone().err()].into_iter().flatten().collect())),
    };
    match done {
        Ok(Done::Previewed(mail)) => page(&case_page(&portal, frame, &by, *id, panel, Some(Preview::of(&mail)?)).await?),
        Ok(Done::Approved(grant)) => Ok(see_other(
            &format!("/review/{id}"),
            Some(&format!(
                "Approved until {}. The mail is sent in ten minutes; until then you can take this back.",
                when::day(grant.expires_at)
            )),
        )),
        Err(error) => came_back(&portal, frame, &by, *id, panel, "approve", error).await,
    }
}

pub(super) async fn decline(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(posted): http::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let (reason, text) = (value(&posted, "reason").parse::<DeclineReason>(), value(&posted, "text"));
    // Where nothing was written the page comes back with words to begin with.
    let brought = reason.as_ref().ok().filter(|_| text.trim().is_empty()).map_or(text, |reason| reason.words());
    let panel = Panel { reason: value(&posted, "reason").to_owned(), text: brought.to_owned(), form: "decline", ..Panel::default() };
    let wants_preview = !value(&posted, "preview").is_empty();
    let done = match reason {
        Ok(reason) if wants_preview => review::decline_mail(&portal, &by, *id, reason, text).await.map(Some),
        Ok(reason) => review::decline(&portal, &by, *id, seen_of(&posted), reason, text).await.map(|()| None),
        Err(fault) => Err(Error::from(fault)),
    };
    match done {
        Ok(Some(mail)) => page(&case_page(&portal, frame, &by, *id, panel, Some(Preview::of(&mail)?)).await?),
        Ok(None) => Ok(see_other(
            &format!("/review/{id}"),
            Some("Declined. The mail with the reason and your message is sent in ten minutes; until then you can take this back."),
        )),
        Err(error) => came_back(&portal, frame, &by, *id, panel, "decline", error).await,
    }
}

pub(super) async fn undo(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(sent): http::Form<Seen>,
) -> Result<HttpResponse, Error> {
    match review::undo(&portal, &by, *id, sent.version).await {
        Ok(()) => Ok(see_other(
            &format!("/review/{id}"),
            Some("Taken back. No mail was sent, and the application is waiting again, claimed by you."),
        )),
        Err(error) => came_back(&portal, frame, &by, *id, Panel::default(), "undo", error).await,
    }
}

#[derive(serde::Deserialize)]
pub(super) struct Revocation {
    grant: GrantId,
    #[serde(default)]
    reason: String,
}

pub(super) async fn revoke(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(sent): http::Form<Revocation>,
) -> Result<HttpResponse, Error> {
    match revoking::revoke(&portal, Some(by.0.id), sent.grant, &sent.reason).await {
        Ok(revoked) => Ok(see_other(&format!("/review/{id}"), Some(revoked.told()))),
        Err(error) => came_back(&portal, frame, &by, *id, Panel { revoke_reason: sent.reason, ..Panel::default() }, "revoke", error).await,
    }
}
