//! How long applications for a model take, for everybody.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::turnaround_page::{QuarterPart, Told, rounded};
use super::writing::Names;
use crate::accounts::Visitor;
use crate::error::Error;
use crate::http::api::{Unreadable, answer};
use crate::http::when;
use crate::portal::Portal;

/// How long applications for a model take.
#[derive(Serialize, ToSchema)]
struct Turnaround {
    /// `org/name`.
    model: String,
    /// The last twelve months that are over, the newest first.
    months: Vec<MonthTold>,
    /// Why applications were declined, out of the months whose declines are told; quarters that are over, the newest first.
    quarters: Vec<QuarterTold>,
}

/// One month. What would tell of fewer than five applications is null.
#[derive(Serialize, ToSchema)]
struct MonthTold {
    /// Its first day.
    #[schema(example = "2026-02-01")]
    month: String,
    /// Applications that were decided.
    decided: Option<i64>,
    /// Half of the decisions came within so many days.
    median_days: Option<f64>,
    /// Nine of ten came within so many.
    p90_days: Option<f64>,
    /// How many came by the day that was promised, in words.
    in_time: Option<String>,
    /// Applications that were approved.
    approved: Option<i64>,
    /// Applications that were declined.
    declined: Option<i64>,
}

/// One quarter.
#[derive(Serialize, ToSchema)]
struct QuarterTold {
    /// Its first day.
    #[schema(example = "2026-01-01")]
    quarter: String,
    /// How many were declined for which reason, by its code.
    reasons: BTreeMap<&'static str, i64>,
    /// How many for any other; null where every reason is told.
    others: Option<i64>,
}

/// How long applications take
///
/// For one model, month by month. No number tells of fewer than five applications, nor can one be computed.
#[utoipa::path(get, path = "/api/v1/models/{org}/{name}/turnaround", operation_id = "get_turnaround", tag = "models", params(Names),
    responses((status = 200, body = Turnaround), Unreadable))]
pub(super) async fn of_model(portal: Data<Portal>, visitor: Visitor, names: Path<Names>) -> Result<HttpResponse, Error> {
    if matches!(visitor, Visitor::BadToken) {
        return Err(Error::SignedOut);
    }
    let told = Told::read(&mut *portal.db.acquire().await?, portal.clock.now()).await?;
    let model = told.models.iter().find(|model| model.org == names.org && model.name == names.name);
    let model = model.ok_or(Error::NotFound("model that is given by application"))?;
    let month = |first: &time::Date| {
        let shown = told.shown(model.id, *first);
        let outcomes = shown.as_ref().and_then(|shown| shown.outcomes);
        MonthTold {
            month: when::date_field(*first),
            decided: shown.as_ref().map(|shown| shown.decided),
            median_days: shown.as_ref().map(|shown| rounded(shown.median_s)),
            p90_days: shown.as_ref().map(|shown| rounded(shown.most_s)),
            in_time: shown.as_ref().map(|shown| shown.in_time.told()),
            approved: outcomes.map(|(approved, _)| approved),
            declined: outcomes.map(|(_, declined)| declined),
        }
    };
    let quarter = |part: QuarterPart| QuarterTold {
        quarter: when::date_field(part.first),
        reasons: part.reasons.listed.into_iter().map(|(reason, count)| (reason.as_str(), count)).collect(),
        others: part.reasons.others,
    };
    Ok(answer(&Turnaround {
        model: model.full_name(),
        months: told.months.iter().map(month).collect(),
        quarters: told.quarters(model.id).into_iter().map(quarter).collect(),
    }))
}
