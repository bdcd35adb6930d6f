//! One's own account for programs: who one is, and one's tokens.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::program::{ApplyingProgram, Program};
use super::session::Via;
use super::{Account, Token, store, token};
use crate::error::Error;
use crate::http::api::{Body, Listed, Moment, NotDone, Refused, Unheard, answer};
use crate::http::limits::client_address;
use crate::ids::{AccountId, TokenId};
use crate::portal::Portal;

/// The room's part of the document.
#[derive(utoipa::OpenApi)]
#[openapi(paths(me, tokens, revoke_token, leaked))]
pub struct Operations;

/// A person, as others and they themselves see them.
#[derive(Serialize, ToSchema)]
pub struct Person {
    /// Their account.
    pub id: AccountId,
    /// The name they gave.
    pub name: String,
    /// The address they proved.
    pub email: String,
    /// `researcher`, `reviewer` or `admin`; each may what the one before may.
    pub role: &'static str,
    /// Since when.
    pub joined_at: Moment,
    /// When the account was closed; null while it is open.
    pub closed_at: Option<Moment>,
}

impl From<&Account> for Person {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id,
            name: account.name.clone(),
            email: account.email.to_string(),
            role: account.role.as_str(),
            joined_at: account.created_at.into(),
            closed_at: account.disabled_at.map(Moment),
        }
    }
}

/// Who a token speaks for.
#[derive(Serialize, ToSchema)]
struct Me {
    /// Whose it is.
    account: Person,
    /// The token itself.
    token: TokenShown,
}

/// A token: everything but its secret.
#[derive(Serialize, ToSchema)]
struct TokenShown {
    /// Its id.
    id: TokenId,
    /// The name its owner gave it.
    name: String,
    /// What it may be used for: `download`, `api`, `apply`, `review`, `admin`.
    scopes: Vec<&'static str>,
    /// When it was made.
    created_at: Moment,
    /// When it stops working.
    expires_at: Moment,
    /// Its last four characters; null where that is not looked up.
    hint: Option<String>,
    /// When it was used last, to the minute; null before that, and where it is not looked up.
    last_used_at: Option<Moment>,
}

impl From<Token> for TokenShown {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            scopes: token.scopes.iter().map(|scope| scope.as_str()).collect(),
            created_at: token.created_at.into(),
            expires_at: token.expires_at.into(),
            hint: Some(token.hint),
            last_used_at: token.last_used_at.map(Moment),
        }
    }
}

/// Who am I
///
/// Whose token this is, and what it may be used for. Any token may ask.
#[utoipa::path(get, path = "/api/v1/me", tag = "account", responses((status = 200, body = Me), Refused), security(("token" = [])))]
pub(super) async fn me(by: Program) -> Result<HttpResponse, Error> {
    let Via::Token { id, name, scopes, created_at, expires_at } = by.via else { return Err(Error::SignedOut) };
    let scopes = scopes.iter().map(|scope| scope.as_str()).collect();
    let (created_at, expires_at) = (created_at.into(), expires_at.into());
    let token = TokenShown { id, name, scopes, created_at, expires_at, hint: None, last_used_at: None };
    Ok(answer(&Me { account: (&by.account).into(), token }))
}

/// My tokens
///
/// Those that were not revoked, the newest first; an account has at most 50, so there is one page.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "account",
    responses((status = 200, body = Listed<TokenShown>), Refused), security(("token" = ["apply"])))]
pub(super) async fn tokens(portal: Data<Portal>, by: ApplyingProgram) -> Result<HttpResponse, Error> {
    let tokens = store::tokens(&mut *portal.db.acquire().await?, by.0.id).await?;
    Ok(answer(&Listed { items: tokens.into_iter().map(TokenShown::from).collect(), next: None }))
}

/// Revoke a token of mine
///
/// Nothing accepts it from the next request on; the token that asks may end itself.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "account", params(("id" = String, Path, description = "The token's id, `tok_…`.")),
    responses((status = 204, description = "Revoked."), NotDone), security(("token" = ["apply"])))]
pub(super) async fn revoke_token(portal: Data<Portal>, by: ApplyingProgram, id: Path<TokenId>) -> Result<HttpResponse, Error> {
    token::revoke_token(&portal, by.0.id, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Tokens that somebody has found.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "tokens": ["slc_oneofthem", "slc_another"] }))]
pub(super) struct Found {
    /// One of them.
    token: Option<String>,
    /// Or several, 100 at most.
    #[serde(default)]
    tokens: Vec<String>,
}

/// Report leaked tokens
///
/// For whoever finds tokens of this portal in public, such as a scanner of repositories: no account is needed. Those that work are revoked at
/// once, and their owners get a mail. The answer is the same whatever was sent, so it tells nothing; sending the same again does nothing.
#[utoipa::path(post, path = "/api/v1/tokens/leaked", tag = "account", request_body = Found,
    responses((status = 202, description = "Whatever of it works is revoked."), Unheard))]
pub(super) async fn leaked(portal: Data<Portal>, request: HttpRequest, Body(found): Body<Found>) -> Result<HttpResponse, Error> {
    portal.limits.leaked_client.check(&client_address(&request, &portal.config.trusted_proxies))?;
    let found: Vec<String> = found.token.into_iter().chain(found.tokens).collect();
    token::revoke_leaked(&portal, &found).await?;
    Ok(HttpResponse::Accepted().finish())
}
