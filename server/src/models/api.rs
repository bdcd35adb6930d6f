//! What is on offer, for programs: the same facts as the pages show, and where the asker stands.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::routes::{Names, SEARCH_CHARS_MAX};
use crate::access::{self, Action, Verdict};
use crate::accounts::{Via, Visitor};
use crate::catalog::{self, Gate, Model, NamedRelease};
use crate::error::Error;
use crate::http::api::{Cut, Listed, Mending, Moment, Unreadable, answer, limit};
use crate::ids::{ModelId, SessionId};
use crate::portal::Portal;

/// How many releases are told of.
const RELEASES_MAX: i64 = 100;

/// The room's part of the document.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, one, licence))]
pub struct Operations;

/// What stands behind the `?` of the list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Only those whose name or summary contains this.
    q: Option<String>,
    /// Only those that are `open`, or given by `application`.
    gate: Option<String>,
    /// 1 to 200 items a page; 50 unless said.
    limit: Option<i64>,
    /// From the address of the page before.
    cursor: Option<String>,
}

/// A model, in short.
#[derive(Serialize, ToSchema)]
struct ModelLine {
    /// Its id.
    id: ModelId,
    /// `org/name`.
    #[schema(example = "sluice/opt-verse-6m")]
    name: String,
    /// What it is, in a sentence.
    summary: String,
    /// `open`, or by `application`.
    gate: &'static str,
    /// Its page.
    url: String,
}

/// A model with its releases, its files, and where the asker stands.
#[derive(Serialize, ToSchema)]
struct ModelWhole {
    /// In short.
    model: ModelLine,
    /// The licence's name and the SHA-256 of its text; null where there is none.
    licence: Option<LicenceLine>,
    /// Its releases, the newest first, 100 at most.
    releases: Vec<ReleaseLine>,
    /// The files of the release that `main` names.
    files: Vec<FileLine>,
    /// Whether the asker may have its weights.
    download: Standing,
    /// Whether the asker may let it generate.
    generate: Standing,
}

#[derive(Serialize, ToSchema)]
struct LicenceLine {
    /// Its name.
    name: String,
    /// SHA-256 of its text, which an application names.
    sha256: String,
}

/// One immutable release.
#[derive(Serialize, ToSchema)]
struct ReleaseLine {
    /// 40 hex digits that follow from its content.
    revision: String,
    /// `published`, `superseded` or `yanked`.
    state: &'static str,
    /// The names that lead to it, such as `main`.
    names: Vec<String>,
    /// What is said about it.
    notes: String,
    /// When it came on offer.
    published_at: Moment,
    /// Why nobody gets its bytes any more; null while anybody does.
    yank_reason: Option<String>,
}

/// One file of a release.
#[derive(Serialize, ToSchema)]
struct FileLine {
    /// Its path.
    path: String,
    /// Its size.
    size_bytes: i64,
    /// Its digest, in hex.
    sha256: String,
    /// Where its bytes are.
    url: String,
}

/// What the asker may, whichever token they ask with.
#[derive(Serialize, ToSchema)]
struct Standing {
    /// Whether it is allowed now.
    allowed: bool,
    /// Until when, where that is known.
    until: Option<Moment>,
    /// Which condition is missing, in one stable word; null when none is.
    code: Option<&'static str>,
    /// The same in a sentence.
    detail: Option<String>,
    /// Where it is met.
    mend: Option<Mending>,
}

/// A licence.
#[derive(Serialize, ToSchema)]
struct LicenceText {
    /// Its name.
    name: String,
    /// SHA-256 of the text.
    sha256: String,
    /// The text.
    body: String,
}

/// Models
///
/// What is on offer, by name.
#[utoipa::path(get, path = "/api/v1/models", operation_id = "list_models", tag = "models", params(Asked),
    responses((status = 200, body = Listed<ModelLine>), Unreadable))]
pub(super) async fn list(portal: Data<Portal>, request: HttpRequest, visitor: Visitor, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    known(&visitor)?;
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let gate: Option<Gate> = asked.gate.as_deref().map(str::parse).transpose()?;
    let search: String = asked.q.as_deref().unwrap_or_default().trim().chars().filter(|c| *c != '\0').take(SEARCH_CHARS_MAX).collect();
    let after = asked.cursor.as_deref().and_then(|cursor| cursor.split_once('/'));
    let mut models = catalog::models_after(&mut *portal.db.acquire().await?, &search, gate, after, cut.rows()).await?;
    let next = cut.next(&mut models, Model::full_name);
    Ok(answer(&Listed { items: models.into_iter().map(|model| line(&portal, model)).collect(), next }))
}

/// One model
///
/// Its releases and files, and what you may: where something is missing, which condition, and where it is met.
#[utoipa::path(get, path = "/api/v1/models/{org}/{name}", operation_id = "get_model", tag = "models", params(Names),
    responses((status = 200, body = ModelWhole), Unreadable))]
pub(super) async fn one(portal: Data<Portal>, visitor: Visitor, names: Path<Names>) -> Result<HttpResponse, Error> {
    known(&visitor)?;
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model(&mut db, &names.org, &names.name).await?.ok_or(Error::NotFound("model"))?;
    let releases = catalog::releases(&mut db, model.id, RELEASES_MAX).await?;
    let main = releases.iter().find(|named| named.is_main()).ok_or(Error::NotFound("release"))?.release.clone();
    let licence = match &model.licence_sha256 {
        Some(sha256) => catalog::licence(&mut db, sha256).await?.map(|licence| LicenceLine { name: licence.name, sha256: sha256.clone() }),
        None => None,
    };
    let release = |named: NamedRelease| ReleaseLine {
        state: named.state().as_str(),
        names: named.names,
        published_at: named.release.published_at.into(),
        revision: named.release.revision,
        notes: named.release.notes,
        yank_reason: named.release.yank_reason,
    };
    let releases = releases.into_iter().map(release).collect();
    let file_url = |path: &str| portal.config.url_of(&format!("{}/resolve/{}/{path}", model.path(), main.revision));
    let files = catalog::files(&mut db, main.id).await?.into_iter().map(|file| FileLine {
        url: file_url(&file.path),
        path: file.path,
        size_bytes: file.size_bytes,
        sha256: file.sha256,
    });
    let files = files.collect();
    let actions = [Action::Download, Action::Generate];
    let [download, generate] = access::authorize_actions(&mut db, &person(&visitor), &model, actions, now).await?.map(standing);
    Ok(answer(&ModelWhole { licence, releases, files, download, generate, model: line(&portal, model) }))
}

/// A model's licence
///
/// The text in force. An application names its SHA-256 as `licence_shown`.
#[utoipa::path(get, path = "/api/v1/models/{org}/{name}/licence", operation_id = "get_licence", tag = "models", params(Names),
    responses((status = 200, body = LicenceText), Unreadable))]
pub(super) async fn licence(portal: Data<Portal>, visitor: Visitor, names: Path<Names>) -> Result<HttpResponse, Error> {
    known(&visitor)?;
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model(&mut db, &names.org, &names.name).await?.ok_or(Error::NotFound("model"))?;
    let sha256 = model.licence_sha256.ok_or(Error::NotFound("licence"))?;
    let licence = catalog::licence(&mut db, &sha256).await?.ok_or(Error::NotFound("licence"))?;
    Ok(answer(&LicenceText { name: licence.name, sha256, body: licence.body }))
}

/// Whoever shows a token that does not work is told so, and not taken for nobody.
fn known(visitor: &Visitor) -> Result<(), Error> {
    match visitor {
        Visitor::BadToken => Err(Error::SignedOut),
        Visitor::Anonymous | Visitor::Known { .. } => Ok(()),
    }
}

fn line(portal: &Portal, model: Model) -> ModelLine {
    ModelLine {
        id: model.id,
        name: model.full_name(),
        gate: model.gate.as_str(),
        url: portal.config.url_of(&model.path()),
        summary: model.summary,
    }
}

/// Whoever asks, as if by a browser: what a token is for is told where it is used.
fn person(visitor: &Visitor) -> Visitor {
    match visitor {
        Visitor::Known { account, .. } => Visitor::Known { account: account.clone(), via: Via::Session(SessionId::fresh()) },
        Visitor::Anonymous | Visitor::BadToken => Visitor::Anonymous,
    }
}

fn standing(verdict: Verdict) -> Standing {
    match verdict {
        Verdict::Allowed(permit) => Standing { allowed: true, until: permit.until.map(Moment), code: None, detail: None, mend: None },
        Verdict::Refused(refusal) => Standing {
            allowed: false,
            until: None,
            code: Some(refusal.code),
            detail: Some(refusal.message),
            mend: refusal.mend.map(Mending::from),
        },
    }
}
