//! Agreeing to a licence that has changed.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{consent, store};
use super::grants::{self, GrantLine, own};
use crate::accounts::ApplyingProgram;
use crate::catalog;
use crate::error::Error;
use crate::http::api::{Body, Moment, NotDone, Refused, answer};
use crate::ids::GrantId;
use crate::portal::Portal;

/// Whether something is to be agreed to.
#[derive(Serialize, ToSchema)]
struct ConsentTold {
    /// What it is; null where nothing is asked.
    asked: Option<ConsentAsked>,
}

/// What is to be agreed to.
#[derive(Serialize, ToSchema)]
struct ConsentAsked {
    /// SHA-256 of the text; send it when you agree.
    licence_shown: String,
    /// The text.
    text: String,
    /// The first moment at which access rests for whoever has not agreed.
    due_at: Moment,
    /// What is agreed to, clause by clause.
    clauses: Vec<ClauseLine>,
}

/// One clause.
#[derive(Serialize, ToSchema)]
struct ClauseLine {
    /// The name to send in `agreed`.
    field: String,
    /// What is agreed to.
    wording: String,
}

/// Read what is to be agreed to
///
/// The licence of the model as it is now, where it has changed in a way that matters.
#[utoipa::path(get, path = "/api/v1/grants/{id}/consent", operation_id = "get_consent", tag = "grants",
    params(("id" = String, Path, description = "The grant's id.")),
    responses((status = 200, body = ConsentTold), Refused), security(("token" = ["apply"])))]
pub(super) async fn show(portal: Data<Portal>, by: ApplyingProgram, id: Path<GrantId>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let held = own(store::find_grant(&mut db, *id).await?, by.0.id)?;
    let due = consent::due(&mut db, &held).await?.filter(|_| held.grant.standing(portal.clock.now()).is_running());
    let asked = match due {
        Some(due) => Some(ConsentAsked {
            text: catalog::licence(&mut db, &due.licence_sha256).await?.map(|licence| licence.body).unwrap_or_default(),
            licence_shown: due.licence_sha256,
            due_at: due.by.into(),
            clauses: due.clauses.into_iter().map(|clause| ClauseLine { field: clause.field, wording: clause.wording }).collect(),
        }),
        None => None,
    };
    Ok(answer(&ConsentTold { asked }))
}

/// What is agreed to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "licence_shown": "7f83b165…", "agreed": ["agree_non_commercial", "agree_no_military"] }))]
pub(super) struct Agreement {
    /// SHA-256 of the text that was read. If another one is asked for by now, nothing is agreed to.
    licence_shown: String,
    /// The `field` of every clause.
    agreed: Vec<String>,
}

/// Agree to a licence that has changed
///
/// Clause by clause. Access goes on, or goes on again.
#[utoipa::path(post, path = "/api/v1/grants/{id}/consent", operation_id = "agree", tag = "grants",
    params(("id" = String, Path, description = "The grant's id.")), request_body = Agreement,
    responses((status = 200, body = GrantLine), NotDone), security(("token" = ["apply"])))]
pub(super) async fn agree(
    portal: Data<Portal>,
    by: ApplyingProgram,
    id: Path<GrantId>,
    Body(sent): Body<Agreement>,
) -> Result<HttpResponse, Error> {
    consent::agree(&portal, by.0.id, *id, &sent.licence_shown, &sent.agreed).await?;
    grants::told(&portal, *id).await
}
