//! The record: what happened, when and by whom.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::record::{account_of, subjects_of};
use crate::accounts::AdministeringProgram;
use crate::audit;
use crate::error::{Error, FieldError};
use crate::http::api::{Cut, Listed, Moment, Refused, answer, cursor, limit};
use crate::http::when;
use crate::ids::AccountId;
use crate::portal::Portal;

/// What stands behind the `?` of the record.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordAsked {
    /// Only about this: an id, the address of an account (which stands for its applications, grants and renewals as well), or the name of
    /// a model.
    subject: Option<String>,
    /// Only of this kind, such as `application.approved`, or all of a first word such as `grant`.
    kind: Option<String>,
    /// Only what this account did: an address or an id.
    by: Option<String>,
    /// Only from this day on (UTC), such as `2026-03-02`.
    from: Option<String>,
    /// Only up to this day.
    to: Option<String>,
    /// 1 to 200 items a page; 50 unless said.
    limit: Option<i64>,
    /// From the address of the page before.
    cursor: Option<String>,
}

/// One row of the record.
#[derive(Serialize, ToSchema)]
struct Event {
    /// Its place.
    seq: i64,
    /// When.
    at: Moment,
    /// Who; null for the operator.
    by: Option<AccountId>,
    /// What.
    #[schema(example = "application.approved")]
    kind: String,
    /// About what.
    subject: String,
    /// What belongs to it; null once it was erased, to forget somebody.
    #[schema(value_type = Option<Object>)]
    detail: Option<serde_json::Value>,
}

/// The record
///
/// What happened, the latest first.
#[utoipa::path(get, path = "/api/v1/admin/audit", operation_id = "list_events", tag = "admin", params(RecordAsked),
    responses((status = 200, body = Listed<Event>), Refused), security(("token" = ["admin"])))]
pub(super) async fn record(
    portal: Data<Portal>,
    request: HttpRequest,
    _: AdministeringProgram,
    asked: Query<RecordAsked>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let asked = asked.into_inner();
    let day = |field: &'static str, typed: &Option<String>| match typed {
        Some(typed) => when::parse_date_field(typed).map(Some).ok_or_else(|| FieldError::new(field, "is a day such as 2026-03-02")),
        None => Ok(None),
    };
    let (from, to) = (day("from", &asked.from)?, day("to", &asked.to)?);
    let mut db = portal.db.acquire().await?;
    let actor = match asked.by.as_deref() {
        Some(by) => Some(account_of(&mut db, by.trim()).await?.ok_or(Error::NotFound("account"))?),
        None => None,
    };
    let filter = audit::Filter {
        subjects: subjects_of(&mut db, asked.subject.as_deref().unwrap_or_default().trim()).await?,
        kind: asked.kind,
        actor,
        from: from.map(|day| day.midnight().assume_utc()),
        until: to.and_then(|day| day.next_day()).map(|day| day.midnight().assume_utc()),
        before: cursor(asked.cursor.as_deref())?,
    };
    let mut rows = audit::page(&mut db, &filter, cut.rows()).await?;
    let next = cut.next(&mut rows, |last| last.seq);
    let event = |row: audit::Row| Event {
        seq: row.seq,
        at: row.at.into(),
        by: row.actor,
        kind: row.kind,
        subject: row.subject,
        detail: row.detail,
    };
    Ok(answer(&Listed { items: rows.into_iter().map(event).collect(), next }))
}
