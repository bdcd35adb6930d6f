//! Usage: what was downloaded and what was generated, by whom. Counts only; nobody's texts are kept.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;

use crate::accounts::{self, Account, Admin};
use crate::catalog::{self, Model, human_bytes};
use crate::downloads::{self, Asked, Download, Filter, PAGE_ROWS, Totals};
use crate::error::Error;
use crate::http::page::page;
use crate::http::table::Format;
use crate::http::{Frame, when};
use crate::ids::{AccountId, GenerationId, ModelId};
use crate::playground::{self, Generated};
use crate::portal::Portal;

/// Generations on one page.
const PAGE: usize = 50;
/// People that one search for a name may mean.
const PEOPLE_MAX: i64 = 500;

#[derive(Template)]
#[template(path = "admin/downloads.html")]
struct DownloadsPage {
    frame: Frame,
    asked: Asked,
    rows: Vec<DownloadRow>,
    totals: Totals,
    sent: String,
    older: Option<String>,
    /// The same rows as files: what stands behind their `?`.
    exports: String,
}

struct DownloadRow {
    at: String,
    who: String,
    model: String,
    revision: String,
    path: String,
    sent: String,
    is_complete: bool,
    client: String,
}

/// `GET /admin/usage`
pub(super) async fn downloaded(portal: Data<Portal>, frame: Frame, _: Admin, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    let asked = asked.into_inner();
    let mut db = portal.db.acquire().await?;
    let filter = filter(&mut db, &asked).await?;
    let (rows, next) = downloads::cut(downloads::page(&mut db, &filter, asked.before()?, PAGE_ROWS as i64 + 1).await?);
    let totals = downloads::totals(&mut db, &filter).await?;
    let accounts: Vec<AccountId> = rows.iter().filter_map(|download| download.account).collect();
    let people = accounts::find_accounts(&mut db, &accounts).await?;
    page(&DownloadsPage {
        frame,
        rows: rows.into_iter().map(|download| download_row(download, &people)).collect(),
        sent: human_bytes(totals.sent_bytes.unsigned_abs()),
        totals,
        older: next.map(|next| format!("/admin/usage?{}", asked.query(Some(next)))),
        exports: asked.query(None),
        asked,
    })
}

/// `GET /admin/usage.{ending}`
pub(super) async fn downloaded_as_file(portal: Data<Portal>, _: Admin, format: Format, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    let filter = filter(&mut *portal.db.acquire().await?, &asked).await?;
    Ok(downloads::export(&portal, format, filter, "downloads"))
}

/// The rows meant; of somebody who is named in part, those of everybody it may be.
pub(super) async fn filter(db: &mut PgConnection, asked: &Asked) -> Result<Filter, Error> {
    let who = asked.who();
    let accounts = match who.as_str() {
        "" => None,
        who => Some(accounts::list_accounts(db, who, None, PEOPLE_MAX).await?.iter().map(|account| account.id).collect()),
    };
    Ok(Filter { accounts, ..asked.filter() })
}

fn download_row(download: Download, people: &[Account]) -> DownloadRow {
    let bytes = |count: i64| human_bytes(u64::try_from(count).unwrap_or_default());
    DownloadRow {
        at: when::minute(download.last_at),
        who: download.account.map_or_else(|| "without an account".into(), |id| address(id, people)),
        model: download.model_name,
        revision: download.revision.chars().take(8).collect(),
        path: download.path,
        sent: format!("{} of {}", bytes(download.sent_bytes), bytes(download.size_bytes)),
        is_complete: download.completed_at.is_some(),
        client: download.client,
    }
}

fn address(id: AccountId, people: &[Account]) -> String {
    people.iter().find(|account| account.id == id).map_or_else(|| id.to_string(), |account| account.email.to_string())
}

#[derive(Template)]
#[template(path = "admin/generations.html")]
struct GenerationsPage {
    frame: Frame,
    rows: Vec<GenerationRow>,
    older: Option<GenerationId>,
}

struct GenerationRow {
    at: String,
    who: String,
    model: String,
    source: String,
    prompt_tokens: i32,
    completion_tokens: i32,
    ended: String,
}

#[derive(Deserialize)]
pub(super) struct GenerationsPaging {
    before: Option<GenerationId>,
}

/// `GET /admin/usage/generations`
pub(super) async fn generated(
    portal: Data<Portal>,
    frame: Frame,
    _: Admin,
    paging: Query<GenerationsPaging>,
) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let mut generations = playground::recent(&mut db, paging.before, PAGE as i64 + 1).await?;
    let is_more = generations.len() > PAGE;
    generations.truncate(PAGE);
    let (accounts, models): (Vec<AccountId>, Vec<ModelId>) = generations.iter().map(|made| (made.account, made.model)).unzip();
    let people = accounts::find_accounts(&mut db, &accounts).await?;
    let models = catalog::find_models(&mut db, &models).await?;
    page(&GenerationsPage {
        frame,
        older: generations.last().filter(|_| is_more).map(|last| last.id),
        rows: generations.into_iter().map(|made| generation_row(made, &people, &models)).collect(),
    })
}

fn generation_row(made: Generated, people: &[Account], models: &[Model]) -> GenerationRow {
    GenerationRow {
        at: when::minute(made.started_at),
        who: address(made.account, people),
        model: models.iter().find(|model| model.id == made.model).map_or_else(|| made.model.to_string(), Model::full_name),
        source: made.source,
        prompt_tokens: made.prompt_tokens,
        completion_tokens: made.completion_tokens,
        ended: made.finish_reason.unwrap_or_else(|| "running".into()),
    }
}
