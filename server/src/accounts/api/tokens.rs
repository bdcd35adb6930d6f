//! One's tokens.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::program::{ApplyingProgram, Program};
use super::super::session::Via;
use super::super::token::{self, Revoker, Wanted};
use super::super::{Scope, Token, store};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::api::{Body, Listed, Moment, NotDone, Refused, Unheard, answer};
use crate::http::limits::client_address;
use crate::ids::TokenId;
use crate::portal::Portal;

/// A token: everything but its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenShown {
    /// Its id.
    id: TokenId,
    /// The name its owner gave it.
    #[schema(example = "nightly evaluation")]
    name: String,
    /// What it may be used for: `download`, `api`, `apply`, `review`, `admin`.
    #[schema(example = json!(["download", "apply"]))]
    scopes: Vec<&'static str>,
    /// When it was made.
    created_at: Moment,
    /// When it stops working.
    expires_at: Moment,
    /// Its last four characters; null where that is not looked up.
    #[schema(example = "x7qd")]
    hint: Option<String>,
    /// When it was used last, to the minute; null before that, and where it is not looked up.
    last_used_at: Option<Moment>,
    /// The token that a program made it with, and with which it is revoked; null of others, and where it is not looked up.
    #[schema(example = json!(null))]
    made_with: Option<TokenId>,
}

impl TokenShown {
    /// The token that asks, as far as it is known without looking it up.
    pub(super) fn of_oneself(id: TokenId, name: String, scopes: &[Scope], created_at: Timestamp, expires_at: Timestamp) -> Self {
        let scopes = scopes.iter().map(|scope| scope.as_str()).collect();
        let (created_at, expires_at) = (created_at.into(), expires_at.into());
        Self { id, name, scopes, created_at, expires_at, hint: None, last_used_at: None, made_with: None }
    }
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
            made_with: token.made_with,
        }
    }
}

/// My tokens
///
/// Those that were not revoked, the newest first; an account has at most 50 that work, so there is one page.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "account",
    responses((status = 200, body = Listed<TokenShown>), Refused), security(("token" = ["apply"])))]
pub async fn tokens(portal: Data<Portal>, by: ApplyingProgram) -> Result<HttpResponse, Error> {
    let tokens = store::tokens(&mut *portal.db.acquire().await?, by.0.id).await?;
    Ok(answer(&Listed { items: tokens.into_iter().map(TokenShown::from).collect(), next: None }))
}

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "nightly evaluation", "scopes": ["download"], "days": 7 }))]
pub(super) struct TokenWanted {
    /// What you tell it from others by, 80 characters at most.
    name: String,
    /// What it may be used for: none that the asking token has not.
    scopes: Vec<String>,
    /// How long it lives: not longer than the asking token, which is what you get where you say nothing, 90 days at most.
    days: Option<i64>,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
struct TokenMade {
    /// The token.
    token: TokenShown,
    /// Its secret, which is shown now and never again.
    #[schema(example = "slc_…")]
    secret: String,
}

/// Make a token
///
/// For a job that needs less than you have: it may no more than the token you ask with, ends no later, makes none itself, and is revoked
/// with it. A stronger or longer one is made on the page of your tokens.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "make_token", tag = "account", request_body = TokenWanted,
    responses((status = 200, body = TokenMade), NotDone), security(("token" = ["apply"])))]
pub async fn make_token(
    portal: Data<Portal>,
    by: ApplyingProgram,
    program: Program,
    Body(sent): Body<TokenWanted>,
) -> Result<HttpResponse, Error> {
    let Via::Token { id: with, .. } = program.via else { return Err(Error::SignedOut) };
    let mut scopes = sent.scopes.iter().map(|name| name.parse()).collect::<Result<Vec<Scope>, _>>()?;
    scopes.sort_unstable();
    scopes.dedup();
    let wanted = Wanted { name: &sent.name, scopes: &scopes, days: sent.days };
    let (token, secret) = token::make_token_with(&portal, with, by.0.id, &wanted).await?;
    Ok(answer(&TokenMade { token: token.into(), secret }))
}

/// Revoke a token of mine
///
/// Nothing accepts it from the next request on, nor those that were made with it. The token that asks ends itself, those that were made with
/// it, and those that may no more than it may.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "account", params(("id" = String, Path, description = "The token's id, `tok_…`.")),
    responses((status = 204, description = "Revoked."), NotDone), security(("token" = ["apply"])))]
pub async fn revoke_token(portal: Data<Portal>, by: ApplyingProgram, program: Program, id: Path<TokenId>) -> Result<HttpResponse, Error> {
    let Via::Token { id: with, scopes, .. } = &program.via else { return Err(Error::SignedOut) };
    token::revoke_token(&portal, by.0.id, Revoker::Program(*with, scopes), *id).await?;
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
pub async fn leaked(portal: Data<Portal>, request: HttpRequest, Body(found): Body<Found>) -> Result<HttpResponse, Error> {
    portal.limits.leaked_client.check(&client_address(&request, &portal.config.trusted_proxies))?;
    let found: Vec<String> = found.token.into_iter().chain(found.tokens).collect();
    token::revoke_leaked(&portal, &found).await?;
    Ok(HttpResponse::Accepted().finish())
}
