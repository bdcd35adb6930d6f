//! Who has an account, and what they may do.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::super::people;
use super::Nothing;
use crate::accounts::{self, AdministeringProgram, Person, Role};
use crate::error::Error;
use crate::http::api::{Body, Cut, Listed, NotDone, Refused, answer, cursor, limit};
use crate::ids::AccountId;
use crate::portal::Portal;

/// What stands behind the `?` of the people.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PeopleAsked {
    /// Part of a name or address.
    q: Option<String>,
    /// 1 to 200 items a page; 50 unless said.
    limit: Option<i64>,
    /// From the address of the page before.
    cursor: Option<String>,
}

/// People
///
/// Everybody with an account, the newest first.
#[utoipa::path(get, path = "/api/v1/admin/people", operation_id = "list_people", tag = "admin", params(PeopleAsked),
    responses((status = 200, body = Listed<Person>), Refused), security(("token" = ["admin"])))]
pub(super) async fn list_people(
    portal: Data<Portal>,
    request: HttpRequest,
    _: AdministeringProgram,
    asked: Query<PeopleAsked>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let search = asked.q.as_deref().unwrap_or_default().trim();
    let before = cursor(asked.cursor.as_deref())?;
    let mut people = accounts::list_accounts(&mut *portal.db.acquire().await?, search, before, cut.rows()).await?;
    let next = cut.next(&mut people, |last| last.id);
    Ok(answer(&Listed { items: people.iter().map(Person::from).collect(), next }))
}

/// What somebody may do from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "role": "reviewer" }))]
pub(super) struct RoleWanted {
    /// `researcher`, `reviewer` or `admin`.
    role: String,
}

/// Give somebody a role
///
/// It holds from their next request on. Nobody changes their own.
#[utoipa::path(put, path = "/api/v1/admin/people/{id}/role", operation_id = "set_role", tag = "admin",
    params(("id" = String, Path, description = "The account's id, `acct_…`.")), request_body = RoleWanted,
    responses((status = 200, body = Person), NotDone), security(("token" = ["admin"])))]
pub(super) async fn role(
    portal: Data<Portal>,
    by: AdministeringProgram,
    id: Path<AccountId>,
    Body(sent): Body<RoleWanted>,
) -> Result<HttpResponse, Error> {
    people::change_role(&portal, &by.0, *id, sent.role.parse::<Role>()?).await?;
    person(&portal, *id).await
}

/// Close an account
///
/// Its sessions and tokens do not count from the next request on.
#[utoipa::path(post, path = "/api/v1/admin/people/{id}/close", operation_id = "close_account", tag = "admin",
    params(("id" = String, Path, description = "The account's id.")), request_body = Nothing,
    responses((status = 200, body = Person), NotDone), security(("token" = ["admin"])))]
pub(super) async fn close(
    portal: Data<Portal>,
    by: AdministeringProgram,
    id: Path<AccountId>,
    _: Body<Nothing>,
) -> Result<HttpResponse, Error> {
    people::close_account(&portal, &by.0, *id).await?;
    person(&portal, *id).await
}

/// Open an account again
#[utoipa::path(post, path = "/api/v1/admin/people/{id}/reopen", operation_id = "reopen_account", tag = "admin",
    params(("id" = String, Path, description = "The account's id.")), request_body = Nothing,
    responses((status = 200, body = Person), NotDone), security(("token" = ["admin"])))]
pub(super) async fn reopen(
    portal: Data<Portal>,
    by: AdministeringProgram,
    id: Path<AccountId>,
    _: Body<Nothing>,
) -> Result<HttpResponse, Error> {
    people::reopen_account(&portal, &by.0, *id).await?;
    person(&portal, *id).await
}

async fn person(portal: &Portal, id: AccountId) -> Result<HttpResponse, Error> {
    Ok(answer(&Person::from(&accounts::find_account(&mut *portal.db.acquire().await?, id).await?)))
}
