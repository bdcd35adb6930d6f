//! A year in numbers, as the page draws it.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::super::figures::Figure;
use super::super::statistics;
use crate::access::statistics::Unit;
use crate::accounts::AdministeringProgram;
use crate::catalog;
use crate::error::{Error, FieldError};
use crate::http::api::{Refused, answer};
use crate::portal::Portal;

/// What stands behind the `?` of the statistics.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StatisticsAsked {
    /// By `month` (the last 12, unless said) or by `week` (the last 53), in UTC.
    by: Option<String>,
    /// Only of this model: `org/name`.
    model: Option<String>,
}

/// A year in numbers.
#[derive(Serialize, ToSchema)]
struct Year {
    /// `month` or `week`.
    #[schema(example = "month")]
    by: &'static str,
    /// Applications sent, how they ended, reasons, waits, reviewers, grants, downloads and generations.
    figures: Vec<FigureTold>,
}

/// One of the tables.
#[derive(Serialize, ToSchema)]
struct FigureTold {
    /// In a word: the name of its file at `/admin/statistics/{name}.csv`, too.
    #[schema(example = "waits")]
    name: &'static str,
    /// What it shows.
    #[schema(example = "How long decisions took")]
    title: &'static str,
    /// How it was counted.
    note: &'static str,
    /// Its columns, in order.
    columns: Vec<ColumnTold>,
    /// Its rows, each with a field for each column; where they are periods, `from` is the first day, and the newest, which is not over, stands
    /// first.
    #[schema(value_type = Vec<Object>, example = json!([{ "from": "2026-03-01", "decided": 14, "median_days": 2.5 }]))]
    rows: Vec<Value>,
}

/// A column.
#[derive(Serialize, ToSchema)]
struct ColumnTold {
    /// The name of the field.
    #[schema(example = "median_days")]
    key: &'static str,
    /// What it is called on the page.
    #[schema(example = "Half within (days)")]
    label: &'static str,
}

impl From<Figure> for FigureTold {
    fn from(figure: Figure) -> Self {
        let columns = figure.table.columns.iter().map(|column| ColumnTold { key: column.key, label: column.label }).collect();
        Self { name: figure.table.name, title: figure.title, note: figure.note, columns, rows: figure.table.objects() }
    }
}

/// Statistics
///
/// The same numbers as on the page: what was sent, decided, granted, downloaded and generated in the last year.
#[utoipa::path(get, path = "/api/v1/admin/statistics", operation_id = "get_statistics", tag = "admin", params(StatisticsAsked),
    responses((status = 200, body = Year), Refused), security(("token" = ["admin"])))]
pub(super) async fn year(portal: Data<Portal>, _: AdministeringProgram, asked: Query<StatisticsAsked>) -> Result<HttpResponse, Error> {
    let unit = match asked.by.as_deref() {
        None | Some("month") => Unit::Month,
        Some("week") => Unit::Week,
        Some(_) => return Err(FieldError::new("by", "is month or week").into()),
    };
    let mut db = portal.db.acquire().await?;
    let model = match asked.model.as_deref() {
        Some(name) => {
            let (org, name) = name.split_once('/').unwrap_or((name, ""));
            Some(catalog::find_any_model(&mut db, org, name).await?.ok_or(Error::NotFound("model"))?.id)
        }
        None => None,
    };
    let figures = statistics::figures(&mut db, portal.clock.now(), &statistics::Asked::new(unit, model)).await?;
    Ok(answer(&Year { by: unit.as_str(), figures: figures.into_iter().map(FigureTold::from).collect() }))
}
