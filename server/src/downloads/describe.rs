//! What is told about models and releases without sending their bytes: the Hub's listings, for everybody.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use super::instead::{Instead, X_REPO_COMMIT};
use super::query::{Query, is_yes};
use super::tree::{self, Entry};
use super::{headers, hub, lookup, store};
use crate::catalog::{self, Gate, MAIN, Model, Release};
use crate::error::FieldError;
use crate::portal::Portal;

/// Entries in one answer about a tree: more than any release has, because some clients read the first page only.
const TREE_PAGE_MAX: usize = 10_000;
/// Models in one answer unless fewer are asked for.
const MODELS_PAGE_MAX: usize = 500;
/// Models looked through in one listing.
const MODELS_MAX: i64 = 5_000;
/// Releases in one history.
const COMMITS_MAX: i64 = 1_000;
/// Paths in one question about paths.
const PATHS_MAX: usize = 1_000;

/// The model and release in a URL of the Hub's interface.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Names {
    pub org: String,
    pub name: String,
    #[serde(default = "main")]
    pub revision: String,
    #[serde(default)]
    pub path: String,
}

fn main() -> String {
    MAIN.into()
}

/// A model at a release.
pub(super) async fn info(portal: &Portal, request: &HttpRequest, names: &Names) -> Result<HttpResponse, Instead> {
    let mut db = portal.db.acquire().await?;
    let model = lookup::model(&mut db, &portal.config, request, &names.org, &names.name).await?;
    let release = lookup::release(&mut db, &model, &names.revision).await?;
    let files = catalog::files(&mut db, release.id).await?;
    let counts = store::counts(&mut db, &[model.id], store::counted_since(portal.clock.now())).await?;
    let blobs = query(request).flag("blobs");
    let downloads = counts.get(&model.id).copied().unwrap_or(0);
    Ok(of_release(&release, &hub::model_info(&model, &release, &files, blobs, downloads)))
}

/// The files and folders of a release.
pub(super) async fn tree(portal: &Portal, request: &HttpRequest, names: &Names) -> Result<HttpResponse, Instead> {
    let mut db = portal.db.acquire().await?;
    let model = lookup::model(&mut db, &portal.config, request, &names.org, &names.name).await?;
    let release = lookup::release(&mut db, &model, &names.revision).await?;
    let files = catalog::files(&mut db, release.id).await?;
    let query = query(request);
    let entries =
        tree::entries(&files, &names.path, query.flag("recursive")).ok_or_else(|| Instead::no_entry(&release.revision, &names.path))?;
    let begin = query.number("cursor").unwrap_or(0).min(entries.len());
    let end = begin.saturating_add(query.number("limit").unwrap_or(TREE_PAGE_MAX).clamp(1, TREE_PAGE_MAX)).min(entries.len());
    let page: Value = entries[begin..end].iter().map(|entry| hub::tree_entry(entry, &release, query.flag("expand"))).collect();
    let mut response = of_release(&release, &page);
    if end < entries.len() {
        // At the commit, so that a release published meanwhile does not mix two listings.
        let path = headers::tree_path(&model, &release, &names.path);
        put_next(&mut response, portal, &path, &query, end);
    }
    Ok(response)
}

/// Those of the asked paths that exist, from a form (`paths=a&paths=b&expand=true`) or JSON (`{"paths": […], "expand": true}`).
pub(super) async fn paths(portal: &Portal, request: &HttpRequest, names: &Names, body: &[u8]) -> Result<HttpResponse, Instead> {
    let (paths, expand) = asked_paths(request, body)?;
    let mut db = portal.db.acquire().await?;
    let model = lookup::model(&mut db, &portal.config, request, &names.org, &names.name).await?;
    let release = lookup::release(&mut db, &model, &names.revision).await?;
    let files = catalog::files(&mut db, release.id).await?;
    let entries: Vec<Entry<'_>> = tree::entries(&files, "", true).unwrap_or_default();
    let known: Value = entries
        .iter()
        .filter(|entry| paths.iter().any(|path| path.trim_end_matches('/') == entry.path()))
        .map(|entry| hub::tree_entry(entry, &release, expand))
        .collect();
    Ok(of_release(&release, &known))
}

/// Branches and tags.
pub(super) async fn refs(portal: &Portal, request: &HttpRequest, names: &Names) -> Result<HttpResponse, Instead> {
    let mut db = portal.db.acquire().await?;
    let model = lookup::model(&mut db, &portal.config, request, &names.org, &names.name).await?;
    let names = catalog::names(&mut db, model.id).await?;
    Ok(json(&hub::refs(&names, query(request).flag("include_prs"))))
}

/// The release and those published before it, newest first: each is one commit.
pub(super) async fn commits(portal: &Portal, request: &HttpRequest, names: &Names) -> Result<HttpResponse, Instead> {
    let mut db = portal.db.acquire().await?;
    let model = lookup::model(&mut db, &portal.config, request, &names.org, &names.name).await?;
    let release = lookup::release(&mut db, &model, &names.revision).await?;
    let all = catalog::releases(&mut db, model.id, COMMITS_MAX).await?;
    let history = all.iter().map(|named| &named.release).skip_while(|other| other.id != release.id);
    let history = history.map(|release| hub::commit(&model, release));
    Ok(of_release(&release, &history.collect()))
}

/// The models on offer: `author`, `search`, `filter` (tags, all of them), `gated`, `sort`, `limit`, `cursor`.
pub(super) async fn models(portal: &Portal, request: &HttpRequest) -> Result<HttpResponse, Instead> {
    let query = query(request);
    let gate = query.get("gated").map(|gated| if is_yes(gated) { Gate::Application } else { Gate::Open });
    let author = query.get("author");
    let tags: Vec<&str> = query.all("filter").flat_map(|tags| tags.split(',')).filter(|tag| !tag.is_empty()).collect();
    let search = query.get("search").unwrap_or_default().replace('\0', "");

    let mut db = portal.db.acquire().await?;
    let mut models = catalog::list_models(&mut db, &search, gate, MODELS_MAX).await?;
    models.retain(|model| author.is_none_or(|author| author.eq_ignore_ascii_case(&model.org)));
    let ids: Vec<_> = models.iter().map(|model| model.id).collect();
    let mut releases = catalog::main_releases(&mut db, &ids).await?;
    let mut found: Vec<(Model, Release)> =
        models.into_iter().filter_map(|model| releases.remove(&model.id).map(|release| (model, release))).collect();
    found.retain(|(_, release)| tags.iter().all(|tag| hub::tags(release).iter().any(|has| has == tag)));
    let ids: Vec<_> = found.iter().map(|(model, _)| model.id).collect();
    let counts = store::counts(&mut db, &ids, store::counted_since(portal.clock.now())).await?;
    let downloads = |model: &Model| counts.get(&model.id).copied().unwrap_or(0);
    match query.get("sort") {
        Some("lastModified" | "last_modified") => found.sort_by_key(|(_, release)| std::cmp::Reverse(release.published_at)),
        Some("createdAt" | "created_at") => found.sort_by_key(|(model, _)| std::cmp::Reverse(model.created_at)),
        Some("downloads") => found.sort_by_key(|(model, _)| std::cmp::Reverse(downloads(model))),
        Some(_) | None => {} // by name, as the catalogue lists them
    }
    let begin = query.number("cursor").unwrap_or(0).min(found.len());
    let end = begin.saturating_add(query.number("limit").unwrap_or(MODELS_PAGE_MAX).clamp(1, MODELS_PAGE_MAX)).min(found.len());
    let mut response = json(&found[begin..end].iter().map(|(model, release)| hub::model_row(model, release, downloads(model))).collect());
    if end < found.len() {
        put_next(&mut response, portal, "/api/models", &query, end);
    }
    Ok(response)
}

fn asked_paths(request: &HttpRequest, body: &[u8]) -> Result<(Vec<String>, bool), Instead> {
    let wrong = |why: String| Instead::from(crate::error::Error::from(FieldError::new("paths", why)));
    let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let (paths, expand) = if is_json {
        let body: Value = serde_json::from_slice(body).map_err(|cause| wrong(format!("the body is not JSON: {cause}")))?;
        let paths = match &body["paths"] {
            Value::String(path) => vec![path.clone()],
            Value::Array(paths) => paths.iter().filter_map(|path| path.as_str().map(str::to_owned)).collect(),
            _ => return Err(wrong("send a list of paths".into())),
        };
        (paths, body["expand"].as_bool().unwrap_or(false))
    } else {
        let form = Query::parse(body);
        (form.all("paths").map(str::to_owned).collect::<Vec<_>>(), form.flag("expand"))
    };
    if paths.len() > PATHS_MAX {
        return Err(wrong(format!("ask for at most {PATHS_MAX} at a time")));
    }
    Ok((paths, expand))
}

/// Where the list goes on: absolute, because clients do not join it to what they asked.
fn put_next(response: &mut HttpResponse, portal: &Portal, path: &str, query: &Query, cursor: usize) {
    let next = portal.config.url_of(&format!("{path}?{}", query.with("cursor", &cursor.to_string())));
    let link = format!("<{next}>; rel=\"next\"");
    response.headers_mut().insert(header::LINK, super::ascii::ascii(&link));
}

fn query(request: &HttpRequest) -> Query {
    Query::parse(request.query_string().as_bytes())
}

fn of_release(release: &Release, value: &Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((X_REPO_COMMIT, release.revision.as_str()))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .json(value)
}

fn json(value: &Value) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-cache")).json(value)
}
