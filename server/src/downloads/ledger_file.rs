//! The ledger as a file.

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::filter::Filter;
use super::ledger::{Before, Download};
use super::store;
use crate::accounts;
use crate::error::Error;
use crate::http::table::{Cell, FILE_ROWS, Format, Rows, behind};
use crate::ids::AccountId;
use crate::portal::Portal;

const KEYS: &[&str] =
    &["last_at", "started_at", "account", "model", "revision", "path", "size_bytes", "sent_bytes", "requests", "completed_at", "client"];

/// Every row that `filter` lets through, newest first, as a file called `name`, without its ending.
pub fn export(portal: &Data<Portal>, format: Format, filter: Filter, name: &str) -> HttpResponse {
    let portal = portal.clone();
    format.streamed(name, KEYS, move |before| {
        let (portal, filter) = (portal.clone(), filter.clone());
        async move { rows(&portal, &filter, before).await }
    })
}

async fn rows(portal: &Portal, filter: &Filter, before: Option<Before>) -> Result<Rows<Before>, Error> {
    let mut db = portal.db.acquire().await?;
    let rows = store::page(&mut db, filter, before, FILE_ROWS).await?;
    let accounts: Vec<AccountId> = rows.iter().filter_map(|row| row.account).collect();
    let people = accounts::find_accounts(&mut db, &accounts).await?;
    let next = behind(&rows, FILE_ROWS, |last| Before { at: last.last_at, id: last.id });
    let line = |row: Download| {
        let who = row.account.and_then(|id| people.iter().find(|person| person.id == id)).map(|person| person.email.as_str());
        cells(row, who)
    };
    Ok((rows.into_iter().map(line).collect(), next))
}

fn cells(row: Download, who: Option<&str>) -> Vec<Cell> {
    vec![
        Cell::at(row.last_at),
        Cell::at(row.started_at),
        Cell::maybe(who),
        Cell::text(row.model_name),
        Cell::text(row.revision),
        Cell::text(row.path),
        Cell::Count(row.size_bytes),
        Cell::Count(row.sent_bytes),
        Cell::Count(row.requests.into()),
        Cell::at(row.completed_at),
        Cell::text(row.client),
    ]
}
