//! Models that are not on offer yet, their drafts, and taking a release off offer.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::releases::{self, ReleaseRow};
use crate::accounts::AdministeringProgram;
use crate::catalog::{self, Model, ReleaseFile};
use crate::downloads;
use crate::error::Error;
use crate::http::api::{Body, Cut, Listed, Moment, NotDone, Nothing, Refused, answer, limit};
use crate::ids::{ModelId, ReleaseId};
use crate::portal::Portal;

/// What stands behind the `?` of the models.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ModelsAsked {
    /// 1 to 200 items a page; 50 unless said.
    limit: Option<i64>,
    /// From the address of the page before.
    cursor: Option<String>,
}

/// A model, on offer or not.
#[derive(Serialize, ToSchema)]
struct ModelKept {
    /// Its id.
    id: ModelId,
    /// `org/name`.
    #[schema(example = "sluice/opt-verse-6m")]
    name: String,
    /// `open`, or by `application`.
    #[schema(example = "application")]
    gate: &'static str,
    /// What it is, in a sentence.
    summary: String,
    /// Whether others see it, or it has nothing but drafts.
    is_on_offer: bool,
    /// Since when it is here.
    created_at: Moment,
}

/// All models
///
/// Those with nothing but drafts, too, by name.
#[utoipa::path(get, path = "/api/v1/admin/models", operation_id = "list_all_models", tag = "releases", params(ModelsAsked),
    responses((status = 200, body = Listed<ModelKept>), Refused), security(("token" = ["admin"])))]
pub(super) async fn models(
    portal: Data<Portal>,
    request: HttpRequest,
    _: AdministeringProgram,
    asked: Query<ModelsAsked>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let after = asked.cursor.as_deref().and_then(|cursor| cursor.split_once('/'));
    let mut db = portal.db.acquire().await?;
    let mut models = catalog::all_models_after(&mut db, after, cut.rows()).await?;
    let next = cut.next(&mut models, Model::full_name);
    let on_offer = catalog::main_releases(&mut db, &models.iter().map(|model| model.id).collect::<Vec<_>>()).await?;
    let kept = |model: Model| ModelKept {
        id: model.id,
        name: model.full_name(),
        gate: model.gate.as_str(),
        is_on_offer: on_offer.contains_key(&model.id),
        created_at: model.created_at.into(),
        summary: model.summary,
    };
    Ok(answer(&Listed { items: models.into_iter().map(kept).collect(), next }))
}

/// A release or a draft.
#[derive(Serialize, ToSchema)]
struct ReleaseKept {
    /// Its id.
    id: ReleaseId,
    /// 40 hex digits that follow from its content.
    #[schema(example = "b0b2f7c3d0d24f1c9a6f0f6a3c1f0f0d2f0e7a11")]
    revision: String,
    /// `draft`, `published` (`main` names it), `superseded` or `yanked`.
    #[schema(example = "published")]
    state: &'static str,
    /// The names that lead to it.
    #[schema(example = json!(["main", "v1.0"]))]
    names: Vec<String>,
    /// What is said about it.
    notes: String,
    /// When it came on offer; of a draft, when it was stored.
    since: Moment,
    /// When its bytes were taken off offer.
    #[schema(example = json!(null))]
    yanked_at: Option<Moment>,
    /// Why.
    #[schema(example = json!(null))]
    yank_reason: Option<String>,
}

impl From<ReleaseRow> for ReleaseKept {
    fn from(row: ReleaseRow) -> Self {
        Self {
            id: row.id,
            revision: row.revision,
            state: row.state.as_str(),
            names: row.names,
            notes: row.notes,
            since: row.since.into(),
            yanked_at: row.yanked_at.map(Moment),
            yank_reason: row.yanked.map(|(_, reason)| reason),
        }
    }
}

/// Releases of a model
///
/// Its drafts, and then its releases, the newest first, 1,000 at most, on one page.
#[utoipa::path(get, path = "/api/v1/admin/models/{id}/releases", operation_id = "list_releases", tag = "releases",
    params(("id" = String, Path, description = "The model's id, `model_…`.")),
    responses((status = 200, body = Listed<ReleaseKept>), Refused), security(("token" = ["admin"])))]
pub(super) async fn of_model(portal: Data<Portal>, _: AdministeringProgram, id: Path<ModelId>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, *id).await?;
    let rows = releases::rows(&mut db, model.id).await?;
    Ok(answer(&Listed { items: rows.into_iter().map(ReleaseKept::from).collect(), next: None }))
}

/// A release with its files.
#[derive(Serialize, ToSchema)]
struct ReleaseWhole {
    /// Of which model: `org/name`.
    #[schema(example = "sluice/opt-verse-6m")]
    model: String,
    /// All but its files.
    release: ReleaseKept,
    /// Its files.
    files: Vec<FileKept>,
    /// How many accounts fetched any of it: so many mails a yank sends.
    fetched_by: i64,
}

/// A file as it is kept.
#[derive(Serialize, ToSchema)]
struct FileKept {
    /// Its path.
    #[schema(example = "model.safetensors")]
    path: String,
    /// Its size.
    size_bytes: i64,
    /// Its SHA-256, in hex.
    sha256: String,
    /// Its BLAKE3, in hex.
    blake3: String,
}

impl From<ReleaseFile> for FileKept {
    fn from(file: ReleaseFile) -> Self {
        Self { path: file.path, size_bytes: file.size_bytes, sha256: file.sha256, blake3: file.blake3 }
    }
}

async fn told(portal: &Portal, id: ReleaseId) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let (model, row) = releases::row(&mut db, id).await?;
    let files = catalog::files(&mut db, id).await?.into_iter().map(FileKept::from).collect();
    let fetched_by = downloads::fetched_by(&mut db, id).await?;
    Ok(answer(&ReleaseWhole { model: model.full_name(), release: row.into(), files, fetched_by }))
}

/// A release
#[utoipa::path(get, path = "/api/v1/admin/releases/{id}", operation_id = "get_release", tag = "releases",
    params(("id" = String, Path, description = "The release's id, `rel_…`.")),
    responses((status = 200, body = ReleaseWhole), Refused), security(("token" = ["admin"])))]
pub(super) async fn one(portal: Data<Portal>, _: AdministeringProgram, id: Path<ReleaseId>) -> Result<HttpResponse, Error> {
    told(&portal, *id).await
}

/// How a draft is put on offer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "tag": "v1.0" }))]
pub(super) struct Publication {
    /// A tag for it, which never moves.
    tag: Option<String>,
}

/// Publish a draft
///
/// `main` names it at once, and whoever may have the model gets it. It never changes after that.
#[utoipa::path(post, path = "/api/v1/admin/releases/{id}/publish", operation_id = "publish_draft", tag = "releases",
    params(("id" = String, Path, description = "The draft's id.")), request_body = Publication,
    responses((status = 200, body = ReleaseWhole), NotDone), security(("token" = ["admin"])))]
pub(super) async fn publish(
    portal: Data<Portal>,
    by: AdministeringProgram,
    id: Path<ReleaseId>,
    Body(sent): Body<Publication>,
) -> Result<HttpResponse, Error> {
    releases::publish_as(&portal, &by.0, *id, sent.tag.as_deref().unwrap_or_default()).await?;
    told(&portal, *id).await
}

/// Discard a draft
///
/// It is gone for good; `sluice gc` removes the bytes that were its alone.
#[utoipa::path(post, path = "/api/v1/admin/releases/{id}/discard", operation_id = "discard_draft", tag = "releases",
    params(("id" = String, Path, description = "The draft's id.")), request_body = Nothing,
    responses((status = 204, description = "Discarded."), NotDone), security(("token" = ["admin"])))]
pub(super) async fn discard(
    portal: Data<Portal>,
    by: AdministeringProgram,
    id: Path<ReleaseId>,
    _: Body<Nothing>,
) -> Result<HttpResponse, Error> {
    catalog::discard_draft(&portal, Some(by.0.0.id), *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Why a release is taken off offer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reason": "The tokenizer is that of another model." }))]
pub(super) struct YankReason {
    /// In a line, 300 characters at most: everybody who asks for its bytes reads it.
    reason: String,
}

/// A release that went off offer or came back.
#[derive(Serialize, ToSchema)]
struct Moved {
    /// How it is now.
    release: ReleaseKept,
    /// The revision that `main` names now.
    main: String,
    /// Whether that changed.
    main_moved: bool,
    /// How many people get a mail.
    told: usize,
}

async fn moved(portal: &Portal, done: downloads::Yanked) -> Result<HttpResponse, Error> {
    let (_, row) = releases::row(&mut *portal.db.acquire().await?, done.changed.release.id).await?;
    Ok(answer(&Moved { release: row.into(), main: done.changed.main, main_moved: done.changed.main_moved, told: done.told }))
}

/// Yank a release
///
/// Nobody gets its bytes any more; page, digests and signatures stay. Everybody who fetched it gets a mail with the reason, and `main` goes back
/// to the newest good release.
#[utoipa::path(post, path = "/api/v1/admin/releases/{id}/yank", operation_id = "yank_release", tag = "releases",
    params(("id" = String, Path, description = "The release's id.")), request_body = YankReason,
    responses((status = 200, body = Moved), NotDone), security(("token" = ["admin"])))]
pub(super) async fn yank(
    portal: Data<Portal>,
    by: AdministeringProgram,
    id: Path<ReleaseId>,
    Body(sent): Body<YankReason>,
) -> Result<HttpResponse, Error> {
    let done = downloads::yank(&portal, Some(by.0.0.id), *id, &sent.reason).await?;
    moved(&portal, done).await
}

/// Put a yanked release back
///
/// Those who were told that it was yanked get a mail again.
#[utoipa::path(post, path = "/api/v1/admin/releases/{id}/restore", operation_id = "restore_release", tag = "releases",
    params(("id" = String, Path, description = "The release's id.")), request_body = Nothing,
    responses((status = 200, body = Moved), NotDone), security(("token" = ["admin"])))]
pub(super) async fn restore(
    portal: Data<Portal>,
    by: AdministeringProgram,
    id: Path<ReleaseId>,
    _: Body<Nothing>,
) -> Result<HttpResponse, Error> {
    let done = downloads::restore(&portal, Some(by.0.0.id), *id).await?;
    moved(&portal, done).await
}
