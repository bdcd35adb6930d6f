//! What was downloaded, and by whom.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::usage;
use crate::accounts::AdministeringProgram;
use crate::downloads::{self, Before, DownloadLine};
use crate::error::Error;
use crate::http::api::{Cut, Listed, Refused, answer, cursor, limit};
use crate::portal::Portal;

/// What stands behind the `?` of usage.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageAsked {
    /// Only of models whose name contains this.
    model: Option<String>,
    /// Only of people whose name or address contains this.
    who: Option<String>,
    /// 1 to 200 items a page; 50 unless said.
    limit: Option<i64>,
    /// From the address of the page before.
    cursor: Option<String>,
}

/// Usage
///
/// What was downloaded, the latest first.
#[utoipa::path(get, path = "/api/v1/admin/usage", operation_id = "list_usage", tag = "admin", params(UsageAsked),
    responses((status = 200, body = Listed<DownloadLine>), Refused), security(("token" = ["admin"])))]
pub(super) async fn usage_of_models(
    portal: Data<Portal>,
    request: HttpRequest,
    _: AdministeringProgram,
    asked: Query<UsageAsked>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let asked = asked.into_inner();
    let before = cursor::<Before>(asked.cursor.as_deref())?;
    let mut meant = downloads::Asked::default();
    meant.model = asked.model.unwrap_or_default();
    meant.who = asked.who.unwrap_or_default();
    let mut db = portal.db.acquire().await?;
    let filter = usage::filter(&mut db, &meant).await?;
    let mut rows = downloads::page(&mut db, &filter, before, cut.rows()).await?;
    let next = cut.next(&mut rows, |last| Before { at: last.last_at, id: last.id });
    Ok(answer(&Listed { items: rows.into_iter().map(DownloadLine::from).collect(), next }))
}
