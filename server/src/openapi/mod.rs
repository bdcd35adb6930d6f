//! The description of `/api/v1`: each room tells of its operations (its `Operations`), this puts them together, as a document for
//! programs and as pages for people. It decides nothing and looks nothing up.

mod codes;
mod document;
mod example;
mod fields;
mod operation;
mod page;
mod words;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, ServiceConfig, get};

pub use document::document;

use crate::error::Error;
use crate::http::Frame;
use crate::portal::Portal;

/// Wires the document and its pages.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/openapi.json", get().to(as_json)).route("/api/docs", get().to(start)).route("/api/docs/{tag}", get().to(tag));
}

/// `GET /api/openapi.json`
async fn as_json(portal: Data<Portal>) -> HttpResponse {
    HttpResponse::Ok().json(document(&portal.config))
}

/// `GET /api/docs`
async fn start(portal: Data<Portal>, frame: Frame) -> Result<HttpResponse, Error> {
    let document = serde_json::to_value(document(&portal.config)).map_err(Error::internal)?;
    crate::http::page::page(&page::StartPage::new(frame, &document))
}

/// `GET /api/docs/{tag}`
async fn tag(portal: Data<Portal>, frame: Frame, tag: Path<String>) -> Result<HttpResponse, Error> {
    let document = serde_json::to_value(document(&portal.config)).map_err(Error::internal)?;
    crate::http::page::page(&page::TagPage::new(frame, &document, &tag).ok_or(Error::NotFound("page"))?)
}
