//! A model's form for programs: what is asked, the draft of the next form, and publishing it.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::super::form::{Form, Layout};
use super::super::people::People;
use super::super::store::{self, FormWork};
use super::super::{consent, form_rules};
use super::compare::{Change, Detail};
use super::json::JSON_FORM_BYTES_MAX;
use super::{draft, publish as publishing};
use crate::accounts::{self, Account, AdministeringProgram, Person};
use crate::catalog;
use crate::error::Error;
use crate::http::api::{Body, Moment, NotDone, Refused, answer};
use crate::ids::{AccountId, ApplicationId, ModelId};
use crate::portal::Portal;

/// A model's form.
#[derive(Serialize, ToSchema)]
struct FormState {
    /// `org/name`.
    model: String,
    /// The version in force; 0 for the form that comes with the portal.
    version: i32,
    /// Its name: SHA-256 of its canonical JSON.
    sha256: String,
    /// What is asked now.
    form: Layout,
    /// What will be asked when it is published; null where nobody has begun a draft.
    draft: Option<FormDraft>,
    /// Every form that was published, the newest first, and the one that comes with the portal.
    versions: Vec<FormVersionLine>,
}

/// The draft of a model's next form.
#[derive(Serialize, ToSchema)]
struct FormDraft {
    /// Another number after every change: send it when you change, publish or discard the draft.
    edition: i64,
    /// What it asks; it may break rules.
    form: Layout,
    /// What stands in the way of publishing it.
    faults: Vec<FormFault>,
    /// When it was changed last.
    updated_at: Moment,
    /// By whom.
    updated_by: String,
}

/// A rule that a form breaks.
#[derive(Serialize, ToSchema)]
struct FormFault {
    /// Where: `the form`, or a section, question or clause by its name.
    #[schema(example = "question title")]
    place: String,
    /// Which part of it, and what would be right.
    message: String,
}

/// A form that was published.
#[derive(Serialize, ToSchema)]
struct FormVersionLine {
    /// One for the first, and so on; 0 for the form that comes with the portal.
    version: i32,
    /// Its name.
    sha256: String,
    /// When it was published; null for 0.
    since: Option<Moment>,
    /// By whom; null for 0.
    by: Option<String>,
}

fn faults(layout: &Layout) -> Vec<FormFault> {
    let told =
        |fault: form_rules::Fault| FormFault { place: fault.place.to_string(), message: format!("{} {}", fault.part, fault.message) };
    form_rules::faults(layout).into_iter().map(told).collect()
}

async fn read(db: &mut PgConnection, id: ModelId) -> Result<FormState, Error> {
    let model = catalog::find_model_by_id(db, id).await?;
    let versions = store::form_versions(db, id).await?;
    let FormWork { draft, asked } = store::form_work(db, id).await?;
    let who = versions.iter().map(|version| version.published_by).chain(draft.as_ref().map(|draft| draft.updated_by));
    let people = People(accounts::find_accounts(db, &who.collect::<Vec<AccountId>>()).await?);
    let current = asked.map_or_else(|| Form::built_in().clone(), |(_, form)| form);
    let first = FormVersionLine { version: 0, sha256: Form::built_in().sha256().to_owned(), since: None, by: None };
    let lines = versions.iter().map(|version| FormVersionLine {
        version: version.version,
        sha256: version.form_sha256.clone(),
        since: Some(version.since.into()),
        by: Some(people.name(version.published_by)),
    });
    Ok(FormState {
        model: model.full_name(),
        version: versions.first().map_or(0, |version| version.version),
        sha256: current.sha256().to_owned(),
        form: current.layout().clone(),
        draft: draft.map(|draft| FormDraft {
            edition: draft.edition,
            faults: faults(&draft.layout),
            form: draft.layout,
            updated_at: draft.updated_at.into(),
            updated_by: people.name(draft.updated_by),
        }),
        versions: lines.chain([first]).collect(),
    })
}

/// A model's form, as its editor sees it
///
/// What is asked now, the draft of the next form, and every form before.
#[utoipa::path(get, path = "/api/v1/admin/models/{id}/form", operation_id = "get_form_draft", tag = "rules",
    params(("id" = String, Path, description = "The model's id, `model_…`.")),
    responses((status = 200, body = FormState), Refused), security(("token" = ["admin"])))]
pub(in super::super) async fn form(portal: Data<Portal>, _: AdministeringProgram, id: Path<ModelId>) -> Result<HttpResponse, Error> {
    Ok(answer(&read(&mut *portal.db.acquire().await?, *id).await?))
}

/// One form.
#[derive(Serialize, ToSchema)]
struct FormOfVersion {
    /// Its version.
    version: i32,
    /// Its name.
    sha256: String,
    /// What it asks.
    form: Layout,
}

/// A form of before
///
/// By its version; 0 is the form that comes with the portal. It can be put in place of the draft.
#[utoipa::path(get, path = "/api/v1/admin/models/{id}/form/versions/{version}", operation_id = "get_form_version", tag = "rules",
    params(("id" = String, Path, description = "The model's id."), ("version" = i32, Path, description = "The version.")),
    responses((status = 200, body = FormOfVersion), Refused), security(("token" = ["admin"])))]
pub(in super::super) async fn version(
    portal: Data<Portal>,
    _: AdministeringProgram,
    path: Path<(ModelId, i32)>,
) -> Result<HttpResponse, Error> {
    let (id, version) = path.into_inner();
    let mut db = portal.db.acquire().await?;
    catalog::find_model_by_id(&mut db, id).await?;
    let form = draft::published(&mut db, id, version).await?;
    Ok(answer(&FormOfVersion { version, sha256: form.sha256().to_owned(), form: form.layout().clone() }))
}

/// A whole form.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "edition": 3, "form": {
    "sections": [{ "id": "project", "title": "Your project", "intro": "", "fields": [
        { "name": "title", "label": "Title", "hint": "", "need": "always", "kind": { "line": { "chars_max": 200 } } },
        { "name": "months", "label": "For how long", "hint": "", "need": "always", "kind": "months" }] }],
    "clauses": [{ "id": "2a-i", "field": "agree_no_harm", "source": "licence", "wording": "I will harm nobody." }] } }))]
pub(in super::super) struct FormWanted {
    /// The edition of the draft that was seen; without one you saw no draft, and begin it.
    edition: Option<i64>,
    /// What is to be asked. Rules that it breaks stand in the way of publishing it, not of keeping it: the answer's `faults` name them.
    form: Layout,
}

/// Write a model's next form
///
/// In place of the draft there is, or as a new one. Applicants see nothing of it until it is published; a draft that breaks rules is kept,
/// with its faults told, and not published.
#[utoipa::path(put, path = "/api/v1/admin/models/{id}/form/draft", operation_id = "put_form_draft", tag = "rules",
    params(("id" = String, Path, description = "The model's id.")), request_body = FormWanted,
    responses((status = 200, body = FormState), NotDone), security(("token" = ["admin"])))]
pub(in super::super) async fn replace(
    portal: Data<Portal>,
    AdministeringProgram(by): AdministeringProgram,
    id: Path<ModelId>,
    Body(sent): Body<FormWanted, JSON_FORM_BYTES_MAX>,
) -> Result<HttpResponse, Error> {
    catalog::find_model_by_id(&mut *portal.db.acquire().await?, *id).await?;
    draft::replace(&portal, &by, *id, sent.edition, sent.form).await?;
    Ok(answer(&read(&mut *portal.db.acquire().await?, *id).await?))
}

/// What publishing a draft would do.
#[derive(Serialize, ToSchema)]
struct Comparison {
    /// The edition of the draft that was compared; send it when you publish.
    edition: i64,
    /// What the version would be called.
    next_version: i32,
    /// Everything that is not the same, in the order of the form.
    changes: Vec<FormChange>,
    /// What stands in the way of publishing.
    faults: Vec<FormFault>,
    /// Applications that were begun and not sent: they go on with the new form.
    drafts: i64,
    /// Those of them that hold an answer to something that is not asked any more.
    drafts_with_answers: i64,
    /// Applications that were sent and are not decided: they keep the form they answered.
    waiting: i64,
    /// How many clauses are new or have other words: what holders can be asked to agree to.
    new_clauses: usize,
    /// How many have access now.
    holders: i64,
    /// Those that have waited longest, 50 at most.
    waiting_cases: Vec<WaitingCase>,
}

/// One change.
#[derive(Serialize, ToSchema)]
struct FormChange {
    /// `Added`, `Removed`, `Changed` or `Moved`.
    change: &'static str,
    /// `Section`, `Question` or `Clause`.
    part: &'static str,
    /// What it is called.
    label: String,
    /// What of it changes.
    details: Vec<FormDetail>,
}

/// One difference.
#[derive(Serialize, ToSchema)]
struct FormDetail {
    /// What of it.
    what: &'static str,
    /// As it is asked now.
    before: String,
    /// As it would be.
    after: String,
}

/// An application that waits.
#[derive(Serialize, ToSchema)]
struct WaitingCase {
    /// Its id.
    id: ApplicationId,
    /// Who applies; null once they are forgotten.
    applicant: Option<Person>,
}

impl From<Change> for FormChange {
    fn from(change: Change) -> Self {
        let detail = |Detail { what, before, after }: Detail| FormDetail { what, before, after };
        Self { change: change.verb, part: change.part, label: change.label, details: change.details.into_iter().map(detail).collect() }
    }
}

/// Compare the draft with the form in force
///
/// What changes, what stands in the way, and whom it meets.
#[utoipa::path(get, path = "/api/v1/admin/models/{id}/form/compare", operation_id = "compare_form", tag = "rules",
    params(("id" = String, Path, description = "The model's id.")),
    responses((status = 200, body = Comparison), NotDone), security(("token" = ["admin"])))]
pub(in super::super) async fn compared(portal: Data<Portal>, _: AdministeringProgram, id: Path<ModelId>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    catalog::find_model_by_id(&mut db, *id).await?;
    let compared = publishing::compared(&mut db, *id, portal.clock.now()).await?;
    let affected = compared.affected;
    let case = |(id, applicant): (_, Option<Account>)| WaitingCase { id, applicant: applicant.as_ref().map(Person::from) };
    Ok(answer(&Comparison {
        edition: compared.draft.edition,
        next_version: compared.next,
        changes: compared.changes.into_iter().map(FormChange::from).collect(),
        faults: faults(&compared.draft.layout),
        drafts: affected.drafts,
        drafts_with_answers: affected.drafts_with_answers,
        waiting: affected.waiting,
        new_clauses: compared.news,
        holders: affected.holders,
        waiting_cases: compared.waiting.into_iter().map(case).collect(),
    }))
}

/// What was seen.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "edition": 3 }))]
pub(in super::super) struct EditionSeen {
    /// The edition of the draft that was seen; if it is another by now, nothing is done (`stale`).
    edition: i64,
}

/// What is to be published.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "edition": 3, "grace_days": 30 }))]
pub(in super::super) struct FormPublication {
    /// The edition of the draft that was seen; if it is another by now, nothing is done (`stale`).
    edition: i64,
    /// Given when the change of the clauses matters: for how many days access goes on without agreeing to the new ones, 0 to 180. Left
    /// out, nobody is asked.
    grace_days: Option<i64>,
}

/// Publish the draft
///
/// As a version that stays as it is. Whoever applies from now on answers it; where the change of its clauses matters, holders are asked
/// to agree to them.
#[utoipa::path(post, path = "/api/v1/admin/models/{id}/form/publish", operation_id = "publish_form", tag = "rules",
    params(("id" = String, Path, description = "The model's id.")), request_body = FormPublication,
    responses((status = 200, body = FormState), NotDone), security(("token" = ["admin"])))]
pub(in super::super) async fn publish(
    portal: Data<Portal>,
    AdministeringProgram(by): AdministeringProgram,
    id: Path<ModelId>,
    Body(wanted): Body<FormPublication>,
) -> Result<HttpResponse, Error> {
    let grace = wanted.grace_days.map(|days| consent::grace(&days.to_string())).transpose()?;
    publishing::make_current(&portal, &by, *id, wanted.edition, grace).await?;
    Ok(answer(&read(&mut *portal.db.acquire().await?, *id).await?))
}

/// Discard the draft
///
/// Applicants are asked what they were asked before.
#[utoipa::path(post, path = "/api/v1/admin/models/{id}/form/discard", operation_id = "discard_form_draft", tag = "rules",
    params(("id" = String, Path, description = "The model's id.")), request_body = EditionSeen,
    responses((status = 200, body = FormState), NotDone), security(("token" = ["admin"])))]
pub(in super::super) async fn discard(
    portal: Data<Portal>,
    _: AdministeringProgram,
    id: Path<ModelId>,
    Body(seen): Body<EditionSeen>,
) -> Result<HttpResponse, Error> {
    draft::discard(&portal, *id, seen.edition).await?;
    Ok(answer(&read(&mut *portal.db.acquire().await?, *id).await?))
}
