//! Grants: one's own, and for reviewers everybody's.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::super::grant::{HeldGrant, Note};
use super::super::people::People;
use super::super::renewal::RenewalState;
use super::super::state_view::{name_of, standing_words};
use super::super::{close as closing, policy, revoke as revoking, store, suspend as suspending};
use super::mine::Paging;
use super::renewals::{self, RenewalLine};
use super::view::{self, RecordedLine};
use crate::accounts::{self, ApplyingProgram, Email, Person, ReviewingProgram};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::api::{Body, Cut, Listed, Moment, NotDone, Nothing, Refused, answer, cursor, limit};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};
use crate::portal::Portal;

/// How many proposals to revoke are listed.
const PROPOSED_MAX: i64 = 200;

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
    /// From when on it rests, unless its holder agrees to a licence that has changed; null where nothing is asked.
    consent_due_at: Option<Moment>,
    /// The last request to renew it: `open` while it waits for a reviewer, `approved`, `declined`, `withdrawn` or `lapsed`; null where none
    /// was made.
    renewal: Option<&'static str>,
}

/// Grants as they are told.
pub(super) async fn lines(db: &mut PgConnection, grants: &[HeldGrant], now: Timestamp) -> Result<Vec<GrantLine>, Error> {
    let models = catalog::find_models(db, &grants.iter().map(|held| held.model).collect::<Vec<ModelId>>()).await?;
    let people = People(accounts::find_accounts(db, &grants.iter().map(|held| held.account).collect::<Vec<AccountId>>()).await?);
    let renewals = store::newest_renewals(db, &grants.iter().map(|held| held.grant.id).collect::<Vec<GrantId>>()).await?;
    let line = |held: &HeldGrant| GrantLine {
        id: held.grant.id,
        model: name_of(&models, held.model).0,
        holder: people.find(held.account).map(Person::from),
        scopes: held.grant.scopes.iter().map(|scope| scope.as_str()).collect(),
        standing: held.grant.standing(now).as_str(),
        told: standing_words(&held.grant, now).told,
        granted_at: held.grant.granted_at.into(),
        expires_at: held.grant.expires_at.into(),
        application: held.application,
        is_revocation_proposed: held.grant.proposed.is_some(),
        consent_due_at: held.grant.consent_due_at.filter(|_| held.grant.standing(now).is_running()).map(Moment),
        renewal: renewals.iter().find(|renewal| renewal.grant == held.grant.id).map(|renewal| renewal.state.as_str()),
    };
    Ok(grants.iter().map(line).collect())
}

/// One grant, as it is told.
pub(super) async fn line(db: &mut PgConnection, held: &HeldGrant, now: Timestamp) -> Result<GrantLine, Error> {
    lines(db, std::slice::from_ref(held), now).await?.pop().ok_or(Error::NotFound("grant"))
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
    Ok(answer(&Listed { items: lines(&mut db, &grants, portal.clock.now()).await?, next }))
}

/// The grant as it is now.
pub(super) async fn told(portal: &Portal, id: GrantId) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let held = store::find_grant(&mut db, id).await?;
    Ok(answer(&line(&mut db, &held, portal.clock.now()).await?))
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

/// What a model was used for, by what the ledgers say.
#[derive(Serialize, ToSchema)]
pub(super) struct Used {
    /// Files that were downloaded.
    files: i64,
    /// Bytes that were sent.
    bytes: i64,
    /// Generations.
    generations: i64,
    /// Tokens that were generated.
    tokens: i64,
    /// When any of it happened last; null for never.
    last_at: Option<Moment>,
}

/// What its holder has had of the model since a grant was given.
pub(super) async fn used(db: &mut PgConnection, held: &HeldGrant) -> Result<Used, Error> {
    let used = store::used(db, held.account, held.model, held.grant.granted_at).await?;
    let (files, bytes, generations, tokens) = (used.files, used.sent_bytes, used.generations, used.tokens);
    Ok(Used { files, bytes, generations, tokens, last_at: used.last_at.map(Moment) })
}

/// A grant of one's own, whole.
#[derive(Serialize, ToSchema)]
struct OwnGrant {
    /// In short.
    grant: GrantLine,
    /// Why it was given, where no application led to it.
    reason: Option<String>,
    /// What it was used for.
    used: Used,
    /// Why no renewal can be asked for now; null if one can.
    not_renewable: Option<String>,
    /// The requests to renew it, the newest first.
    renewals: Vec<RenewalLine>,
    /// What stands on the record about it, the oldest first.
    record: Vec<RecordedLine>,
}

/// One grant of mine
///
/// What it is worth, what it was used for, whether it can be renewed, and what stands on record.
#[utoipa::path(get, path = "/api/v1/grants/{id}", operation_id = "get_grant", tag = "grants",
    params(("id" = String, Path, description = "The grant's id, `grant_…`.")),
    responses((status = 200, body = OwnGrant), Refused), security(("token" = ["apply"])))]
pub(super) async fn one(portal: Data<Portal>, by: ApplyingProgram, id: Path<GrantId>) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let held = own(store::find_grant(&mut db, *id).await?, by.0.id)?;
    let asked = store::renewals_of(&mut db, *id).await?;
    let is_asked = asked.iter().any(|renewal| renewal.state == RenewalState::Open);
    let not_renewable = match held.grant.can_be_renewed(now) {
        Ok(()) if is_asked => Some("a renewal was asked for already; it waits for a reviewer".into()),
        Ok(()) => None,
        Err(why) => Some(why.to_string()),
    };
    Ok(answer(&OwnGrant {
        grant: line(&mut db, &held, now).await?,
        used: used(&mut db, &held).await?,
        not_renewable,
        renewals: renewals::lines(&mut db, &asked, false).await?,
        record: view::record(&mut db, vec![id.to_string()], &portal.config).await?,
        reason: held.application.is_none().then_some(held.reason),
    }))
}

/// For everybody else it does not exist.
pub(super) fn own(held: HeldGrant, reader: AccountId) -> Result<HeldGrant, Error> {
    if held.account == reader { Ok(held) } else { Err(Error::NotFound("grant")) }
}

/// What stands behind the `?` of the list for reviewers.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// `all` (unless said), `in_force` for those whose time runs, or `proposed` for those that somebody proposed to revoke, the longest
    /// waiting first and 200 at most. The last two are not narrowed to a model or a person.
    view: Option<String>,
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
    let (now, is_narrowed) = (portal.clock.now(), asked.model.is_some() || asked.person.is_some());
    match asked.view.as_deref().unwrap_or("all") {
        "all" => {}
        "in_force" | "proposed" if is_narrowed => {
            return Err(FieldError::new("view", "is all where a model or a person is named").into());
        }
        "in_force" => {
            let mut grants = store::grants_in_force(&mut db, now, cursor(asked.cursor.as_deref())?, cut.rows()).await?;
            let next = cut.next(&mut grants, |held| held.grant.id);
            return Ok(answer(&Listed { items: lines(&mut db, &grants, now).await?, next }));
        }
        "proposed" => {
            let grants = store::revocations_proposed(&mut db, now, PROPOSED_MAX).await?;
            return Ok(answer(&Listed { items: lines(&mut db, &grants, now).await?, next: None }));
        }
        _ => return Err(FieldError::new("view", "is one of all, in_force, proposed").into()),
    }
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

/// What somebody did about a grant.
#[derive(Serialize, ToSchema)]
struct NoteLine {
    /// When.
    at: Moment,
    /// Who; null for the operator's command. Of your own grant that is "A reviewer".
    by: Option<String>,
    /// Why, as its holder reads it.
    reason: String,
}

/// A grant, as reviewers see it.
#[derive(Serialize, ToSchema)]
struct GrantCase {
    /// In short.
    grant: GrantLine,
    /// Why it was given.
    reason: String,
    /// What it was used for.
    used: Used,
    /// While somebody has suspended it.
    suspended: Option<NoteLine>,
    /// While somebody has proposed to revoke it: another confirms or rejects.
    proposed: Option<NoteLine>,
    /// Whether revoking takes two people now.
    revoke_needs_two: bool,
    /// The requests to renew it, the newest first.
    renewals: Vec<RenewalLine>,
}

/// One grant
///
/// Whose it is, what it was used for, and what stands against it.
#[utoipa::path(get, path = "/api/v1/review/grants/{id}", operation_id = "get_any_grant", tag = "review",
    params(("id" = String, Path, description = "The grant's id.")),
    responses((status = 200, body = GrantCase), Refused), security(("token" = ["review"])))]
pub(super) async fn any(portal: Data<Portal>, ReviewingProgram(by): ReviewingProgram, id: Path<GrantId>) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let held = store::find_grant(&mut db, *id).await?;
    let asked = store::renewals_of(&mut db, *id).await?;
    let actors = [&held.grant.suspended, &held.grant.proposed].into_iter().flatten().filter_map(|note| note.by);
    let people = People(accounts::find_accounts(&mut db, &actors.collect::<Vec<AccountId>>()).await?);
    let name = |reviewer| if held.account == by.0.id { "A reviewer".to_owned() } else { people.name(reviewer) };
    let note = |note: &Note| NoteLine { at: note.at.into(), by: note.by.map(name), reason: note.reason.clone() };
    Ok(answer(&GrantCase {
        grant: line(&mut db, &held, now).await?,
        used: used(&mut db, &held).await?,
        suspended: held.grant.suspended.as_ref().map(note),
        proposed: held.grant.proposed.as_ref().map(note),
        revoke_needs_two: policy::of(&mut db, held.model).await?.revoking_takes_two(now),
        renewals: renewals::lines(&mut db, &asked, true).await?,
        reason: held.reason,
    }))
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
