//! Agreeing to what has changed: a licence, or the clauses of a form.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::consent::{self, AskedClause};
use super::super::store;
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
    /// The name of all that is asked; send it when you agree.
    shown: String,
    /// The licence, where its text has changed.
    licence: Option<LicenceAsked>,
    /// The first moment at which access rests for whoever has not agreed.
    due_at: Moment,
    /// What is agreed to, clause by clause.
    clauses: Vec<ClauseLine>,
}

/// A licence.
#[derive(Serialize, ToSchema)]
struct LicenceAsked {
    /// SHA-256 of the text.
    sha256: String,
    /// The text.
    text: String,
}

/// One clause.
#[derive(Serialize, ToSchema)]
struct ClauseLine {
    /// The name to send in `agreed`.
    field: String,
    /// What is agreed to.
    wording: String,
    /// What you agreed to in its place, where that has other words.
    before: Option<String>,
}

/// Read what is to be agreed to
///
/// The licence of the model and the clauses of its form as they are now, where they have changed in a way that matters.
#[utoipa::path(get, path = "/api/v1/grants/{id}/consent", operation_id = "get_consent", tag = "grants",
    params(("id" = String, Path, description = "The grant's id.")),
    responses((status = 200, body = ConsentTold), Refused), security(("token" = ["apply"])))]
pub(super) async fn show(portal: Data<Portal>, by: ApplyingProgram, id: Path<GrantId>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let held = own(store::find_grant(&mut db, *id).await?, by.0.id)?;
    let due = consent::due(&mut db, &held).await?.filter(|_| held.grant.standing(portal.clock.now()).is_running());
    let Some(due) = due else { return Ok(answer(&ConsentTold { asked: None })) };
    let shown = due.shown();
    let licence = match due.licence_sha256 {
        Some(sha256) => {
            let text = catalog::licence(&mut db, &sha256).await?.map(|licence| licence.body).unwrap_or_default();
            Some(LicenceAsked { sha256, text })
        }
        None => None,
    };
    let line = |asked: AskedClause| ClauseLine { field: asked.clause.field, wording: asked.clause.wording, before: asked.before };
    let clauses = due.clauses.into_iter().map(line).collect();
    Ok(answer(&ConsentTold { asked: Some(ConsentAsked { shown, licence, due_at: due.by.into(), clauses }) }))
}

/// What is agreed to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "shown": "7f83b165…", "agreed": ["agree_non_commercial", "agree_no_military"] }))]
pub(super) struct Agreement {
    /// The `shown` of what was read. If something else is asked for by now, nothing is agreed to.
    shown: String,
    /// The `field` of every clause.
    agreed: Vec<String>,
}

/// Agree to what has changed
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
    consent::agree(&portal, by.0.id, *id, &sent.shown, &sent.agreed).await?;
    grants::told(&portal, *id).await
}
