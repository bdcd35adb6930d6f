//! Receipts for programs.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::Serialize;
use utoipa::ToSchema;

use super::routes::found;
use crate::accounts::{AdministeringProgram, ApplyingProgram};
use crate::audit;
use crate::error::Error;
use crate::http::api::{Moment, Refused, answer};
use crate::portal::Portal;

/// The room's part of the document.
#[derive(utoipa::OpenApi)]
#[openapi(paths(receipt))]
pub struct Operations;

/// A receipt.
#[derive(Serialize, ToSchema)]
struct Receipt {
    /// The event's place on the record.
    seq: i64,
    /// What happened, in one stable word.
    #[schema(example = "application.approved")]
    kind: String,
    /// When.
    at: Moment,
    /// The proof: keep it as a file, and check it by `sluice audit check FILE --key KEY`.
    proof: String,
}

/// A receipt
///
/// It proves, without the portal, that something was recorded and when. For whoever did it, and whom it was done to; with the scope
/// `admin` besides, an admin has anybody's.
#[utoipa::path(get, path = "/api/v1/receipts/{seq}", operation_id = "get_receipt", tag = "account",
    params(("seq" = i64, Path, description = "The event's place on the record, as an application or a grant tells it.")),
    responses((status = 200, body = Receipt), Refused), security(("token" = ["apply"])))]
pub(super) async fn receipt(
    portal: Data<Portal>,
    by: ApplyingProgram,
    running: Option<AdministeringProgram>,
    seq: Path<i64>,
) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let event = found(&mut db, &by.0, running.is_some(), *seq).await?;
    let proof = audit::receipt(&mut db, &portal.audit, event.seq).await?;
    Ok(answer(&Receipt { seq: event.seq, kind: event.kind, at: event.at.into(), proof }))
}
