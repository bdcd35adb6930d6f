//! The record: what happened, when and by whom, newest first.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgConnection;
use time::Date;
use url::form_urlencoded;

use crate::access;
use crate::accounts::{self, Account, Admin, Email};
use crate::audit::{self, Filter, Row};
use crate::catalog;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Frame, filters, when};
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
    search: Search,
    kinds: Vec<String>,
    log: LogView,
    is_unknown: bool,
    rows: Vec<RowView>,
    faults: Vec<FieldError>,
    older: Option<String>,
    /// The same rows as files: what stands behind their `?`.
    exports: String,
}

struct RowView {
    seq: i64,
    at: String,
    actor: String,
    kind: String,
    subject: String,
    detail: Vec<(String, String)>,
}

/// What the form asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Search {
    pub(super) subject: String,
    pub(super) kind: String,
    pub(super) by: String,
    pub(super) from: String,
    pub(super) to: String,
    before: Option<i64>,
}

impl Search {
    /// The rows meant. An unknown name means no rows, not all of them. Errors: `Invalid` for a day that is none.
    pub(super) async fn filter(&self, db: &mut PgConnection) -> Result<Filter, Error> {
        let (from, to) = match (day("from", &self.from), day("to", &self.to)) {
            (Ok(from), Ok(to)) => (from, to),
            (from, to) => return Err(Error::Invalid([from.err(), to.err()].into_iter().flatten().collect())),
        };
        let by = self.by.trim();
        let actor = match by {
            "" => None,
            by => Some(account_of(db, by).await?.unwrap_or_else(AccountId::fresh)),
        };
        let typed = |field: &str| field.trim().replace('\0', "");
        Ok(Filter {
            subjects: subjects_of(db, &typed(&self.subject)).await?,
            kind: Some(typed(&self.kind)).filter(|kind| !kind.is_empty()),
            actor,
            from: from.map(|day| day.midnight().assume_utc()),
            until: to.and_then(|day| day.next_day()).map(|day| day.midnight().assume_utc()),
            before: self.before,
        })
    }

    /// What stands behind `?` for the same rows: from their beginning, or from a place on.
    fn query(&self, before: Option<i64>) -> String {
        let fields = [("subject", &self.subject), ("kind", &self.kind), ("by", &self.by), ("from", &self.from), ("to", &self.to)];
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(fields.iter().filter(|(_, value)| !value.is_empty()));
        query.extend_pairs(before.map(|before| ("before", before.to_string())));
        query.finish()
    }
}

/// How the log goes, for the top of the page.
struct LogView {
    /// Why it stands still.
    fault: Option<String>,
    /// What is not as it was, if that was found when all of it was last looked through.
    damage: Option<String>,
    /// When that was.
    checked: Option<String>,
    entries_checked: u64,
    signed: u64,
    waiting: i64,
}

/// `GET /admin/audit`
pub(super) async fn record(portal: Data<Portal>, frame: Frame, _: Admin, search: Query<Search>) -> Result<HttpResponse, Error> {
    let search = search.into_inner();
    let mut db = portal.db.acquire().await?;
    let (filter, faults) = match search.filter(&mut db).await {
        Ok(filter) => (filter, vec![]),
        Err(Error::Invalid(faults)) => (Filter::default(), faults),
        Err(other) => return Err(other),
    };
    let mut rows = if faults.is_empty() { audit::page(&mut db, &filter, PAGE as i64 + 1).await? } else { vec![] };
    let is_more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let actors: Vec<AccountId> = rows.iter().filter_map(|row| row.actor).collect();
    let people = accounts::find_accounts(&mut db, &actors).await?;
    let mut kinds: Vec<String> = KINDS.iter().map(|kind| (*kind).to_owned()).collect();
    kinds.extend(filter.kind.filter(|kind| !KINDS.contains(&kind.as_str())));
    let shown = RecordPage {
        frame,
        kinds,
        log: log_view(&portal, &mut db).await?,
        is_unknown: rows.is_empty() && faults.is_empty(),
        older: rows.last().filter(|_| is_more).map(|last| format!("/admin/audit?{}", search.query(Some(last.seq)))),
        exports: search.query(None),
        rows: rows.into_iter().map(|row| view(row, &people)).collect(),
        faults,
        search,
    };
    if shown.faults.is_empty() { page(&shown) } else { page_with_faults(&shown) }
}

/// The day that a date field names, if it names one.
fn day(field: &'static str, typed: &str) -> Result<Option<Date>, FieldError> {
    match typed.trim() {
        "" => Ok(None),
        typed => when::parse_date_field(typed).map(Some).ok_or_else(|| FieldError::new(field, "enter a day, such as 2027-03-31")),
    }
}

async fn log_view(portal: &Portal, db: &mut PgConnection) -> Result<LogView, Error> {
    let audit::Standing { signed, fault, checked } = portal.audit.standing();
    let damage = checked.as_ref().and_then(|checked| checked.fault.as_ref()).map(ToString::to_string);
    let entries_checked = checked.as_ref().map_or(0, |checked| checked.entries);
    let checked = checked.map(|checked| when::minute(checked.at));
    Ok(LogView { fault, damage, checked, entries_checked, signed, waiting: audit::pending(db).await? })
}

/// Whose address or id this is.
pub(super) async fn account_of(db: &mut PgConnection, typed: &str) -> Result<Option<AccountId>, Error> {
    match Email::parse(typed) {
        Ok(email) => Ok(accounts::find_by_email(db, &email).await?.map(|account| account.id)),
        Err(_) => Ok(typed.parse().ok()),
    }
}

/// What a person typed as the subject: an id, the address of an account, or the name of a model. An account stands for its applications,
/// grants and renewals as well.
pub(super) async fn subjects_of(db: &mut PgConnection, typed: &str) -> Result<Option<Vec<String>>, Error> {
    if typed.is_empty() {
        return Ok(None);
    }
    if let Some(account) = account_of(db, typed).await? {
        let theirs = access::subjects_of(db, account).await?;
        return Ok(Some([account.to_string()].into_iter().chain(theirs).collect()));
    }
    if let Some((org, name)) = typed.split_once('/')
        && let Some(model) = catalog::find_any_model(db, org, name).await?
    {
        return Ok(Some(vec![model.id.to_string()]));
    }
    Ok(Some(vec![typed.to_owned()]))
}

fn view(row: Row, people: &[Account]) -> RowView {
    let actor = row.actor.map(|id| people.iter().find(|account| account.id == id).map_or_else(|| id.to_string(), |a| a.email.to_string()));
    let detail = match row.detail {
        Some(Value::Object(detail)) => detail.into_iter().map(|(key, value)| (key.replace('_', " "), text_of(value))).collect(),
        Some(other) => vec![("detail".into(), text_of(other))],
        None => vec![("detail".into(), "erased, to forget somebody".into())],
    };
    RowView {
        seq: row.seq,
        at: when::minute(row.at),
        actor: actor.unwrap_or_else(|| audit::without_account(&row.kind).into()),
        kind: row.kind,
        subject: row.subject,
        detail,
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
