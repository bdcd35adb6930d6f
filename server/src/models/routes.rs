//! The pages' URLs. They come last in the portal's table: `/{org}/{name}` would take everything with two parts.

use actix_web::http::header;
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use sqlx::PgConnection;

use super::api;
use super::howto::{checks, ways};
use super::memory::Memory;
use super::pages::{FileLine, FilesPage, Head, HomePage, LicencePage, ListPage, ModelPage, ReleaseLine};
use super::proof;
use super::standing::standing;
use crate::accounts::Visitor;
use crate::catalog::{self, Gate, MAIN, Model, ReleaseFile, SafeHtml, human_bytes};
use crate::error::Error;
use crate::http::Frame;
use crate::http::page::page;
use crate::portal::Portal;
use crate::storage::ObjectKey;

/// How many models the list shows; whoever offers more is searched, not scrolled.
const LISTED_MAX: i64 = 200;
/// How many models the first page shows.
const FEATURED_MAX: usize = 6;
/// How many releases a model's page lists.
const RELEASES_MAX: i64 = 100;
/// How long a search may be, in characters.
pub(super) const SEARCH_CHARS_MAX: usize = 100;

/// Wires the room's URLs.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/models", web::get().to(api::list))
        .route("/api/v1/models/{org}/{name}", web::get().to(api::one))
        .route("/api/v1/models/{org}/{name}/licence", web::get().to(api::licence))
        .service(web::resource("/").route(web::get().to(home)))
        .service(web::resource("/.well-known/sluice-keys.json").route(web::get().to(proof::keys)))
        .service(web::resource("/.well-known/sluice-key.pem").route(web::get().to(proof::key)))
        .service(web::resource("/{org}/{name}/proof/{revision}/{file}").route(web::get().to(proof::proof)))
        .service(web::resource("/models").route(web::get().to(list)))
        .service(web::resource("/{org}/{name}").route(web::get().to(model)))
        .service(web::resource("/{org}/{name}/files").route(web::get().to(files)))
        .service(web::resource("/{org}/{name}/licence").route(web::get().to(licence)));
}

/// `GET /`
async fn home(portal: Data<Portal>, frame: Frame) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let models = catalog::list_models(&mut db, "", None, LISTED_MAX).await?;
    let models_total = models.len();
    page(&HomePage { frame, models: models.into_iter().take(FEATURED_MAX).map(Into::into).collect(), models_total })
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Search {
    q: String,
    gate: String,
}

/// `GET /models?q=&gate=`
async fn list(portal: Data<Portal>, frame: Frame, search: Query<Search>) -> Result<HttpResponse, Error> {
    // A filter nobody knows filters nothing; the page then shows that none is chosen.
    let gate: Option<Gate> = search.gate.parse().ok();
    let text: String = search.q.trim().chars().filter(|c| *c != '\0').take(SEARCH_CHARS_MAX).collect();
    let mut db = portal.db.acquire().await?;
    let mut models = catalog::list_models(&mut db, &text, gate, LISTED_MAX + 1).await?;
    let more = models.len() as i64 > LISTED_MAX;
    models.truncate(LISTED_MAX as usize);
    page(&ListPage { frame, search: text, gate, models: models.into_iter().map(Into::into).collect(), more })
}

/// `org` and `name` of a model, as they were asked for.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Names {
    /// Who offers it.
    pub(super) org: String,
    /// Its name.
    pub(super) name: String,
}

/// The model, or where it is found under its right spelling.
pub(super) enum Found {
    Here(Model),
    Elsewhere(HttpResponse),
}

pub(super) async fn find(db: &mut PgConnection, request: &HttpRequest, names: &Names) -> Result<Found, Error> {
    let model = catalog::find_model(db, &names.org, &names.name).await?.ok_or(Error::NotFound("model"))?;
    if (&model.org, &model.name) == (&names.org, &names.name) {
        return Ok(Found::Here(model));
    }
    // The path is `/org/name` and perhaps a page of it; the query goes along.
    let rest = request.path().splitn(4, '/').nth(3).map(|rest| format!("/{rest}")).unwrap_or_default();
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}{rest}{query}", model.path());
    Ok(Found::Elsewhere(HttpResponse::PermanentRedirect().insert_header((header::LOCATION, location)).finish()))
}

/// `GET /{org}/{name}`
async fn model(
    portal: Data<Portal>,
    request: HttpRequest,
    names: Path<Names>,
    visitor: Visitor,
    frame: Frame,
) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let model = match find(&mut db, &request, &names).await? {
        Found::Here(model) => model,
        Found::Elsewhere(answer) => return Ok(answer),
    };
    let standing = standing(&mut db, &visitor, &model, portal.clock.now()).await?;
    let releases = catalog::releases(&mut db, model.id, RELEASES_MAX).await?;
    let release = releases.iter().find(|named| named.is_main()).ok_or(Error::NotFound("release"))?.release.clone();
    let releases: Vec<ReleaseLine> = releases.into_iter().map(ReleaseLine::of).collect();
    let yanked = releases.iter().find(|line| line.revision == release.revision).and_then(|line| line.yanked.clone());
    let files = catalog::files(&mut db, release.id).await?;
    let licence_name = licence_of(&mut db, &model).await?.map(|licence| licence.name);
    drop(db);
    page(&ModelPage {
        frame,
        head: Head::of(&model, ""),
        standing,
        card: card(&portal, &files).await?,
        licence_name,
        size: size(&files),
        files: files.len(),
        memory: Memory::of(release.config_json.as_ref()),
        ways: ways(&portal.config, &model, &release, &files),
        checks: checks(&portal.config, &model, &release),
        proofs: format!("{}/proof/{}", model.path(), release.revision),
        releases,
        yanked,
    })
}

#[derive(serde::Deserialize)]
struct Which {
    revision: Option<String>,
}

/// `GET /{org}/{name}/files?revision=`
async fn files(
    portal: Data<Portal>,
    request: HttpRequest,
    names: Path<Names>,
    which: Query<Which>,
    frame: Frame,
) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let model = match find(&mut db, &request, &names).await? {
        Found::Here(model) => model,
        Found::Elsewhere(answer) => return Ok(answer),
    };
    let revision = which.revision.as_deref().filter(|revision| !revision.is_empty()).unwrap_or(MAIN);
    let release = catalog::resolve(&mut db, model.id, revision).await?.ok_or(Error::NotFound("release"))?;
    let files = catalog::files(&mut db, release.id).await?;
    let releases = catalog::releases(&mut db, model.id, RELEASES_MAX).await?;
    page(&FilesPage {
        frame,
        head: Head::of(&model, "files"),
        release: ReleaseLine::of(catalog::named_release(&mut db, release.id).await?),
        releases: releases.into_iter().map(ReleaseLine::of).collect(),
        size: size(&files),
        files: files.into_iter().map(FileLine::from).collect(),
    })
}

/// `GET /{org}/{name}/licence`
async fn licence(portal: Data<Portal>, request: HttpRequest, names: Path<Names>, frame: Frame) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let model = match find(&mut db, &request, &names).await? {
        Found::Here(model) => model,
        Found::Elsewhere(answer) => return Ok(answer),
    };
    let licence = licence_of(&mut db, &model).await?.ok_or(Error::NotFound("licence"))?;
    page(&LicencePage { frame, head: Head::of(&model, "licence"), text: catalog::render_markdown(&licence.body), licence })
}

async fn licence_of(db: &mut PgConnection, model: &Model) -> Result<Option<catalog::Licence>, Error> {
    match &model.licence_sha256 {
        Some(sha256) => catalog::licence(db, sha256).await,
        None => Ok(None),
    }
}

/// The release's README.md, safe to show. A card that has gone from the store leaves the page without one; the log says so.
async fn card(portal: &Portal, files: &[ReleaseFile]) -> Result<Option<SafeHtml>, Error> {
    let Some(file) = files.iter().find(|file| file.path == catalog::CARD_FILE) else { return Ok(None) };
    match portal.objects.read(&ObjectKey::file(&file.sha256), file.size_bytes.unsigned_abs()).await {
        Ok(bytes) => Ok(Some(catalog::render_markdown(&String::from_utf8_lossy(&bytes)))),
        Err(cause) => {
            tracing::error!(sha256 = file.sha256, error = %cause, "a model's card cannot be read from the store");
            Ok(None)
        }
    }
}

fn size(files: &[ReleaseFile]) -> String {
    human_bytes(files.iter().map(|file| file.size_bytes.unsigned_abs()).sum())
}
