//! The description of `/api/v1`: each room tells of its operations (its `Operations`), this puts them together, as a document for
//! programs and as a page for people. It decides nothing and looks nothing up.

mod document;
mod example;
mod page;

use actix_web::HttpResponse;
use actix_web::web::{Data, ServiceConfig, get};

pub use document::document;

use crate::error::Error;
use crate::http::Frame;
use crate::portal::Portal;

/// Wires the two.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/openapi.json", get().to(as_json)).route("/api/docs", get().to(as_page));
}

/// `GET /api/openapi.json`
async fn as_json(portal: Data<Portal>) -> HttpResponse {
    HttpResponse::Ok().json(document(&portal.config))
}

/// `GET /api/docs`
async fn as_page(portal: Data<Portal>, frame: Frame) -> Result<HttpResponse, Error> {
    let document = serde_json::to_value(document(&portal.config)).map_err(Error::internal)?;
    crate::http::page::page(&page::DocsPage::new(frame, &document))
}
