//! The ledger for programs: what one has fetched oneself.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::filter::{Asked, Filter, Totals};
use super::ledger::{Before, Download};
use super::{quota, store};
use crate::accounts::ApplyingProgram;
use crate::error::Error;
use crate::http::api::{Cut, Listed, Moment, Refused, answer, cursor, limit};
use crate::ids::{AccountId, DownloadId};
use crate::portal::Portal;

/// The room's part of the document.
#[derive(utoipa::OpenApi)]
#[openapi(paths(mine, summary))]
pub struct Operations;

/// What stands behind the `?` of the list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Only of models whose name contains this.
    model: Option<String>,
    /// Only files that are `complete`, or had in `part`.
    state: Option<String>,
    /// Only from this day on (UTC), such as `2026-03-02`.
    from: Option<String>,
    /// Only up to this day.
    to: Option<String>,
    /// 1 to 200 items a page; 50 unless said.
    limit: Option<i64>,
    /// From the address of the page before.
    cursor: Option<String>,
}

/// What one account fetched of one file on one day.
#[derive(Serialize, ToSchema)]
pub struct DownloadLine {
    /// Its id.
    id: DownloadId,
    /// Who; null when an open model was fetched without an account.
    account: Option<AccountId>,
    /// The model's name at that time.
    #[schema(example = "sluice/opt-verse-6m")]
    model: String,
    /// The release's revision.
    #[schema(example = "b0b2f7c3d0d24f1c9a6f0f6a3c1f0f0d2f0e7a11")]
    revision: String,
    /// The file's path.
    #[schema(example = "model.safetensors")]
    path: String,
    /// The file's size.
    size_bytes: i64,
    /// What was sent, over all requests.
    sent_bytes: i64,
    /// How many requests.
    requests: i32,
    /// The first request.
    started_at: Moment,
    /// The last time bytes were sent.
    last_at: Moment,
    /// When as many bytes had been sent as the file has; null before that.
    completed_at: Option<Moment>,
    /// What the client called itself.
    #[schema(example = "hf/0.36")]
    client: String,
}

impl From<Download> for DownloadLine {
    fn from(row: Download) -> Self {
        Self {
            id: row.id,
            account: row.account,
            model: row.model_name,
            revision: row.revision,
            path: row.path,
            size_bytes: row.size_bytes,
            sent_bytes: row.sent_bytes,
            requests: row.requests,
            started_at: row.started_at.into(),
            last_at: row.last_at.into(),
            completed_at: row.completed_at.map(Moment),
            client: row.client,
        }
    }
}

/// Rows of the ledger, put together.
#[derive(Serialize, ToSchema)]
pub struct DownloadTotals {
    /// Files; one counts once for each person, release and day.
    files: i64,
    /// Of these, those that came whole.
    complete: i64,
    /// What was sent.
    sent_bytes: i64,
    /// Accounts they are of.
    accounts: i64,
}

impl From<Totals> for DownloadTotals {
    fn from(totals: Totals) -> Self {
        Self { files: totals.rows, complete: totals.complete, sent_bytes: totals.sent_bytes, accounts: totals.accounts }
    }
}

/// What one had, and what one may still have today.
#[derive(Serialize, ToSchema)]
struct Summary {
    /// All downloads together.
    totals: DownloadTotals,
    /// Today's bytes and places.
    today: Today,
}

/// How much of a day (UTC) is used.
#[derive(Serialize, ToSchema)]
struct Today {
    /// What an account may have in a day; null where that is not limited.
    #[schema(example = 2_000_000_000_000_u64)]
    bytes_a_day: Option<u64>,
    /// What was had today, with what is under way.
    used_bytes: u64,
    /// What is left; null where it is not limited.
    left_bytes: Option<u64>,
    /// When the count begins anew, in seconds.
    resets_in_s: u32,
    /// Transfers that run.
    running: usize,
    /// Transfers that may run at once.
    #[schema(example = 64)]
    at_once: usize,
}

/// My downloads in numbers
///
/// All of them together, and what is left of today's quota.
#[utoipa::path(get, path = "/api/v1/downloads/summary", operation_id = "get_downloads_summary", tag = "account",
    responses((status = 200, body = Summary), Refused), security(("token" = ["apply"])))]
pub(super) async fn summary(portal: Data<Portal>, by: ApplyingProgram) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let totals = store::totals(&mut db, &Filter { accounts: Some(vec![by.0.id]), ..Filter::default() }).await?;
    let standing = quota::standing(&mut db, &portal, by.0.id).await?;
    let today = Today {
        bytes_a_day: standing.bytes_a_day,
        used_bytes: standing.used_bytes,
        left_bytes: standing.left_bytes(),
        resets_in_s: standing.resets_in_s,
        running: standing.running,
        at_once: standing.at_once,
    };
    Ok(answer(&Summary { totals: totals.into(), today }))
}

/// My downloads
///
/// The latest first; what is running is added every second.
#[utoipa::path(get, path = "/api/v1/downloads", operation_id = "list_downloads", tag = "account", params(Paging),
    responses((status = 200, body = Listed<DownloadLine>), Refused), security(("token" = ["apply"])))]
pub(super) async fn mine(
    portal: Data<Portal>,
    request: HttpRequest,
    by: ApplyingProgram,
    asked: Query<Paging>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let asked = asked.into_inner();
    let before = cursor::<Before>(asked.cursor.as_deref())?;
    let meant = Asked::new(asked.model, None, asked.state, asked.from, asked.to);
    let filter = Filter { accounts: Some(vec![by.0.id]), ..meant.understood()? };
    let mut rows = store::page(&mut *portal.db.acquire().await?, &filter, before, cut.rows()).await?;
    let next = cut.next(&mut rows, |last| Before { at: last.last_at, id: last.id });
    Ok(answer(&Listed { items: rows.into_iter().map(DownloadLine::from).collect(), next }))
}
