//! The ledger for programs: what one has fetched oneself.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::filter::Filter;
use super::ledger::{Before, Download};
use super::store;
use crate::accounts::ApplyingProgram;
use crate::error::Error;
use crate::http::api::{Cut, Listed, Moment, Refused, answer, cursor, limit};
use crate::ids::{AccountId, DownloadId};
use crate::portal::Portal;

/// The room's part of the document.
#[derive(utoipa::OpenApi)]
#[openapi(paths(mine))]
pub struct Operations;

/// What stands behind the `?` of the list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Only of models whose name contains this.
    model: Option<String>,
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
    model: String,
    /// The release's revision.
    revision: String,
    /// The file's path.
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
    let model = asked.model.clone().unwrap_or_default().replace('\0', "");
    let filter = Filter { accounts: Some(vec![by.0.id]), model, ..Filter::default() };
    let before = cursor::<Before>(asked.cursor.as_deref())?;
    let mut rows = store::page(&mut *portal.db.acquire().await?, &filter, before, cut.rows()).await?;
    let next = cut.next(&mut rows, |last| Before { at: last.last_at, id: last.id });
    Ok(answer(&Listed { items: rows.into_iter().map(DownloadLine::from).collect(), next }))
}
