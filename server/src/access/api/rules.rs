//! What access to a model takes: its gate, the rules of its owner, and a change of its licence that matters.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::policy::{self, Policy};
use super::super::{consent, forms};
use crate::accounts::AdministeringProgram;
use crate::catalog::{self, Gate};
use crate::error::Error;
use crate::http::api::{Body, Moment, NotDone, Refused, answer};
use crate::ids::ModelId;
use crate::portal::Portal;

/// What access to a model takes.
#[derive(Serialize, ToSchema)]
struct AccessTold {
    /// The model's id.
    id: ModelId,
    /// `org/name`.
    model: String,
    /// `open`, or by `application`.
    gate: &'static str,
    /// The rules, which count where the gate is `application`.
    policy: PolicyTold,
    /// SHA-256 of the form that applicants fill in now.
    form_sha256: String,
    /// SHA-256 of the licence text in force; null where there is none.
    licence_sha256: Option<String>,
    /// The last change of the licence that holders were asked to agree to; null where none was.
    licence_change: Option<ChangeTold>,
}

/// The rules.
#[derive(Serialize, ToSchema)]
struct PolicyTold {
    /// How often somebody has set them: send it when you set others.
    version: i64,
    /// Within how many days applicants are promised an answer.
    answer_days: i32,
    /// How many days after a decline the same person may apply again.
    reapply_days: i32,
    /// How many tokens an applicant may have in the playground while the application waits; 0 for none.
    trial_tokens: i32,
    /// Whether revoking takes two people: one proposes, another confirms.
    revoke_needs_two: bool,
    /// Where that rule was lifted within the last seven days: until when revoking takes two people all the same; else null.
    revoke_needs_two_until: Option<Moment>,
}

/// A change that holders agree to, or their access rests.
#[derive(Serialize, ToSchema)]
struct ChangeTold {
    /// SHA-256 of the new text.
    licence_sha256: String,
    /// When holders were asked.
    announced_at: Moment,
    /// The first moment at which access rests for whoever has not agreed.
    grace_until: Moment,
}

async fn read(portal: &Portal, id: ModelId) -> Result<AccessTold, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, id).await?;
    let rules = policy::of(&mut db, id).await?;
    let policy = rules.policy;
    Ok(AccessTold {
        id,
        model: model.full_name(),
        gate: model.gate.as_str(),
        policy: PolicyTold {
            version: rules.version,
            answer_days: policy.answer_days,
            reapply_days: policy.reapply_days,
            trial_tokens: policy.trial_tokens,
            revoke_needs_two: policy.revoke_needs_two,
            revoke_needs_two_until: rules.still_two(portal.clock.now()).map(Moment::from),
        },
        form_sha256: forms::current(&mut db, id).await?.sha256().to_owned(),
        licence_sha256: model.licence_sha256,
        licence_change: consent::last_change(&mut db, id).await?.map(|change| ChangeTold {
            licence_sha256: change.terms.licence().map(str::to_owned).unwrap_or_default(),
            announced_at: change.announced_at.into(),
            grace_until: change.grace_until.into(),
        }),
    })
}

/// What access to a model takes
///
/// Its gate, the rules, the form and the licence in force.
#[utoipa::path(get, path = "/api/v1/admin/models/{id}/access", operation_id = "get_access_rules", tag = "rules",
    params(("id" = String, Path, description = "The model's id, `model_…`.")),
    responses((status = 200, body = AccessTold), Refused), security(("token" = ["admin"])))]
pub(super) async fn rules(portal: Data<Portal>, _: AdministeringProgram, id: Path<ModelId>) -> Result<HttpResponse, Error> {
    Ok(answer(&read(&portal, *id).await?))
}

/// How a model is given.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "gate": "application" }))]
pub(super) struct GateWanted {
    /// `open` to everybody, or by `application`.
    gate: String,
}

/// Open or close a model's gate
///
/// From the next request on.
#[utoipa::path(put, path = "/api/v1/admin/models/{id}/gate", operation_id = "set_gate", tag = "rules",
    params(("id" = String, Path, description = "The model's id.")), request_body = GateWanted,
    responses((status = 200, body = AccessTold), NotDone), security(("token" = ["admin"])))]
pub(super) async fn set_gate(
    portal: Data<Portal>,
    AdministeringProgram(by): AdministeringProgram,
    id: Path<ModelId>,
    Body(sent): Body<GateWanted>,
) -> Result<HttpResponse, Error> {
    catalog::change_gate(&portal, &by, *id, sent.gate.parse::<Gate>()?).await?;
    Ok(answer(&read(&portal, *id).await?))
}

/// The rules, all of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 3, "answer_days": 7, "reapply_days": 14, "trial_tokens": 0, "revoke_needs_two": true }))]
pub(super) struct PolicyWanted {
    /// The version that was seen; if somebody has set others since, nothing is done (`stale`).
    version: Option<i64>,
    /// Within how many days applicants are promised an answer, 1 to 90.
    answer_days: i64,
    /// How many days after a decline the same person may apply again, 0 to 365.
    reapply_days: i64,
    /// How many tokens an applicant may have in the playground while the application waits, 0 to 1,000,000; 0 for none.
    trial_tokens: i64,
    /// Whether revoking takes two people.
    revoke_needs_two: bool,
}

/// Set the rules of access to a model
///
/// They hold from the next request on; revoking goes on taking two people for seven days after that rule was lifted.
#[utoipa::path(put, path = "/api/v1/admin/models/{id}/policy", operation_id = "set_policy", tag = "rules",
    params(("id" = String, Path, description = "The model's id.")), request_body = PolicyWanted,
    responses((status = 200, body = AccessTold), NotDone), security(("token" = ["admin"])))]
pub(super) async fn set_policy(
    portal: Data<Portal>,
    AdministeringProgram(by): AdministeringProgram,
    id: Path<ModelId>,
    Body(sent): Body<PolicyWanted>,
) -> Result<HttpResponse, Error> {
    let (tokens, answer_days, reapply) = (sent.trial_tokens.to_string(), sent.answer_days.to_string(), sent.reapply_days.to_string());
    let policy = Policy::parse(sent.revoke_needs_two, &tokens, &answer_days, &reapply).map_err(Error::Invalid)?;
    policy::set(&portal, &by, *id, policy, sent.version).await?;
    Ok(answer(&read(&portal, *id).await?))
}

/// What holders are asked to agree to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "licence_shown": "7f83b165…", "grace_days": 30 }))]
pub(super) struct Change {
    /// SHA-256 of the text in force that you have read; if it is another by now, nobody is asked (`stale`).
    licence_shown: String,
    /// For how many days access goes on without, 0 to 180.
    grace_days: i64,
}

/// How many were asked.
#[derive(Serialize, ToSchema)]
struct Announced {
    /// So many holders get a mail.
    asked: usize,
    /// What access takes from now on.
    access: AccessTold,
}

/// Ask holders to agree to the licence as it is now
///
/// When its text has changed in a way that matters. Who agreed to it when they applied is not asked again.
#[utoipa::path(post, path = "/api/v1/admin/models/{id}/licence-change", operation_id = "announce_licence_change", tag = "rules",
    params(("id" = String, Path, description = "The model's id.")), request_body = Change,
    responses((status = 200, body = Announced), NotDone), security(("token" = ["admin"])))]
pub(super) async fn announce(
    portal: Data<Portal>,
    AdministeringProgram(by): AdministeringProgram,
    id: Path<ModelId>,
    Body(sent): Body<Change>,
) -> Result<HttpResponse, Error> {
    let asked = consent::announce(&portal, &by, *id, Some(&sent.licence_shown), &sent.grace_days.to_string()).await?;
    Ok(answer(&Announced { asked, access: read(&portal, *id).await? }))
}
