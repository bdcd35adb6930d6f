//! Every URL of the portal: what belongs to no room, then each room's own table (`<room>/routes.rs`).
//! The model's pages come last, because `/{org}/{name}` would take everything with two parts.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, ServiceConfig, get, head};
use actix_web::{HttpRequest, HttpResponse};

use crate::error::Error;
use crate::http::assets;
use crate::portal::Portal;
use crate::{access, accounts, admin, downloads, metrics, models, openapi, playground, privacy, record};

/// Wires every URL.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/healthz", get().to(healthz))
        .route("/readyz", get().to(readyz))
        .route("/metrics", get().to(metrics::metrics))
        .route("/robots.txt", get().to(robots))
        .route("/static/{bundle}/{name}", get().to(assets::serve))
        .route("/static/{bundle}/{name}", head().to(assets::serve))
        .configure(openapi::configure)
        .configure(accounts::configure)
        .configure(access::configure)
        .configure(privacy::configure)
        .configure(admin::configure)
        .configure(record::configure)
        .configure(playground::configure)
        .configure(downloads::configure)
        .configure(models::configure)
        .default_service(actix_web::web::to(nothing_here));
}

/// `GET /healthz`: the process lives.
async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// `GET /readyz`: whether database, store and engine do their work, and how each is. 503 while one does not.
async fn readyz(portal: Data<Portal>) -> HttpResponse {
    let parts = portal.readiness().await;
    let (mut answer, word) =
        if parts.is_ready() { (HttpResponse::Ok(), "ready") } else { (HttpResponse::ServiceUnavailable(), "not ready") };
    answer.insert_header((CACHE_CONTROL, "no-store")).json(serde_json::json!({
        "status": word,
        "database": parts.database.words(),
        "store": parts.store.words(),
        "engine": parts.engine.words(),
    }))
}

/// `GET /robots.txt`: crawlers have no business with files and forms.
async fn robots() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("User-agent: *\nDisallow: /api/\nDisallow: /v1/\nDisallow: /account\nDisallow: /review\nDisallow: /admin\n")
}

async fn nothing_here(_: HttpRequest) -> Result<HttpResponse, Error> {
    Err(Error::NotFound("page"))
}
