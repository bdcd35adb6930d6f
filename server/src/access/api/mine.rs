//! One's own applications.

use std::collections::BTreeMap;

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::application_page::{Step, quicker, steps};
use super::super::apply::cooling;
use super::super::comment::Lane;
use super::super::grant::Standing;
use super::super::people::People;
use super::super::recorded::about;
use super::super::state::State;
use super::super::{apply, case_history, held, store, thread, waits};
use super::grants::{GrantLine, lines};
use super::view::{self, ApplicationLine, RecordedLine, Said, Word, said, typed, word};
use crate::accounts::{self, Account, ApplyingProgram};
use crate::audit;
use crate::catalog;
use crate::error::Error;
use crate::http::api::{Body, Cut, Listed, Moment, NotDone, Nothing, Refused, answer, cursor, limit};
use crate::ids::{AccountId, ApplicationId, ModelId};
use crate::portal::Portal;

/// What stands behind the `?` of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// 1 to 200 items a page; 50 unless said.
    pub(super) limit: Option<i64>,
    /// From the address of the page before.
    pub(super) cursor: Option<String>,
}

/// One's own application, whole.
#[derive(Serialize, ToSchema)]
pub(super) struct OwnApplication {
    /// In short.
    application: ApplicationLine,
    /// The answers by the names of the form's questions, as they were typed.
    answers: BTreeMap<String, String>,
    /// SHA-256 of the form they answer; null before it is sent.
    form_sha256: Option<String>,
    /// SHA-256 of the licence text that was agreed to; null before it is sent.
    licence_sha256: Option<String>,
    /// How many were sent before it and wait still; null unless it waits.
    place: Option<i64>,
    /// Half of the last decisions took no longer than this; null while there are too few, or it does not wait.
    median_wait_s: Option<i64>,
    /// Nine of ten of the last decisions took no longer than this.
    p90_wait_s: Option<i64>,
    /// The decision, or what is asked to be changed.
    word: Option<Word>,
    /// What was written, the oldest first.
    thread: Vec<Said>,
    /// The way so far, where it is, and what comes next.
    timeline: Vec<StepLine>,
    /// What would make a decision quicker, while it waits.
    quicker: Vec<&'static str>,
    /// What you may do with it now.
    may: May,
    /// From when on you may apply again after a decline, where you have to wait.
    again_from: Option<Moment>,
    /// The access that it led to.
    grant: Option<GrantLine>,
    /// What stands on the record about it, the oldest first.
    record: Vec<RecordedLine>,
}

/// One step of the way.
#[derive(Serialize, ToSchema)]
struct StepLine {
    /// What happened, happens or will, in words.
    what: String,
    /// When; null for what has not happened.
    at: Option<Moment>,
    /// `done`, `now` or `next`.
    state: &'static str,
}

impl From<Step> for StepLine {
    fn from(step: Step) -> Self {
        Self { what: step.what, at: step.at.map(Moment), state: step.class }
    }
}

/// What an applicant may do.
#[derive(Serialize, ToSchema)]
struct May {
    /// Change the answers and send them.
    submit: bool,
    /// Write to the reviewers.
    comment: bool,
    /// Take it back.
    withdraw: bool,
    /// Ask for another reviewer.
    appeal: bool,
    /// Apply again, with these answers to begin with.
    apply_again: bool,
}

/// My applications
///
/// The newest first.
#[utoipa::path(get, path = "/api/v1/applications", operation_id = "list_applications", tag = "applications", params(Paging),
    responses((status = 200, body = Listed<ApplicationLine>), Refused), security(("token" = ["apply"])))]
pub(super) async fn list(
    portal: Data<Portal>,
    request: HttpRequest,
    by: ApplyingProgram,
    asked: Query<Paging>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let after = cursor(asked.cursor.as_deref())?;
    let mut db = portal.db.acquire().await?;
    let mut found = store::of_applicant_after(&mut db, by.0.id, after, cut.rows()).await?;
    let next = cut.next(&mut found, |one| one.id);
    let models = catalog::find_models(&mut db, &found.iter().map(|one| one.model).collect::<Vec<ModelId>>()).await?;
    let (now, sent_last) = (portal.clock.now(), store::sent_last(&mut db, &found).await?);
    let line = |one| ApplicationLine::new(one, sent_last.get(&one.id).copied(), &models, now);
    Ok(answer(&Listed { items: found.iter().map(line).collect(), next }))
}

/// One application of mine
///
/// Where it stands, whose turn it is, the place in the queue and the usual wait, the thread and the decision.
#[utoipa::path(get, path = "/api/v1/applications/{id}", operation_id = "get_application", tag = "applications",
    params(("id" = String, Path, description = "The application's id, `app_…`.")),
    responses((status = 200, body = OwnApplication), Refused), security(("token" = ["apply"])))]
pub(super) async fn one(portal: Data<Portal>, by: ApplyingProgram, id: Path<ApplicationId>) -> Result<HttpResponse, Error> {
    Ok(answer(&own(&portal, by.0.id, *id).await?))
}

/// The application as its applicant sees it. Errors: `NotFound` for a foreign one.
pub(super) async fn own(portal: &Portal, reader: AccountId, id: ApplicationId) -> Result<OwnApplication, Error> {
    let mut db = portal.db.acquire().await?;
    let file = store::case_file(&mut db, id).await?;
    let application = &file.application;
    if application.applicant != reader {
        return Err(Error::NotFound("application"));
    }
    let now = portal.clock.now();
    let models = catalog::find_models(&mut db, &[application.model]).await?;
    let mut held = held::grants_of(&mut db, reader).await?;
    held.retain(|held| held.model == application.model);
    let has_access = held.iter().any(|held| held.grant.standing(now) == Standing::Holds);
    held.retain(|held| held.application == Some(id));
    let grant = lines(&mut db, &held, now).await?.into_iter().next();
    let subjects = [id.to_string()].into_iter().chain(held.first().map(|held| held.grant.id.to_string()));
    let record = view::record(&mut db, subjects.collect(), &portal.config).await?;
    let events = audit::page(&mut db, &about(vec![id.to_string()]), case_history::EVENTS_MAX).await?;
    let is_blocked = file.bar.as_ref().is_some_and(|bar| now < bar.until);
    let again_from = cooling(&mut db, application, now).await?;
    let state = &application.state;
    let people = People(accounts::find_accounts(&mut db, &[reader]).await?);
    let is_waiting = matches!(application.state, State::Submitted(_));
    let waits = if is_waiting { waits::waits(&mut db, application).await? } else { None };
    let usual = waits.as_ref().and_then(|waits| waits.usual);
    Ok(OwnApplication {
        application: ApplicationLine::new(application, file.sent_last_at, &models, now),
        answers: typed(&application.answers),
        form_sha256: application.form_sha256.clone(),
        licence_sha256: application.licence_sha256.clone(),
        place: waits.map(|waits| waits.before),
        median_wait_s: usual.map(|(half, _)| half.whole_seconds()),
        p90_wait_s: usual.map(|(_, most)| most.whole_seconds()),
        word: word(&application.state, None),
        thread: file
            .comments
            .iter()
            .filter(|comment| comment.lane == Lane::Shared)
            .map(|comment| said(comment, &people, Some(reader)))
            .collect(),
        timeline: steps(application, &events, now).into_iter().map(StepLine::from).collect(),
        quicker: if is_waiting { quicker(application) } else { vec![] },
        may: May {
            submit: matches!(state, State::Draft | State::ChangesRequested { .. }),
            comment: thread::may_write(application, &held, now),
            withdraw: state.is_open(),
            appeal: application.may_be_appealed(now).is_ok() && !has_access && !is_blocked,
            apply_again: !has_access && !state.is_open() && again_from.is_none() && !is_blocked,
        },
        again_from: again_from.map(Moment),
        grant,
        record,
    })
}

/// Words that are sent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "text": "The weights will lie on the university's cluster." }))]
pub(super) struct Words {
    /// The words, 4,000 characters at most.
    pub(super) text: String,
}

/// Withdraw an application
///
/// Until it is decided. Answers with the application as it is then.
#[utoipa::path(post, path = "/api/v1/applications/{id}/withdraw", operation_id = "withdraw_application", tag = "applications",
    params(("id" = String, Path, description = "The application's id.")), request_body = Nothing,
    responses((status = 200, body = OwnApplication), NotDone), security(("token" = ["apply"])))]
pub(super) async fn withdraw(
    portal: Data<Portal>,
    ApplyingProgram(by): ApplyingProgram,
    id: Path<ApplicationId>,
    _: Body<Nothing>,
) -> Result<HttpResponse, Error> {
    apply::withdraw(&portal, by.id, *id).await?;
    told(&portal, &by, *id).await
}

/// Write to the reviewers
///
/// While the application is open.
#[utoipa::path(post, path = "/api/v1/applications/{id}/comment", operation_id = "comment_application", tag = "applications",
    params(("id" = String, Path, description = "The application's id.")), request_body = Words,
    responses((status = 200, body = OwnApplication), NotDone), security(("token" = ["apply"])))]
pub(super) async fn comment(
    portal: Data<Portal>,
    ApplyingProgram(by): ApplyingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Words>,
) -> Result<HttpResponse, Error> {
    thread::write(&portal, &by, *id, &sent.text).await?;
    told(&portal, &by, *id).await
}

/// Appeal against a decline
///
/// Once, within 30 days; another reviewer decides.
#[utoipa::path(post, path = "/api/v1/applications/{id}/appeal", operation_id = "appeal_application", tag = "applications",
    params(("id" = String, Path, description = "The application's id.")), request_body = Words,
    responses((status = 200, body = OwnApplication), NotDone), security(("token" = ["apply"])))]
pub(super) async fn appeal(
    portal: Data<Portal>,
    ApplyingProgram(by): ApplyingProgram,
    id: Path<ApplicationId>,
    Body(sent): Body<Words>,
) -> Result<HttpResponse, Error> {
    apply::appeal(&portal, &by, *id, &sent.text).await?;
    told(&portal, &by, *id).await
}

async fn told(portal: &Portal, by: &Account, id: ApplicationId) -> Result<HttpResponse, Error> {
    Ok(answer(&own(portal, by.id, id).await?))
}
