//! Renewals: what a holder asks near the end of a grant, and what a reviewer makes of it.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::super::people::People;
use super::super::renewal::{Asked, Renewal, RenewalState};
use super::super::state_view::name_of;
use super::super::{renew, store};
use super::grants::{self, GrantLine, Used, line, used};
use super::mine::Paging;
use crate::accounts::{self, ApplyingProgram, Person, ReviewingProgram};
use crate::catalog;
use crate::error::Error;
use crate::http::api::{Body, Cut, Listed, Moment, NotDone, Nothing, Refused, answer, cursor, limit};
use crate::http::when;
use crate::ids::{AccountId, GrantId, ModelId, RenewalId};
use crate::portal::Portal;

/// A request to let a grant go on.
#[derive(Serialize, ToSchema)]
pub(super) struct RenewalLine {
    /// Its id.
    id: RenewalId,
    /// Of which grant.
    grant: GrantId,
    /// For which model: `org/name`.
    model: String,
    /// Whose it is.
    holder: Option<Person>,
    /// `open` while it waits for a reviewer, `approved`, `declined`, `withdrawn` or `lapsed`.
    #[schema(example = "open")]
    state: &'static str,
    /// What the model was used for.
    summary: String,
    /// What was published, a line each.
    publications: String,
    /// For how many months more.
    months: u8,
    /// When it was asked.
    asked_at: Moment,
    /// When it was decided, withdrawn or lapsed; null while it is open.
    closed_at: Option<Moment>,
    /// What the reviewer wrote to the holder.
    text: String,
    /// Who decided; for reviewers alone.
    by: Option<String>,
}

/// Requests as they are told. `names`: whether it is said who decided.
pub(super) async fn lines(db: &mut PgConnection, renewals: &[Renewal], names: bool) -> Result<Vec<RenewalLine>, Error> {
    let held = store::find_grants(db, &renewals.iter().map(|renewal| renewal.grant).collect::<Vec<GrantId>>()).await?;
    let models = catalog::find_models(db, &held.iter().map(|held| held.model).collect::<Vec<ModelId>>()).await?;
    let deciders = renewals.iter().filter_map(|renewal| closed(&renewal.state).1).filter(|_| names);
    let ids: Vec<AccountId> = held.iter().map(|held| held.account).chain(deciders).collect();
    let people = People(accounts::find_accounts(db, &ids).await?);
    let line = |renewal: &Renewal| {
        let held = held.iter().find(|held| held.grant.id == renewal.grant);
        let (closed_at, by) = closed(&renewal.state);
        RenewalLine {
            id: renewal.id,
            grant: renewal.grant,
            model: held.map(|held| name_of(&models, held.model).0).unwrap_or_default(),
            holder: held.and_then(|held| people.find(held.account)).map(Person::from),
            state: renewal.state.as_str(),
            summary: renewal.asked.summary.clone(),
            publications: renewal.asked.publications.clone(),
            months: renewal.asked.months,
            asked_at: renewal.asked_at.into(),
            closed_at,
            text: renewal.state.words().to_owned(),
            by: by.filter(|_| names).map(|by| people.name(by)),
        }
    };
    Ok(renewals.iter().map(line).collect())
}

/// When it was closed, and who decided.
fn closed(state: &RenewalState) -> (Option<Moment>, Option<AccountId>) {
    match state {
        RenewalState::Open => (None, None),
        RenewalState::Approved { by, at, .. } | RenewalState::Declined { by, at, .. } => (Some(Moment(*at)), Some(*by)),
        RenewalState::Withdrawn { at } | RenewalState::Lapsed { at } => (Some(Moment(*at)), None),
    }
}

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "summary": "We measured how negation fares with size, and found that size helps little.",
    "publications": "Negation in small models, https://doi.org/10.1000/182", "months": 6 }))]
pub(super) struct Asking {
    /// What the model was used for, in 40 to 2,000 characters.
    summary: String,
    /// What was published, a line each; may be empty.
    #[serde(default)]
    publications: String,
    /// For how many months more, 1 to 12.
    months: i64,
}

/// Ask to renew a grant
///
/// From 60 days before its end to 90 days after. A reviewer decides; meanwhile the end stays as it is.
#[utoipa::path(post, path = "/api/v1/grants/{id}/renew", operation_id = "renew_grant", tag = "grants",
    params(("id" = String, Path, description = "The grant's id.")), request_body = Asking,
    responses((status = 200, body = GrantLine), NotDone), security(("token" = ["apply"])))]
pub(super) async fn ask(
    portal: Data<Portal>,
    by: ApplyingProgram,
    id: Path<GrantId>,
    Body(sent): Body<Asking>,
) -> Result<HttpResponse, Error> {
    let asked = Asked::parse(&sent.summary, &sent.publications, &sent.months.to_string()).map_err(Error::Invalid)?;
    renew::ask(&portal, &by.0, *id, asked).await?;
    grants::told(&portal, *id).await
}

/// Withdraw a request to renew a grant
///
/// The end stays as it is; you may ask again.
#[utoipa::path(post, path = "/api/v1/grants/{id}/renew/withdraw", operation_id = "withdraw_renewal", tag = "grants",
    params(("id" = String, Path, description = "The grant's id.")), request_body = Nothing,
    responses((status = 200, body = GrantLine), NotDone), security(("token" = ["apply"])))]
pub(super) async fn withdraw(
    portal: Data<Portal>,
    by: ApplyingProgram,
    id: Path<GrantId>,
    _: Body<Nothing>,
) -> Result<HttpResponse, Error> {
    renew::withdraw(&portal, by.0.id, *id).await?;
    grants::told(&portal, *id).await
}

/// Renewals that wait
///
/// The longest waiting first.
#[utoipa::path(get, path = "/api/v1/review/renewals", operation_id = "list_renewals", tag = "review", params(Paging),
    responses((status = 200, body = Listed<RenewalLine>), Refused), security(("token" = ["review"])))]
pub(super) async fn list(
    portal: Data<Portal>,
    request: HttpRequest,
    _: ReviewingProgram,
    asked: Query<Paging>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let after = cursor(asked.cursor.as_deref())?;
    let mut db = portal.db.acquire().await?;
    let mut waiting = store::open_renewals(&mut db, after, cut.rows()).await?;
    let next = cut.next(&mut waiting, |renewal| renewal.id);
    Ok(answer(&Listed { items: lines(&mut db, &waiting, true).await?, next }))
}

/// A request with what it is about.
#[derive(Serialize, ToSchema)]
struct RenewalCase {
    /// What was asked.
    renewal: RenewalLine,
    /// The grant as it is now.
    grant: GrantLine,
    /// What it was used for.
    used: Used,
    /// The day on which access would end if it were given as asked.
    would_end_on: String,
}

async fn case(portal: &Portal, id: RenewalId) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let renewal = store::find_renewal(&mut db, id).await?;
    let held = store::find_grant(&mut db, renewal.grant).await?;
    let mut told = lines(&mut db, std::slice::from_ref(&renewal), true).await?;
    Ok(answer(&RenewalCase {
        renewal: told.pop().ok_or(Error::NotFound("renewal"))?,
        grant: line(&mut db, &held, now).await?,
        used: used(&mut db, &held).await?,
        would_end_on: when::date_field(renewal.would_end(&held.grant, now).date()),
    }))
}

/// One request to renew a grant
///
/// With the grant, and what it was used for.
#[utoipa::path(get, path = "/api/v1/review/renewals/{id}", operation_id = "get_renewal", tag = "review",
    params(("id" = String, Path, description = "The request's id, `renewal_…`.")),
    responses((status = 200, body = RenewalCase), Refused), security(("token" = ["review"])))]
pub(super) async fn one(portal: Data<Portal>, _: ReviewingProgram, id: Path<RenewalId>) -> Result<HttpResponse, Error> {
    case(&portal, *id).await
}

/// A yes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "until": "2027-03-31", "text": "Send us the paper!" }))]
pub(super) struct RenewalApproval {
    /// The last day on which access holds (UTC): later than it ends now, a year away at most. The holder gets a mail 60, 30, 7 and 1 days
    /// before, but none in the first half of the time.
    until: String,
    /// What the holder reads besides.
    #[serde(default)]
    text: String,
}

/// Renew a grant
///
/// Its end moves at once, and its holder gets a mail.
#[utoipa::path(post, path = "/api/v1/review/renewals/{id}/approve", operation_id = "approve_renewal", tag = "review",
    params(("id" = String, Path, description = "The request's id.")), request_body = RenewalApproval,
    responses((status = 200, body = RenewalCase), NotDone), security(("token" = ["review"])))]
pub(super) async fn approve(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<RenewalId>,
    Body(sent): Body<RenewalApproval>,
) -> Result<HttpResponse, Error> {
    renew::approve(&portal, &by, *id, when::last_moment_of("until", &sent.until)?, &sent.text).await?;
    case(&portal, *id).await
}

/// A no.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "text": "Which second round do you plan?" }))]
pub(super) struct RenewalRefusal {
    /// Why, and what would change it; the holder reads this.
    text: String,
}

/// Decline to renew a grant
///
/// Its end stays as it is, and its holder gets a mail with your words.
#[utoipa::path(post, path = "/api/v1/review/renewals/{id}/decline", operation_id = "decline_renewal", tag = "review",
    params(("id" = String, Path, description = "The request's id.")), request_body = RenewalRefusal,
    responses((status = 200, body = RenewalCase), NotDone), security(("token" = ["review"])))]
pub(super) async fn decline(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<RenewalId>,
    Body(sent): Body<RenewalRefusal>,
) -> Result<HttpResponse, Error> {
    renew::decline(&portal, &by, *id, &sent.text).await?;
    case(&portal, *id).await
}
