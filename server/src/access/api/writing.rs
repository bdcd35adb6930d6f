//! Filling in a model's form: what is asked, keeping a draft, sending it.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::answers::Answers;
use super::super::apply::{self, Opening, Prefill, Sent};
use super::super::form::{FORM_SHOWN, Form, LICENCE_SHOWN, Layout};
use super::super::forms;
use super::mine::{OwnApplication, own};
use super::view::typed;
use crate::accounts::ApplyingProgram;
use crate::catalog::{self, Model};
use crate::error::{Error, FieldError};
use crate::http::api::{Body, Moment, NotDone, Refused, answer};
use crate::ids::ApplicationId;
use crate::portal::Portal;

/// A model's name, in two parts.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Names {
    /// Who offers it.
    pub(super) org: String,
    /// Its name.
    pub(super) name: String,
}

/// What is asked of whoever applies, and how they stand.
#[derive(Serialize, ToSchema)]
pub(super) struct FormTold {
    /// Whether there is something to fill in now: `write`, or why not: `not_needed`, `granted`, `stopped` (there is access, and
    /// it does not hold now: the model says why), `waiting`, `declined`.
    #[schema(example = "write")]
    now: &'static str,
    /// The application that waits, was sent back or was declined.
    application: Option<ApplicationId>,
    /// From when on one may apply again after a decline.
    again_from: Option<Moment>,
    /// The version of the draft; send it when you save.
    version: Option<i64>,
    /// The questions, and the clauses to be answered `on` by their `field`.
    form: Layout,
    /// The answers that are there: a draft's, or those of the last application. They name the form (`form_shown`) and the licence text
    /// (`licence_shown`) that are in force now.
    answers: BTreeMap<String, String>,
    /// What was answered on the form before, and has no place on this one.
    left_over: Vec<LeftOver>,
}

/// An answer to what is not asked any more.
#[derive(Serialize, ToSchema)]
struct LeftOver {
    /// What was asked.
    question: String,
    /// The lines of the answer.
    lines: Vec<String>,
}

/// The answers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 3, "answers": {
    "title": "Negation in language models", "months": "6", "uses_evaluation": "on", "agree_adult": "on",
    "form_shown": "89296edb…", "licence_shown": "7f83b165…" } }))]
pub(super) struct Filled {
    /// By the names that the form gives them: text as text, boxes and clauses as `on`, with `form_shown` and `licence_shown` as the
    /// form's answers have them.
    answers: BTreeMap<String, String>,
    /// The version that was seen; without one, what another window saved is written over.
    version: Option<i64>,
}

/// A model's form
///
/// The questions, the clauses to agree to, and the answers there are. Fill them in, and send them all back.
#[utoipa::path(get, path = "/api/v1/models/{org}/{name}/form", operation_id = "get_form", tag = "applications", params(Names),
    responses((status = 200, body = FormTold), Refused), security(("token" = ["apply"])))]
pub(super) async fn form(portal: Data<Portal>, by: ApplyingProgram, names: Path<Names>) -> Result<HttpResponse, Error> {
    let model = model_of(&portal, &names).await?;
    let told = |now, application, again_from| (now, application, again_from, Prefill::default());
    let (now, application, again_from, prefill) = match apply::open(&portal, by.0.id, &model).await? {
        Opening::NotNeeded => told("not_needed", None, None),
        Opening::Granted(_) => told("granted", None, None),
        Opening::Stopped(_) => told("stopped", None, None),
        Opening::Waiting(id) => told("waiting", Some(id), None),
        Opening::Declined { id, from, may_appeal: _ } => told("declined", Some(id), Some(Moment(from))),
        Opening::Form(prefill) => ("write", prefill.changes.as_ref().map(|(id, _)| *id), None, prefill),
    };
    let version = prefill.version;
    let mut db = portal.db.acquire().await?;
    let filled = forms::fill(&mut db, model.id, prefill.form_sha256.as_deref(), prefill.answers).await?;
    let mut answers = typed(&filled.answers);
    answers.insert(FORM_SHOWN.into(), filled.form.sha256().to_owned());
    answers.insert(LICENCE_SHOWN.into(), model.licence_sha256.clone().unwrap_or_default());
    let left_over = filled.left_over.into_iter().map(|one| LeftOver { question: one.label, lines: one.lines }).collect();
    Ok(answer(&FormTold { now, application, again_from, version, form: filled.form.layout().clone(), answers, left_over }))
}

/// Save a draft
///
/// Complete or not. It is yours alone until you send it; while changes are asked for, it keeps how far you have come.
#[utoipa::path(put, path = "/api/v1/models/{org}/{name}/application", operation_id = "save_draft", tag = "applications", params(Names),
    request_body = Filled, responses((status = 200, body = OwnApplication), NotDone), security(("token" = ["apply"])))]
pub(super) async fn save(
    portal: Data<Portal>,
    ApplyingProgram(by): ApplyingProgram,
    names: Path<Names>,
    Body(sent): Body<Filled>,
) -> Result<HttpResponse, Error> {
    let model = model_of(&portal, &names).await?;
    let answers = read(&portal, &model, sent.answers).await?;
    let draft = apply::save_draft(&portal, &by, &model, answers, sent.version).await?;
    Ok(answer(&own(&portal, by.id, draft.id).await?))
}

/// Apply
///
/// Sends the answers, the first time or again after changes were asked for. What cannot be accepted is kept as a draft, and every fault
/// is told by its field. Sent twice, it is one application.
#[utoipa::path(post, path = "/api/v1/models/{org}/{name}/application", operation_id = "apply", tag = "applications", params(Names),
    request_body = Filled, responses((status = 200, body = OwnApplication), NotDone), security(("token" = ["apply"])))]
pub(super) async fn submit(
    portal: Data<Portal>,
    ApplyingProgram(by): ApplyingProgram,
    names: Path<Names>,
    Body(sent): Body<Filled>,
) -> Result<HttpResponse, Error> {
    let model = model_of(&portal, &names).await?;
    let answers = read(&portal, &model, sent.answers).await?;
    let (Sent::Fresh(id) | Sent::Again(id) | Sent::Already(id)) = apply::submit(&portal, &by, &model, answers, sent.version).await?;
    Ok(answer(&own(&portal, by.id, id).await?))
}

async fn model_of(portal: &Portal, names: &Names) -> Result<Model, Error> {
    catalog::find_model(&mut *portal.db.acquire().await?, &names.org, &names.name).await?.ok_or(Error::NotFound("model"))
}

/// The answers by the form they name. Errors: `Invalid` for a name that the form does not ask, which a page cannot send, and where no form
/// is named although the model has one of its own.
async fn read(portal: &Portal, model: &Model, sent: BTreeMap<String, String>) -> Result<Answers, Error> {
    let mut db = portal.db.acquire().await?;
    let form = match sent.get(FORM_SHOWN) {
        Some(name) => forms::named(&mut db, name).await?,
        None if forms::current(&mut db, model.id).await?.sha256() == Form::built_in().sha256() => Some(Form::built_in().clone()),
        None => return Err(FieldError::new(FORM_SHOWN, "is missing: send it as the answers of the model's form have it").into()),
    };
    let unknown = |name: &&String| form.as_ref().is_some_and(|form| !form.knows(name));
    let faults: Vec<FieldError> =
        sent.keys().filter(unknown).map(|name| FieldError::new(name.clone(), "is none of the form's questions")).collect();
    if faults.is_empty() { forms::read(&mut db, sent.into_iter().collect()).await } else { Err(Error::Invalid(faults)) }
}
