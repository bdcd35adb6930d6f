//! The record as a file.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};

use super::record::Search;
use crate::accounts::Admin;
use crate::audit::{self, Filter, Row};
use crate::error::Error;
use crate::http::table::{Cell, FILE_ROWS, Format, behind};
use crate::portal::Portal;

/// Nothing stands under `detail` where it was erased.
const KEYS: &[&str] = &["seq", "at", "actor", "kind", "subject", "detail"];

/// `GET /admin/audit.{ending}`: every row that the search lets through, newest first.
pub(super) async fn file(portal: Data<Portal>, _: Admin, format: Format, search: Query<Search>) -> Result<HttpResponse, Error> {
    let filter = search.filter(&mut *portal.db.acquire().await?).await?;
    Ok(format.streamed("record", KEYS, move |before: Option<i64>| {
        let (portal, filter) = (portal.clone(), Filter { before: before.or(filter.before), ..filter.clone() });
        async move {
            let rows = audit::page(&mut *portal.db.acquire().await?, &filter, FILE_ROWS).await?;
            let next = behind(&rows, FILE_ROWS, |last| last.seq);
            Ok((rows.into_iter().map(cells).collect(), next))
        }
    }))
}

fn cells(row: Row) -> Vec<Cell> {
    let (actor, detail) = (Cell::maybe(row.actor), row.detail.map_or(Cell::Nothing, Cell::Parts));
    vec![Cell::Count(row.seq), Cell::at(row.at), actor, Cell::text(row.kind), Cell::text(row.subject), detail]
}
