//! What the Hub's clients and the holder of an account ask for. The Hub's paths stand here as its clients write them.

use actix_web::web::{Bytes, Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::filter::{Asked, Filter, PAGE_ROWS, Totals, cut};
use super::instead::Instead;
use super::ledger::{Download, Ledger};
use super::{describe, hub, ledger_file, lookup, quota, send, store};
use crate::accounts::{SignedIn, Visitor};
use crate::catalog::human_bytes;
use crate::error::Error;
use crate::http::allowance::Standing;
use crate::http::page::page;
use crate::http::table::Format;
use crate::http::{Frame, when};
use crate::portal::Portal;

/// The room's URLs. They stand before `/{org}/{name}`, which would take some of them for a model.
pub fn configure(cfg: &mut ServiceConfig) {
    let file = || web::get().to(file);
    let file_head = || web::head().to(self::file);
    cfg.route("/api/v1/downloads", web::get().to(super::api::mine))
        .route("/api/v1/downloads/summary", web::get().to(super::api::summary))
        .service(web::resource("/account/downloads").route(web::get().to(mine)))
        .service(web::resource("/account/downloads.{ending}").route(web::get().to(mine_as_file)))
        .service(web::resource("/api/agent-harnesses").route(web::get().to(agent_harnesses)))
        .service(web::resource("/api/telemetry/{topic:.*}").route(web::head().to(telemetry)))
        .service(web::resource("/api/whoami-v2").route(web::get().to(whoami)))
        .service(web::resource("/api/models").route(web::get().to(models)))
        .service(web::resource("/api/models/{org}/{name}").route(web::get().to(info)))
        .service(web::resource("/api/models/{org}/{name}/revision/{revision}").route(web::get().to(info)))
        .service(web::resource("/api/models/{org}/{name}/tree/{revision}").route(web::get().to(tree)))
        .service(web::resource("/api/models/{org}/{name}/tree/{revision}/{path:.*}").route(web::get().to(tree)))
        .service(web::resource("/api/models/{org}/{name}/paths-info/{revision}").route(web::post().to(paths)))
        .service(web::resource("/api/models/{org}/{name}/refs").route(web::get().to(refs)))
        .service(web::resource("/api/models/{org}/{name}/commits/{revision}").route(web::get().to(commits)))
        .service(web::resource("/api/models/{org}/{name}/auth-check").route(web::get().to(auth_check)))
        .service(web::resource("/{org}/{name}/resolve/{revision}/{path:.*}").route(file()).route(file_head()))
        .service(web::resource("/{org}/{name}/raw/{revision}/{path:.*}").route(file()).route(file_head()));
}

/// `GET, HEAD /{org}/{name}/resolve/{revision}/{path}`
async fn file(portal: Data<Portal>, ledger: Data<Ledger>, request: HttpRequest, names: Path<send::Names>) -> Result<HttpResponse, Instead> {
    send::send(&portal, &ledger, &request, &names).await
}

/// `GET /api/models/{org}/{name}` and `…/revision/{revision}`
async fn info(portal: Data<Portal>, request: HttpRequest, names: Path<describe::Names>) -> Result<HttpResponse, Instead> {
    describe::info(&portal, &request, &names).await
}

/// `GET /api/models/{org}/{name}/tree/{revision}[/{path}]`
async fn tree(portal: Data<Portal>, request: HttpRequest, names: Path<describe::Names>) -> Result<HttpResponse, Instead> {
    describe::tree(&portal, &request, &names).await
}

/// `POST /api/models/{org}/{name}/paths-info/{revision}`: a question that does not fit into a URL; it changes nothing.
async fn paths(portal: Data<Portal>, request: HttpRequest, names: Path<describe::Names>, body: Bytes) -> Result<HttpResponse, Instead> {
    describe::paths(&portal, &request, &names, &body).await
}

/// `GET /api/models/{org}/{name}/refs`
async fn refs(portal: Data<Portal>, request: HttpRequest, names: Path<describe::Names>) -> Result<HttpResponse, Instead> {
    describe::refs(&portal, &request, &names).await
}

/// `GET /api/models/{org}/{name}/commits/{revision}`
async fn commits(portal: Data<Portal>, request: HttpRequest, names: Path<describe::Names>) -> Result<HttpResponse, Instead> {
    describe::commits(&portal, &request, &names).await
}

/// `GET /api/models`
async fn models(portal: Data<Portal>, request: HttpRequest, visitor: Visitor) -> Result<HttpResponse, Instead> {
    if matches!(visitor, Visitor::BadToken) {
        return Err(Instead::bad_token(&portal.config));
    }
    describe::models(&portal, &request).await
}

/// `GET /api/models/{org}/{name}/auth-check`: may I have its bytes?
async fn auth_check(
    portal: Data<Portal>,
    request: HttpRequest,
    names: Path<describe::Names>,
    visitor: Visitor,
) -> Result<&'static str, Instead> {
    let mut db = portal.db.acquire().await?;
    let model = lookup::model(&mut db, &portal.config, &request, &names.org, &names.name).await?;
    lookup::permit(&mut db, &portal, &visitor, &model).await?;
    Ok("OK")
}

/// `GET /api/whoami-v2`
async fn whoami(portal: Data<Portal>, visitor: Visitor) -> Result<HttpResponse, Instead> {
    match &visitor {
        Visitor::Known { account, via } => Ok(HttpResponse::Ok().json(hub::whoami(account, via))),
        Visitor::BadToken => Err(Instead::bad_token(&portal.config)),
        Visitor::Anonymous => Err(Instead::signed_out()),
    }
}

/// `GET /api/agent-harnesses`: clients ask once a day which programs may be driving them; we do not want to know.
async fn agent_harnesses() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "standardEnvVars": [], "harnesses": {} }))
}

/// `HEAD /api/telemetry/…`: heard, not kept.
async fn telemetry() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

#[derive(Template)]
#[template(path = "downloads/mine.html")]
struct MinePage {
    frame: Frame,
    asked: Asked,
    downloads: Vec<Line>,
    totals: Totals,
    sent: String,
    older: Option<String>,
    /// The same rows as files: what stands behind their `?`.
    exports: String,
    today: Today,
}

struct Line {
    download: Download,
    sent: String,
    size: String,
    at: String,
}

/// What the account may still have today, in words.
struct Today {
    /// `12 GB of 2.0 TB`; nothing where a day is not limited.
    bytes: Option<String>,
    is_used_up: bool,
    resets: String,
    running: usize,
    at_once: usize,
}

impl From<Standing> for Today {
    fn from(standing: Standing) -> Self {
        let bytes = |limit| format!("{} of {}", human_bytes(standing.used_bytes), human_bytes(limit));
        Self {
            bytes: standing.bytes_a_day.map(bytes),
            is_used_up: standing.left_bytes() == Some(0),
            resets: when::wait(standing.resets_in_s),
            running: standing.running,
            at_once: standing.at_once,
        }
    }
}

/// `GET /account/downloads`
async fn mine(portal: Data<Portal>, by: SignedIn, asked: Query<Asked>, frame: Frame) -> Result<HttpResponse, Error> {
    let asked = asked.into_inner();
    let filter = Filter { accounts: Some(vec![by.account.id]), ..asked.filter() };
    let mut db = portal.db.acquire().await?;
    let (downloads, next) = cut(store::page(&mut db, &filter, asked.before()?, PAGE_ROWS as i64 + 1).await?);
    let totals = store::totals(&mut db, &filter).await?;
    let today = quota::standing(&mut db, &portal, by.account.id).await?.into();
    page(&MinePage {
        frame,
        downloads: downloads.into_iter().map(line).collect(),
        sent: human_bytes(totals.sent_bytes.unsigned_abs()),
        totals,
        older: next.map(|next| format!("/account/downloads?{}", asked.query(Some(next)))),
        exports: asked.query(None),
        asked,
        today,
    })
}

/// `GET /account/downloads.{ending}`
async fn mine_as_file(portal: Data<Portal>, by: SignedIn, format: Format, asked: Query<Asked>) -> HttpResponse {
    ledger_file::export(&portal, format, Filter { accounts: Some(vec![by.account.id]), ..asked.filter() }, "my-downloads")
}

fn line(download: Download) -> Line {
    Line {
        sent: human_bytes(download.sent_bytes.unsigned_abs()),
        size: human_bytes(download.size_bytes.unsigned_abs()),
        at: format!("{} {:02}:{:02}", download.last_at.date(), download.last_at.hour(), download.last_at.minute()),
        download,
    }
}
