//! Grants: one's own, and for reviewers everybody's.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::grant::{HeldGrant, Standing};
use super::super::state_view::{name_of, standing_words};
use super::super::{close as closing, revoke as revoking, store, suspend as suspending};
use super::mine::{Nothing, Paging};
use crate::accounts::{self, Account, ApplyingProgram, Email, Person, ReviewingProgram};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::api::{Body, Cut, Listed, Moment, NotDone, Refused, answer, cursor, limit};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};
use crate::portal::Portal;

/// A grant: who may have which model, until when.
#[derive(Serialize, ToSchema)]
pub(super) struct GrantLine {
    /// Its id.
    id: GrantId,
    /// For which model: `org/name`.
    model: String,
    /// Whose it is.
    holder: Option<Person>,
    /// What it is for: `download`, `playground`, `api`.
    scopes: Vec<&'static str>,
    /// What it is worth now: `holds`, `suspended`, `blocked`, `consent_needed`, `expired`, `closed` or `revoked`.
    #[schema(example = "holds")]
    standing: &'static str,
    /// The same in a sentence.
    told: String,
    /// When it was given.
    granted_at: Moment,
    /// The first moment at which it does not hold any more.
    expires_at: Moment,
    /// The application it followed from; null when it was given without one.
    application: Option<ApplicationId>,
    /// Whether somebody proposed to revoke it, and another has to confirm or reject.
    is_revocation_proposed: bool,
}

/// Grants as they are told. `people`: those among whom the holders are looked up.
pub(super) fn lines(grants: &[HeldGrant], models: &[Model], people: &[Account], now: Timestamp) -> Vec<GrantLine> {
    let line = |held: &HeldGrant| GrantLine {
        id: held.grant.id,
        model: name_of(models, held.model).0,
        holder: people.iter().find(|person| person.id == held.account).map(Person::from),
        scopes: held.grant.scopes.iter().map(|scope| scope.as_str()).collect(),
        standing: match held.grant.standing(now) {
            Standing::Holds => "holds",
            Standing::Suspended => "suspended",
            Standing::Blocked => "blocked",
            Standing::ConsentNeeded => "consent_needed",
            Standing::Expired => "expired",
            Standing::Closed => "closed",
            Standing::Revoked => "revoked",
        },
        told: standing_words(&held.grant, now).told,
        granted_at: held.grant.granted_at.into(),
        expires_at: held.grant.expires_at.into(),
        application: held.application,
        is_revocation_proposed: held.grant.proposed.is_some(),
    };
    grants.iter().map(line).collect()
}

async fn list(
    portal: &Portal,
    cut: &Cut<'_>,
    whose: Option<AccountId>,
    model: Option<ModelId>,
    at: Option<&str>,
) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let mut grants = store::grants_after(&mut db, whose, model, cursor(at)?, cut.rows()).await?;
    let next = cut.next(&mut grants, |held| held.grant.id);
    let models = catalog::find_models(&mut db, &grants.iter().map(|held| held.model).collect::<Vec<_>>()).await?;
    let people = accounts::find_accounts(&mut db, &grants.iter().map(|held| held.account).collect::<Vec<_>>()).await?;
    Ok(answer(&Listed { items: lines(&grants, &models, &people, portal.clock.now()), next }))
}

async fn told(portal: &Portal, id: GrantId) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let held = store::find_grant(&mut db, id).await?;
    let models = catalog::find_models(&mut db, &[held.model]).await?;
    let people = accounts::find_accounts(&mut db, &[held.account]).await?;
    let mut lines = lines(&[held], &models, &people, portal.clock.now());
    Ok(answer(&lines.pop().ok_or(Error::NotFound("grant"))?))
}

/// My grants
///
/// All that I ever had, the newest first.
#[utoipa::path(get, path = "/api/v1/grants", operation_id = "list_grants", tag = "grants", params(Paging),
    responses((status = 200, body = Listed<GrantLine>), Refused), security(("token" = ["apply"])))]
pub(super) async fn mine(
    portal: Data<Portal>,
    request: HttpRequest,
    by: ApplyingProgram,
    asked: Query<Paging>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    list(&portal, &cut, Some(by.0.id), None, asked.cursor.as_deref()).await
}

/// What is attested.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "deleted": true }))]
pub(super) struct Attestation {
    /// That every copy of the weights was deleted, and the model is used no more.
    deleted: bool,
}

/// Give a grant back
///
/// With the attestation that nothing of the model is left with you.
#[utoipa::path(post, path = "/api/v1/grants/{id}/close", operation_id = "close_grant", tag = "grants",
    params(("id" = String, Path, description = "The grant's id, `grant_…`.")), request_body = Attestation,
    responses((status = 200, body = GrantLine), NotDone), security(("token" = ["apply"])))]
pub(super) async fn close(
    portal: Data<Portal>,
    by: ApplyingProgram,
    id: Path<GrantId>,
    Body(sent): Body<Attestation>,
) -> Result<HttpResponse, Error> {
    closing::close(&portal, by.0.id, *id, sent.deleted).await?;
    told(&portal, *id).await
}

/// What stands behind the `?` of the list for reviewers.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Only for this model: `org/name`.
    model: Option<String>,
    /// Only of this person: an address or an account's id.
    person: Option<String>,
    /// 1 to 200 items a page; 50 unless said.
    limit: Option<i64>,
    /// From the address of the page before.
    cursor: Option<String>,
}

/// Grants
///
/// Everybody's, the newest first.
#[utoipa::path(get, path = "/api/v1/review/grants", operation_id = "list_all_grants", tag = "review", params(Asked),
    responses((status = 200, body = Listed<GrantLine>), Refused), security(("token" = ["review"])))]
pub(super) async fn all(
    portal: Data<Portal>,
    request: HttpRequest,
    _: ReviewingProgram,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let mut db = portal.db.acquire().await?;
    let model = match asked.model.as_deref().map(|name| name.split_once('/').unwrap_or((name, ""))) {
        Some((org, name)) => Some(catalog::find_any_model(&mut db, org, name).await?.ok_or(Error::NotFound("model"))?.id),
        None => None,
    };
    let person = match asked.person.as_deref().map(|typed| (typed, Email::parse(typed))) {
        Some((_, Ok(email))) => Some(accounts::find_by_email(&mut db, &email).await?.ok_or(Error::NotFound("account"))?.id),
        Some((id, Err(_))) => Some(id.parse().map_err(|_| Error::NotFound("account"))?),
        None => None,
    };
    drop(db);
    list(&portal, &cut, person, model, asked.cursor.as_deref()).await
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reason": "The project has ended." }))]
pub(super) struct Reason {
    /// In a line or two, as the holder reads it.
    reason: String,
}

/// Revoke a grant
///
/// It holds nowhere from the next request on. Where revoking takes two, it is suspended until another reviewer confirms or rejects.
#[utoipa::path(post, path = "/api/v1/review/grants/{id}/revoke", operation_id = "revoke_grant", tag = "review",
    params(("id" = String, Path, description = "The grant's id.")), request_body = Reason,
    responses((status = 200, body = GrantLine), NotDone), security(("token" = ["review"])))]
pub(super) async fn revoke(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<GrantId>,
    Body(sent): Body<Reason>,
) -> Result<HttpResponse, Error> {
    revoking::revoke(&portal, Some(by.0.id), *id, &sent.reason).await?;
    told(&portal, *id).await
}

/// Suspend a grant
///
/// Until somebody reinstates it.
#[utoipa::path(post, path = "/api/v1/review/grants/{id}/suspend", operation_id = "suspend_grant", tag = "review",
    params(("id" = String, Path, description = "The grant's id.")), request_body = Reason,
    responses((status = 200, body = GrantLine), NotDone), security(("token" = ["review"])))]
pub(super) async fn suspend(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<GrantId>,
    Body(sent): Body<Reason>,
) -> Result<HttpResponse, Error> {
    suspending::suspend(&portal, &by, *id, &sent.reason).await?;
    told(&portal, *id).await
}

/// Let a suspended grant go on
#[utoipa::path(post, path = "/api/v1/review/grants/{id}/reinstate", operation_id = "reinstate_grant", tag = "review",
    params(("id" = String, Path, description = "The grant's id.")), request_body = Nothing,
    responses((status = 200, body = GrantLine), NotDone), security(("token" = ["review"])))]
pub(super) async fn reinstate(
    portal: Data<Portal>,
    by: ReviewingProgram,
    id: Path<GrantId>,
    _: Body<Nothing>,
) -> Result<HttpResponse, Error> {
    suspending::reinstate(&portal, &by.0, *id).await?;
    told(&portal, *id).await
}

/// Agree that a grant is revoked
///
/// By another person than the one who proposed it.
#[utoipa::path(post, path = "/api/v1/review/grants/{id}/confirm", operation_id = "confirm_revocation", tag = "review",
    params(("id" = String, Path, description = "The grant's id.")), request_body = Nothing,
    responses((status = 200, body = GrantLine), NotDone), security(("token" = ["review"])))]
pub(super) async fn confirm(
    portal: Data<Portal>,
    by: ReviewingProgram,
    id: Path<GrantId>,
    _: Body<Nothing>,
) -> Result<HttpResponse, Error> {
    revoking::confirm_revocation(&portal, &by.0, *id).await?;
    told(&portal, *id).await
}

/// Do not agree that a grant is revoked
///
/// By another person than the one who proposed it: the grant goes on.
#[utoipa::path(post, path = "/api/v1/review/grants/{id}/reject", operation_id = "reject_revocation", tag = "review",
    params(("id" = String, Path, description = "The grant's id.")), request_body = Nothing,
    responses((status = 200, body = GrantLine), NotDone), security(("token" = ["review"])))]
pub(super) async fn reject(portal: Data<Portal>, by: ReviewingProgram, id: Path<GrantId>, _: Body<Nothing>) -> Result<HttpResponse, Error> {
    revoking::reject_revocation(&portal, &by.0, *id).await?;
    told(&portal, *id).await
}
