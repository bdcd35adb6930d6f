//! Who one is, what one is called, and which mails one gets.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::mail_choice::{choose, topics};
use super::super::program::{ApplyingProgram, Program};
use super::super::session::Via;
use super::super::{Account, signup};
use super::tokens::TokenShown;
use crate::error::Error;
use crate::http::api::{Body, Moment, NotDone, Refused, answer};
use crate::ids::AccountId;
use crate::mail::{self, Topic};
use crate::portal::Portal;

/// A person, as others and they themselves see them.
#[derive(Serialize, ToSchema)]
pub struct Person {
    /// Their account.
    pub id: AccountId,
    /// The name they gave.
    #[schema(example = "Ada Lovelace")]
    pub name: String,
    /// The address they proved.
    #[schema(example = "ada@university.edu")]
    pub email: String,
    /// `researcher`, `reviewer` or `admin`; each may what the one before may.
    #[schema(example = "researcher")]
    pub role: &'static str,
    /// Since when.
    pub joined_at: Moment,
    /// When the account was closed; null while it is open.
    #[schema(example = json!(null))]
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

/// Who am I
///
/// Whose token this is, and what it may be used for. Any token may ask.
#[utoipa::path(get, path = "/api/v1/me", tag = "account", responses((status = 200, body = Me), Refused), security(("token" = [])))]
pub async fn me(by: Program) -> Result<HttpResponse, Error> {
    let Via::Token { id, name, scopes, created_at, expires_at } = by.via else { return Err(Error::SignedOut) };
    let token = TokenShown::of_oneself(id, name, &scopes, created_at, expires_at);
    Ok(answer(&Me { account: (&by.account).into(), token }))
}

/// What one is called from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "Ada Lovelace" }))]
pub(super) struct NameWanted {
    /// The name you publish under, 120 characters at most.
    name: String,
}

/// Change my name
///
/// It stands on your applications and in mails from now on.
#[utoipa::path(put, path = "/api/v1/me/name", operation_id = "rename", tag = "account", request_body = NameWanted,
    responses((status = 200, body = Person), NotDone), security(("token" = ["apply"])))]
pub async fn rename(portal: Data<Portal>, by: ApplyingProgram, Body(sent): Body<NameWanted>) -> Result<HttpResponse, Error> {
    let account = signup::rename_oneself(&portal, by.0, &sent.name).await?;
    Ok(answer(&Person::from(&account)))
}

/// How often one is told of what. Everything else, such as what became of an application, is always told.
#[derive(Serialize, ToSchema)]
struct MailChoice {
    /// Applications to review: `each`, `daily` (one digest on working days) or `never`; null for who is no reviewer.
    #[schema(example = "daily")]
    reviews: Option<&'static str>,
    /// Comments on applications: `each` or `never`.
    #[schema(example = "each")]
    comments: Option<&'static str>,
    /// Tokens that end soon: `each` or `never`.
    #[schema(example = "each")]
    tokens: Option<&'static str>,
    /// New releases of models that were downloaded: `each` or `never`.
    #[schema(example = "each")]
    releases: Option<&'static str>,
}

/// My choice of mails
#[utoipa::path(get, path = "/api/v1/me/mails", operation_id = "get_mail_choice", tag = "account",
    responses((status = 200, body = MailChoice), Refused), security(("token" = ["apply"])))]
pub async fn mails(portal: Data<Portal>, by: ApplyingProgram) -> Result<HttpResponse, Error> {
    mail_choice(&portal, &by.0).await
}

/// How often one wants to be told from now on. What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "comments": "never" }))]
pub(super) struct MailsWanted {
    /// `each`, `daily` or `never`; for reviewers.
    reviews: Option<String>,
    /// `each` or `never`.
    comments: Option<String>,
    /// `each` or `never`.
    tokens: Option<String>,
    /// `each` or `never`.
    releases: Option<String>,
}

/// Choose my mails
#[utoipa::path(put, path = "/api/v1/me/mails", operation_id = "choose_mails", tag = "account", request_body = MailsWanted,
    responses((status = 200, body = MailChoice), NotDone), security(("token" = ["apply"])))]
pub async fn choose_mails(portal: Data<Portal>, by: ApplyingProgram, Body(sent): Body<MailsWanted>) -> Result<HttpResponse, Error> {
    let wanted = [
        (Topic::Reviews, &sent.reviews),
        (Topic::Comments, &sent.comments),
        (Topic::Tokens, &sent.tokens),
        (Topic::Releases, &sent.releases),
    ];
    let wanted: Vec<(Topic, &str)> = wanted.into_iter().filter_map(|(topic, name)| Some((topic, name.as_deref()?))).collect();
    choose(&portal, &by.0, &wanted).await?;
    mail_choice(&portal, &by.0).await
}

async fn mail_choice(portal: &Portal, account: &Account) -> Result<HttpResponse, Error> {
    let chosen = mail::paces(&mut *portal.db.acquire().await?, account.email.as_str()).await?;
    let of = |topic| {
        let is_theirs = topics(account).any(|own| own == topic);
        chosen.iter().find(|(of, _)| is_theirs && *of == topic).map(|(_, pace)| pace.as_str())
    };
    Ok(answer(&MailChoice {
        reviews: of(Topic::Reviews),
        comments: of(Topic::Comments),
        tokens: of(Topic::Tokens),
        releases: of(Topic::Releases),
    }))
}
