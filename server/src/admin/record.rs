//! The record: what happened, when and by whom, newest first.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgConnection;
use url::form_urlencoded;

use crate::accounts::{self, Account, Admin, Email};
use crate::audit::{self, Filter, Row};
use crate::catalog;
use crate::error::Error;
use crate::http::page::page;
use crate::http::{Frame, when};
use crate::ids::AccountId;
use crate::portal::Portal;

/// Rows on one page.
const PAGE: usize = 100;
/// The kinds by their first word, as the filter offers them.
const KINDS: [&str; 6] = ["account", "token", "model", "release", "application", "grant"];

#[derive(Template)]
#[template(path = "admin/record.html")]
struct RecordPage {
    frame: Frame,
    subject: String,
    kind: String,
    kinds: Vec<String>,
    is_unknown: bool,
    rows: Vec<RowView>,
    older: Option<String>,
}

struct RowView {
    seq: i64,
    at: String,
    actor: String,
    kind: String,
    subject: String,
    detail: Vec<(String, String)>,
}

#[derive(Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    subject: String,
    #[serde(default)]
    kind: String,
    before: Option<i64>,
}

/// `GET /admin/audit`
pub(super) async fn record(portal: Data<Portal>, frame: Frame, _: Admin, search: Query<Search>) -> Result<HttpResponse, Error> {
    let search = search.into_inner();
    let mut db = portal.db.acquire().await?;
    let kind = Some(search.kind.trim().to_owned()).filter(|kind| !kind.is_empty());
    let subject = subject_of(&mut db, search.subject.trim()).await?;
    let filter = Filter { subject: subject.clone(), kind, before: search.before };
    let mut rows = audit::page(&mut db, &filter, PAGE as i64 + 1).await?;
    let is_more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let actors: Vec<AccountId> = rows.iter().filter_map(|row| row.actor).collect();
    let people = accounts::find_accounts(&mut db, &actors).await?;
    let mut kinds: Vec<String> = KINDS.iter().map(|kind| (*kind).to_owned()).collect();
    kinds.extend(filter.kind.filter(|kind| !KINDS.contains(&kind.as_str())));
    page(&RecordPage {
        frame,
        kinds,
        is_unknown: rows.is_empty(),
        older: rows.last().filter(|_| is_more).map(|last| older(&search, last.seq)),
        rows: rows.into_iter().map(|row| view(row, &people)).collect(),
        subject: search.subject,
        kind: search.kind,
    })
}

/// What a person typed as the subject: an id, the address of an account, or the name of a model.
async fn subject_of(db: &mut PgConnection, typed: &str) -> Result<Option<String>, Error> {
    if typed.is_empty() {
        return Ok(None);
    }
    if let Ok(email) = Email::parse(typed)
        && let Some(account) = accounts::find_by_email(db, &email).await?
    {
        return Ok(Some(account.id.to_string()));
    }
    if let Some((org, name)) = typed.split_once('/')
        && let Some(model) = catalog::find_any_model(db, org, name).await?
    {
        return Ok(Some(model.id.to_string()));
    }
    Ok(Some(typed.to_owned()))
}

fn older(search: &Search, before: i64) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("subject", &search.subject)
        .append_pair("kind", &search.kind)
        .append_pair("before", &before.to_string())
        .finish();
    format!("/admin/audit?{query}")
}

fn view(row: Row, people: &[Account]) -> RowView {
    let actor = row.actor.map(|id| people.iter().find(|account| account.id == id).map_or_else(|| id.to_string(), |a| a.email.to_string()));
    let detail = row.detail.as_object().into_iter().flatten().map(|(key, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (key.replace('_', " "), value)
    });
    RowView {
        seq: row.seq,
        at: when::minute(row.at),
        actor: actor.unwrap_or_else(|| "the operator".into()),
        kind: row.kind,
        subject: row.subject,
        detail: detail.collect(),
    }
}
