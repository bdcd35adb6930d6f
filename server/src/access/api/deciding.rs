//! What a reviewer does with a case. Each answers with the case as it is then.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::checklist::POINTS;
use super::super::scope::GrantScope;
use super::super::{answers_view, application, forms, review, store, thread};
use super::desk::{Case, read};
use crate::accounts::{Reviewer, ReviewingProgram};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::api::{Body, NotDone, answer};
use crate::http::when;
use crate::ids::ApplicationId;
use crate::mail::Message;
use crate::portal::Portal;

/// What was seen.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 3 }))]
pub(super) struct Seen {
    /// The version that was seen; if the case has changed since, nothing is done (`stale`).
    version: Option<i64>,
}

/// Take a case on
///
/// Or over from whoever sees to it.
#[utoipa::path(post, path = "/api/v1/review/{id}/claim", operation_id = "claim_case", tag = "review",
    params(("id" = String, Path, description = "The application's id.")), request_body = Seen,
    responses((status = 200, body = Case), NotDone), security(("token" = ["review"])))]
pub(super) async fn claim(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Seen>,
) -> Result<HttpResponse, Error> {
    review::claim(&portal, &by, *id, sent.version).await?;
    case(&portal, &by, *id).await
}

/// Give a case back to everybody
#[utoipa::path(post, path = "/api/v1/review/{id}/release", operation_id = "release_case", tag = "review",
    params(("id" = String, Path, description = "The application's id.")), request_body = Seen,
    responses((status = 200, body = Case), NotDone), security(("token" = ["review"])))]
pub(super) async fn release(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Seen>,
) -> Result<HttpResponse, Error> {
    review::release(&portal, &by, *id, sent.version).await?;
    case(&portal, &by, *id).await
}

/// What is written.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "lane": "internal", "text": "Known to us from the workshop." }))]
pub(super) struct Remark {
    /// `shared` with the applicant, or `internal` to reviewers.
    lane: String,
    /// The words.
    text: String,
}

/// Write to the applicant, or to the other reviewers
#[utoipa::path(post, path = "/api/v1/review/{id}/comment", operation_id = "comment_case", tag = "review",
    params(("id" = String, Path, description = "The application's id.")), request_body = Remark,
    responses((status = 200, body = Case), NotDone), security(("token" = ["review"])))]
pub(super) async fn comment(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Remark>,
) -> Result<HttpResponse, Error> {
    thread::answer(&portal, &by, *id, sent.lane.parse()?, &sent.text).await?;
    case(&portal, &by, *id).await
}

/// What was made sure of.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 3, "points": ["identity", "purpose"] }))]
pub(super) struct Checked {
    /// The version that was seen.
    version: Option<i64>,
    /// Every point that is ticked: `identity`, `purpose`, `licence`, `safeguards`.
    points: Vec<String>,
}

/// Keep the checklist
///
/// While the application waits. Who ticked what goes on the record.
#[utoipa::path(put, path = "/api/v1/review/{id}/check", operation_id = "check_case", tag = "review",
    params(("id" = String, Path, description = "The application's id.")), request_body = Checked,
    responses((status = 200, body = Case), NotDone), security(("token" = ["review"])))]
pub(super) async fn check(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Checked>,
) -> Result<HttpResponse, Error> {
    if let Some(unknown) = sent.points.iter().find(|point| POINTS.iter().all(|known| known.name != *point)) {
        return Err(FieldError::new("points", format!("{unknown} is none of the checklist's")).into());
    }
    let ticked: Vec<String> = POINTS.iter().map(|point| point.name.to_owned()).filter(|name| sent.points.contains(name)).collect();
    review::check(&portal, &by, *id, sent.version, ticked).await?;
    case(&portal, &by, *id).await
}

fn seen(version: Option<i64>, comments: Option<i64>) -> review::Seen {
    review::Seen { version, comments }
}

/// What is to be changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 3, "comments": 2, "text": "Which data will you use?", "fields": ["summary"] }))]
pub(super) struct Wanted {
    /// The version that was seen.
    version: Option<i64>,
    /// How many entries of the thread were seen; if somebody else has written since, nothing is done (`stale`).
    comments: Option<i64>,
    /// In words.
    text: String,
    /// The names of the questions that are meant.
    #[serde(default)]
    fields: Vec<String>,
}

/// Ask for changes
///
/// The applicant gets a mail, and keeps the place in the queue.
#[utoipa::path(post, path = "/api/v1/review/{id}/changes", operation_id = "request_changes", tag = "review",
    params(("id" = String, Path, description = "The application's id.")), request_body = Wanted,
    responses((status = 200, body = Case), NotDone), security(("token" = ["review"])))]
pub(super) async fn changes(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Wanted>,
) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let application = store::find(&mut db, *id).await?;
    application.case_for(by.0.id)?;
    let known = answers_view::known(&forms::of(&mut db, &application).await?, &sent.fields);
    drop(db);
    if known.len() != sent.fields.len() {
        return Err(FieldError::new("fields", "names what the form does not ask").into());
    }
    review::request_changes(&portal, &by, *id, seen(sent.version, sent.comments), &sent.text, known).await?;
    case(&portal, &by, *id).await
}

/// A yes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 3, "comments": 2, "until": "2026-12-31", "scopes": ["download", "api"], "note": "Welcome." }))]
pub(super) struct Approval {
    /// The version that was seen.
    version: Option<i64>,
    /// How many entries of the thread were seen; if somebody else has written since, nothing is done (`stale`).
    comments: Option<i64>,
    /// The last day on which access holds (UTC), a year away at most. The holder gets a mail 60, 30, 7 and 1 days before, but none in the
    /// first half of the time.
    until: String,
    /// What access is for, of `download`, `playground` and `api`; all of them unless said.
    scopes: Option<Vec<String>>,
    /// What the applicant reads besides.
    #[serde(default)]
    note: String,
}

impl Approval {
    /// The end and the uses it names. Errors: every fault in them.
    fn checked(&self) -> Result<(Timestamp, Vec<GrantScope>), Error> {
        match (when::last_moment_of("until", &self.until), GrantScope::chosen(self.scopes.as_deref())) {
            (Ok(until), Ok(scopes)) => Ok((until, scopes)),
            (until, scopes) => Err(Error::Invalid([until.err(), scopes.err()].into_iter().flatten().collect())),
        }
    }
}

/// Approve
///
/// Access holds at once. The mail leaves after ten minutes; until then the decision can be taken back.
#[utoipa::path(post, path = "/api/v1/review/{id}/approve", operation_id = "approve_case", tag = "review",
    params(("id" = String, Path, description = "The application's id.")), request_body = Approval,
    responses((status = 200, body = Case), NotDone), security(("token" = ["review"])))]
pub(super) async fn approve(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Approval>,
) -> Result<HttpResponse, Error> {
    let (until, scopes) = sent.checked()?;
    review::approve(
        &portal,
        &by,
        *id,
        seen(sent.version, sent.comments),
        application::Approval { until, scopes: &scopes, note: &sent.note },
    )
    .await?;
    case(&portal, &by, *id).await
}

/// A mail that has not left.
#[derive(Serialize, ToSchema)]
struct MailShown {
    /// The address it would go to.
    to: String,
    /// Its subject.
    subject: String,
    /// Its text.
    body: String,
}

fn shown(message: &Message) -> Result<HttpResponse, Error> {
    Ok(answer(&MailShown { to: message.recipient().to_owned(), subject: message.subject(), body: message.body()? }))
}

/// Read the mail that an approval would send
///
/// Takes what the approval takes, and decides nothing.
#[utoipa::path(post, path = "/api/v1/review/{id}/approve/preview", operation_id = "preview_approval", tag = "review",
    params(("id" = String, Path, description = "The application's id.")), request_body = Approval,
    responses((status = 200, body = MailShown), NotDone), security(("token" = ["review"])))]
pub(super) async fn preview_approval(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Approval>,
) -> Result<HttpResponse, Error> {
    let (until, scopes) = sent.checked()?;
    let (seen, approval) = (seen(sent.version, sent.comments), application::Approval { until, scopes: &scopes, note: &sent.note });
    shown(&review::approval_mail(&portal, &by, *id, seen, approval).await?)
}

/// A no.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 3, "comments": 2, "reason": "purpose_unclear", "text": "What will the model tell you?" }))]
pub(super) struct Refusal {
    /// The version that was seen.
    version: Option<i64>,
    /// How many entries of the thread were seen; if somebody else has written since, nothing is done (`stale`).
    comments: Option<i64>,
    /// `purpose_unclear`, `identity_not_verifiable`, `safeguards_insufficient`, `commercial_use`, `prohibited_use`, `jurisdiction`,
    /// `duplicate` or `other`.
    reason: String,
    /// What stood in the way, in words that the applicant reads.
    text: String,
}

/// Decline
///
/// The mail leaves after ten minutes; until then the decision can be taken back.
#[utoipa::path(post, path = "/api/v1/review/{id}/decline", operation_id = "decline_case", tag = "review",
    params(("id" = String, Path, description = "The application's id.")), request_body = Refusal,
    responses((status = 200, body = Case), NotDone), security(("token" = ["review"])))]
pub(super) async fn decline(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Refusal>,
) -> Result<HttpResponse, Error> {
    review::decline(&portal, &by, *id, seen(sent.version, sent.comments), sent.reason.parse()?, &sent.text).await?;
    case(&portal, &by, *id).await
}

/// Read the mail that a decline would send
///
/// Takes what the decline takes, and decides nothing.
#[utoipa::path(post, path = "/api/v1/review/{id}/decline/preview", operation_id = "preview_decline", tag = "review",
    params(("id" = String, Path, description = "The application's id.")), request_body = Refusal,
    responses((status = 200, body = MailShown), NotDone), security(("token" = ["review"])))]
pub(super) async fn preview_decline(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Refusal>,
) -> Result<HttpResponse, Error> {
    shown(&review::decline_mail(&portal, &by, *id, sent.reason.parse()?, &sent.text).await?)
}

/// Take a decision back
///
/// Within ten minutes, by whoever decided: no mail has left, and access that was given ends.
#[utoipa::path(post, path = "/api/v1/review/{id}/undo", operation_id = "undo_decision", tag = "review",
    params(("id" = String, Path, description = "The application's id.")), request_body = Seen,
    responses((status = 200, body = Case), NotDone), security(("token" = ["review"])))]
pub(super) async fn undo(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Seen>,
) -> Result<HttpResponse, Error> {
    review::undo(&portal, &by, *id, sent.version).await?;
    case(&portal, &by, *id).await
}

async fn case(portal: &Portal, by: &Reviewer, id: ApplicationId) -> Result<HttpResponse, Error> {
    Ok(answer(&read(portal, by.0.id, id).await?))
}
