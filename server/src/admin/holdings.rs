//! The store of weights: what it holds, when it was read back, and what was not what it should be.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;

use crate::accounts::Admin;
use crate::catalog::{self, Faulty, Round, human_bytes};
use crate::error::Error;
use crate::http::page::page;
use crate::http::{Frame, filters, when};
use crate::portal::Portal;

/// Rounds told of.
pub(super) const ROUNDS: i64 = 20;
/// Faulty objects told of.
pub(super) const FAULTY_MAX: i64 = 500;

#[derive(Template)]
#[template(path = "admin/store.html")]
struct StorePage {
    frame: Frame,
    objects: i64,
    bytes: String,
    faulty: Vec<Faulty>,
    rounds: Vec<RoundRow>,
}

struct RoundRow {
    started: String,
    ended: Option<String>,
    last: String,
    objects: i64,
    bytes: String,
    faults: i64,
}

impl From<Round> for RoundRow {
    fn from(round: Round) -> Self {
        Self {
            started: when::minute(round.started_at),
            ended: round.finished_at.map(when::minute),
            last: when::minute(round.last_at),
            objects: round.objects,
            bytes: human_bytes(round.bytes.unsigned_abs()),
            faults: round.faults,
        }
    }
}

/// `GET /admin/store`
pub(super) async fn store(portal: Data<Portal>, frame: Frame, _: Admin) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let holdings = catalog::holdings(&mut db).await?;
    page(&StorePage {
        frame,
        objects: holdings.objects,
        bytes: human_bytes(holdings.bytes.unsigned_abs()),
        faulty: catalog::faulty(&mut db, FAULTY_MAX).await?,
        rounds: catalog::rounds(&mut db, ROUNDS).await?.into_iter().map(RoundRow::from).collect(),
    })
}
