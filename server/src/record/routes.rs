//! `/audit/…`: the log laid out as c2sp.org/tlog-tiles, and receipts. Hashes and checkpoints are public, since they say nothing about
//! anybody (every entry has a salted commitment in it); the entries themselves are for admins.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Data, Path};
use sqlx::PgConnection;

use super::api;
use crate::access;
use crate::accounts::{Account, Admin, Role, SignedIn};
use crate::audit::{self, Row, TILE_HASHES};
use crate::error::Error;
use crate::portal::Portal;

/// Full tiles never change; one in part is what it is for its width.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// Levels of tiles in a tree of 2^63 entries.
const LEVELS: u32 = 8;

/// The room's URLs.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.route("/audit/checkpoint", web::get().to(checkpoint))
        .route("/audit/key", web::get().to(key))
        .route("/audit/tile/entries/{tile:.*}", web::get().to(entries))
        .route("/audit/tile/{level}/{tile:.*}", web::get().to(tile))
        .route("/audit/receipt/{seq}", web::get().to(receipt))
        .route("/api/v1/receipts/{seq}", web::get().to(api::receipt));
}

/// `GET /audit/checkpoint`: the newest signed note.
async fn checkpoint(portal: Data<Portal>) -> Result<HttpResponse, Error> {
    let note = portal.audit.note()?.ok_or(Error::NotFound("checkpoint"))?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-cache")).content_type(TEXT).body(note))
}

/// `GET /audit/key`: what the notes are signed with.
async fn key(portal: Data<Portal>) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-cache")).content_type(TEXT).body(format!("{}\n", portal.audit.key()))
}

/// `GET /audit/tile/{level}/{tile}`
async fn tile(portal: Data<Portal>, path: Path<(String, String)>) -> Result<HttpResponse, Error> {
    let (level, name) = path.into_inner();
    let not_found = || Error::NotFound("tile");
    let (tile, width) = audit::parse_name(&name).ok_or_else(not_found)?;
    let level = (0..LEVELS).find(|known| known.to_string() == level).ok_or_else(not_found)?;
    let signed = portal.audit.checkpoint()?.map_or(0, |checkpoint| checkpoint.size);
    if !is_there(tile, width, signed >> (8 * level)) {
        return Err(not_found());
    }
    let hashes = portal.audit.tiles().read(level, tile, width)?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, FOR_EVER)).content_type(BYTES).body(hashes))
}

/// `GET /audit/tile/entries/{tile}`: who, when, what and about whom; for admins, since it tells who has applied for what.
async fn entries(portal: Data<Portal>, _: Admin, name: Path<String>) -> Result<HttpResponse, Error> {
    let not_found = || Error::NotFound("entry bundle");
    let (tile, width) = audit::parse_name(&name).ok_or_else(not_found)?;
    let signed = portal.audit.checkpoint()?.map_or(0, |checkpoint| checkpoint.size);
    if !is_there(tile, width, signed) {
        return Err(not_found());
    }
    let bundle = audit::entries(&mut *portal.db.acquire().await?, tile * TILE_HASHES, width).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "private, no-store")).content_type(BYTES).body(bundle))
}

/// Whether a level of so many hashes reaches that far.
fn is_there(tile: u64, width: u64, hashes: u64) -> bool {
    tile.checked_mul(TILE_HASHES).and_then(|first| first.checked_add(width)).is_some_and(|end| end <= hashes)
}

/// `GET /audit/receipt/{seq}`: the proof that an event is on the record, for those whom it concerns.
async fn receipt(portal: Data<Portal>, by: SignedIn, seq: Path<i64>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let event = found(&mut db, &by.account, by.account.role == Role::Admin, *seq).await?;
    let receipt = audit::receipt(&mut db, &portal.audit, event.seq).await?;
    Ok(HttpResponse::Ok()
        .content_type(TEXT)
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}-{}.tlog-proof\"", event.kind, event.seq)))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .body(receipt))
}

/// The event, if this account may have its receipt: whoever did it, whom it was done to, and who `reads_all` of the record. For everybody
/// else there is none.
pub(super) async fn found(db: &mut PgConnection, account: &Account, reads_all: bool, seq: i64) -> Result<Row, Error> {
    let event = audit::find(db, seq).await?.ok_or(Error::NotFound("receipt"))?;
    if reads_all || concerns(db, account, &event).await? { Ok(event) } else { Err(Error::NotFound("receipt")) }
}

async fn concerns(db: &mut PgConnection, account: &Account, event: &Row) -> Result<bool, Error> {
    if event.actor == Some(account.id) || event.subject == account.id.to_string() {
        return Ok(true);
    }
    Ok(!event.is_among_reviewers() && access::concerns(db, account.id, &event.subject).await?)
}
