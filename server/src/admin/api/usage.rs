//! What was downloaded and generated, and by whom.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::super::usage;
use crate::accounts::AdministeringProgram;
use crate::downloads::{self, Before, DownloadLine, DownloadTotals, Filter};
use crate::error::Error;
use crate::http::api::{Cut, Listed, Moment, Refused, answer, cursor, limit};
use crate::ids::{AccountId, GenerationId, ModelId};
use crate::playground::{self, Generated};
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
    let mut db = portal.db.acquire().await?;
    let meant = downloads::Asked::new(asked.model, asked.who, asked.state, asked.from, asked.to);
    let filter = filter(&mut db, &meant).await?;
    let mut rows = downloads::page(&mut db, &filter, before, cut.rows()).await?;
    let next = cut.next(&mut rows, |last| Before { at: last.last_at, id: last.id });
    Ok(answer(&Listed { items: rows.into_iter().map(DownloadLine::from).collect(), next }))
}

/// What stands behind the `?` of the totals.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TotalsAsked {
    /// Only of models whose name contains this.
    model: Option<String>,
    /// Only of people whose name or address contains this.
    who: Option<String>,
    /// Only files that are `complete`, or had in `part`.
    state: Option<String>,
    /// Only from this day on (UTC), such as `2026-03-02`.
    from: Option<String>,
    /// Only up to this day.
    to: Option<String>,
}

/// Usage in numbers
///
/// The same downloads, together.
#[utoipa::path(get, path = "/api/v1/admin/usage/totals", operation_id = "get_usage_totals", tag = "admin", params(TotalsAsked),
    responses((status = 200, body = DownloadTotals), Refused), security(("token" = ["admin"])))]
pub(super) async fn totals(portal: Data<Portal>, _: AdministeringProgram, asked: Query<TotalsAsked>) -> Result<HttpResponse, Error> {
    let asked = asked.into_inner();
    let mut db = portal.db.acquire().await?;
    let meant = downloads::Asked::new(asked.model, asked.who, asked.state, asked.from, asked.to);
    let filter = filter(&mut db, &meant).await?;
    Ok(answer(&DownloadTotals::from(downloads::totals(&mut db, &filter).await?)))
}

async fn filter(db: &mut PgConnection, meant: &downloads::Asked) -> Result<Filter, Error> {
    meant.understood()?;
    usage::filter(db, meant).await
}

/// What stands behind the `?` of generations.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GenerationsAsked {
    /// 1 to 200 items a page; 50 unless said.
    limit: Option<i64>,
    /// From the address of the page before.
    cursor: Option<String>,
}

/// A generation: who let which model make how many tokens. Neither prompt nor answer is kept.
#[derive(Serialize, ToSchema)]
struct GenerationLine {
    /// Its id.
    id: GenerationId,
    /// Who asked.
    account: AccountId,
    /// Which model.
    model: ModelId,
    /// `page`, or `api`.
    #[schema(example = "api")]
    via: String,
    /// Tokens read.
    prompt_tokens: i32,
    /// Tokens made.
    completion_tokens: i32,
    /// When it began.
    started_at: Moment,
    /// When it ended; null while it runs.
    finished_at: Option<Moment>,
    /// `stop`, `length`, `cancelled`, `failed`, `revoked` or `interrupted`; null while it runs.
    #[schema(example = "stop")]
    finish_reason: Option<String>,
}

impl From<Generated> for GenerationLine {
    fn from(made: Generated) -> Self {
        Self {
            id: made.id,
            account: made.account,
            model: made.model,
            via: made.source,
            prompt_tokens: made.prompt_tokens,
            completion_tokens: made.completion_tokens,
            started_at: made.started_at.into(),
            finished_at: made.finished_at.map(Moment),
            finish_reason: made.finish_reason,
        }
    }
}

/// Generations
///
/// Everybody's, the latest first.
#[utoipa::path(get, path = "/api/v1/admin/usage/generations", operation_id = "list_generations", tag = "admin", params(GenerationsAsked),
    responses((status = 200, body = Listed<GenerationLine>), Refused), security(("token" = ["admin"])))]
pub(super) async fn generations(
    portal: Data<Portal>,
    request: HttpRequest,
    _: AdministeringProgram,
    asked: Query<GenerationsAsked>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let before = cursor(asked.cursor.as_deref())?;
    let mut made = playground::recent(&mut *portal.db.acquire().await?, before, cut.rows()).await?;
    let next = cut.next(&mut made, |last| last.id);
    Ok(answer(&Listed { items: made.into_iter().map(GenerationLine::from).collect(), next }))
}
