//! Who has an account, and what they may do.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::erasure::erase_person;
use super::super::people;
use crate::accounts::{self, AdministeringProgram, Person, ReviewingProgram, Role};
use crate::error::Error;
use crate::http::api::{Body, Cut, Listed, NotDone, Nothing, Refused, answer, cursor, limit};
use crate::ids::AccountId;
use crate::mail;
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
#[utoipa::path(get, path = "/api/v1/admin/people", operation_id = "list_people", tag = "people", params(PeopleAsked),
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

/// A person, and whether mails reach them.
#[derive(Serialize, ToSchema)]
struct PersonWhole {
    /// Who it is.
    person: Person,
    /// The newest mail to them came back, or was given up.
    is_unreachable: bool,
}

/// A person
///
/// For reviewers, as the page is. Their grants are listed by `GET /api/v1/review/grants?person=…`, what keeps them out by
/// `GET /api/v1/admin/people/{id}/blocks`.
#[utoipa::path(get, path = "/api/v1/admin/people/{id}", operation_id = "get_person", tag = "people",
    params(("id" = String, Path, description = "The account's id, `acct_…`.")),
    responses((status = 200, body = PersonWhole), Refused), security(("token" = ["review"])))]
pub(super) async fn one(portal: Data<Portal>, _: ReviewingProgram, id: Path<AccountId>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let person = accounts::find_account(&mut db, *id).await?;
    let is_unreachable = !mail::unreachable(&mut db, &[person.email.to_string()]).await?.is_empty();
    Ok(answer(&PersonWhole { person: (&person).into(), is_unreachable }))
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
#[utoipa::path(put, path = "/api/v1/admin/people/{id}/role", operation_id = "set_role", tag = "people",
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
#[utoipa::path(post, path = "/api/v1/admin/people/{id}/close", operation_id = "close_account", tag = "people",
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
#[utoipa::path(post, path = "/api/v1/admin/people/{id}/reopen", operation_id = "reopen_account", tag = "people",
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

/// Who is meant, said twice.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "email": "ada@university.edu" }))]
pub(super) struct ErasureWanted {
    /// The address of the account, so that it is nobody else's.
    email: String,
}

/// Erase a person
///
/// When they ask for it and cannot do it themselves. Their ways in, words and mails go; a pseudonym stays where they were. It cannot be undone.
#[utoipa::path(post, path = "/api/v1/admin/people/{id}/erase", operation_id = "erase_person", tag = "people",
    params(("id" = String, Path, description = "The account's id.")), request_body = ErasureWanted,
    responses((status = 200, body = Person), NotDone), security(("token" = ["admin"])))]
pub(super) async fn erase(
    portal: Data<Portal>,
    by: AdministeringProgram,
    id: Path<AccountId>,
    Body(sent): Body<ErasureWanted>,
) -> Result<HttpResponse, Error> {
    erase_person(&portal, &by.0, *id, &sent.email).await?;
    person(&portal, *id).await
}

async fn person(portal: &Portal, id: AccountId) -> Result<HttpResponse, Error> {
    Ok(answer(&Person::from(&accounts::find_account(&mut *portal.db.acquire().await?, id).await?)))
}
