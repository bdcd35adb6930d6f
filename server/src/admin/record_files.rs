//! The record as a file, streamed: a page of rows is fetched when the reader has taken the one before, so millions cost no memory.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use super::record::Search;
use crate::accounts::Admin;
use crate::audit::{self, Filter, Row};
use crate::error::Error;
use crate::http::csv::{cell, moment};
use crate::http::table::Format;
use crate::portal::Portal;

/// Rows fetched at once.
const PAGE_ROWS: i64 = 1_000;
/// The first line. Times are UTC; `detail` is JSON, empty where it was erased.
const HEADER: &str = "seq,at,actor,kind,subject,detail\r\n";

/// `GET /admin/audit.csv`
pub(super) async fn as_csv(portal: Data<Portal>, _: Admin, search: Query<Search>) -> Result<HttpResponse, Error> {
    let filter = search.filter(&mut *portal.db.acquire().await?).await?;
    Ok(streamed(portal, filter, Format::Csv, HEADER, csv_line))
}

/// `GET /admin/audit.jsonl`
pub(super) async fn as_json_lines(portal: Data<Portal>, _: Admin, search: Query<Search>) -> Result<HttpResponse, Error> {
    let filter = search.filter(&mut *portal.db.acquire().await?).await?;
    Ok(streamed(portal, filter, Format::JsonLines, "", json_line))
}

/// Every row that `filter` lets through, newest first.
fn streamed(portal: Data<Portal>, filter: Filter, format: Format, first_line: &str, line: fn(&Row) -> String) -> HttpResponse {
    format.streamed("record", first_line.to_owned(), filter, move |filter| {
        let portal = portal.clone();
        async move {
            let rows = audit::page(&mut *portal.db.acquire().await?, &filter, PAGE_ROWS).await?;
            let last = rows.last().filter(|_| rows.len() as i64 == PAGE_ROWS);
            let next = last.map(|last| Filter { before: Some(last.seq), ..filter });
            Ok((rows.iter().map(line).collect(), next))
        }
    })
}

fn csv_line(row: &Row) -> String {
    let actor = row.actor.map(|actor| actor.to_string()).unwrap_or_default();
    let detail = row.detail.as_ref().map(ToString::to_string).unwrap_or_default();
    let cells = [row.seq.to_string(), moment(row.at), cell(&actor), cell(&row.kind), cell(&row.subject), cell(&detail)];
    format!("{}\r\n", cells.join(","))
}

fn json_line(row: &Row) -> String {
    let at = row.at.format(&Rfc3339).unwrap_or_default();
    let line = json!({ "seq": row.seq, "at": at, "actor": row.actor, "kind": row.kind, "subject": row.subject, "detail": row.detail });
    format!("{line}\n")
}
