//! The ledger as a table for spreadsheets, streamed: a page of rows is fetched when the reader has taken the one before.

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::filter::Filter;
use super::ledger::{Before, Download};
use super::store;
use crate::accounts;
use crate::error::Error;
use crate::http::csv::{cell, moment};
use crate::http::table::Format;
use crate::ids::AccountId;
use crate::portal::Portal;

/// Rows fetched at once.
const PAGE_ROWS: i64 = 1_000;
/// The first line. Times are UTC, sizes bytes.
const HEADER: &str = "last_at,started_at,account,model,revision,path,size_bytes,sent_bytes,requests,completed_at,client\r\n";
/// Every row that `filter` lets through, newest first, as a download called `name`, without its ending.
pub fn export(portal: &Data<Portal>, filter: Filter, name: &str) -> HttpResponse {
    let portal = portal.clone();
    Format::Csv.streamed(name, HEADER.to_owned(), None, move |before| {
        let (portal, filter) = (portal.clone(), filter.clone());
        async move {
            let (lines, next) = page(&portal, &filter, before).await?;
            Ok((lines, next.map(Some)))
        }
    })
}

async fn page(portal: &Portal, filter: &Filter, before: Option<Before>) -> Result<(String, Option<Before>), Error> {
    let mut db = portal.db.acquire().await?;
    let rows = store::page(&mut db, filter, before, PAGE_ROWS).await?;
    let accounts: Vec<AccountId> = rows.iter().filter_map(|row| row.account).collect();
    let people = accounts::find_accounts(&mut db, &accounts).await?;
    let mut lines = String::new();
    for row in &rows {
        let person = row.account.and_then(|id| people.iter().find(|person| person.id == id));
        lines.push_str(&line(row, person.map_or("", |person| person.email.as_str())));
    }
    let next = rows.last().filter(|_| rows.len() as i64 == PAGE_ROWS).map(|last| Before { at: last.last_at, id: last.id });
    Ok((lines, next))
}

fn line(row: &Download, who: &str) -> String {
    let cells = [
        moment(row.last_at),
        moment(row.started_at),
        cell(who),
        cell(&row.model_name),
        cell(&row.revision),
        cell(&row.path),
        row.size_bytes.to_string(),
        row.sent_bytes.to_string(),
        row.requests.to_string(),
        row.completed_at.map(moment).unwrap_or_default(),
        cell(&row.client),
    ];
    format!("{}\r\n", cells.join(","))
}
