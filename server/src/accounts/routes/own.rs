//! One's own account: name, password, sessions, tokens.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;

use super::super::account::{PASSWORD_CHARS_MIN, Password};
use super::super::session::{SESSION_IDLE, SignedIn};
use super::super::token::{self, Revoker, TOKEN_DAYS_DEFAULT, TOKEN_DAYS_MAX};
use super::super::{Account, Role, Scope, Token, sign_in, signup, store};
use super::entry::Empty;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::filters;
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, see_other};
use crate::ids::{SessionId, TokenId};
use crate::mail::TokenMaker;
use crate::portal::Portal;

#[derive(Template)]
#[template(path = "accounts/profile.html")]
struct ProfilePage {
    frame: Frame,
    account: Account,
    has_password: bool,
    chars_min: usize,
    faults: Vec<FieldError>,
}

/// `GET /account`
pub async fn profile_page(portal: Data<Portal>, frame: Frame, who: SignedIn) -> Result<HttpResponse, Error> {
    page(&profile(&portal, frame, who.account, vec![]).await?)
}

async fn profile(portal: &Portal, frame: Frame, account: Account, faults: Vec<FieldError>) -> Result<ProfilePage, Error> {
    let mut db = portal.db.acquire().await?;
    let has_password = store::password_hash(&mut db, account.id).await?.is_some();
    Ok(ProfilePage { frame, account, has_password, chars_min: PASSWORD_CHARS_MIN, faults })
}

#[derive(Deserialize)]
pub struct RenameForm {
    #[serde(default)]
    name: String,
}

/// `POST /account/name`
pub async fn rename(portal: Data<Portal>, frame: Frame, who: SignedIn, Form(form): Form<RenameForm>) -> Result<HttpResponse, Error> {
    match signup::rename_oneself(&portal, who.account.clone(), &form.name).await {
        Ok(_) => Ok(see_other("/account", Some("Your name is changed."))),
        Err(Error::Invalid(faults)) => page_with_faults(&profile(&portal, frame, who.account, faults).await?),
        Err(other) => Err(other),
    }
}

#[derive(Deserialize)]
pub struct PasswordForm {
    #[serde(default)]
    current: String,
    #[serde(default)]
    password: String,
}

/// `POST /account/password`
pub async fn change_password(
    portal: Data<Portal>,
    frame: Frame,
    who: SignedIn,
    Form(form): Form<PasswordForm>,
) -> Result<HttpResponse, Error> {
    portal.limits.sign_in_account.check(&who.account.id.to_string())?;
    let done = match Password::parse_new(&form.password, &who.account.email, &who.account.name) {
        Ok(new) => signup::change_password(&portal, &who, form.current, new).await,
        Err(fault) => Err(fault.into()),
    };
    match done {
        Ok(()) => Ok(see_other("/account", Some("Your password is changed, and your other sessions have ended."))),
        Err(Error::Invalid(faults)) => page_with_faults(&profile(&portal, frame, who.account, faults).await?),
        Err(other) => Err(other),
    }
}

#[derive(Template)]
#[template(path = "accounts/sessions.html")]
struct SessionsPage {
    frame: Frame,
    current: SessionId,
    sessions: Vec<store::Session>,
}

/// `GET /account/sessions`
pub async fn sessions_page(portal: Data<Portal>, frame: Frame, who: SignedIn) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let sessions = store::sessions(&mut *portal.db.acquire().await?, who.account.id, now, now - SESSION_IDLE).await?;
    page(&SessionsPage { frame, current: who.session, sessions })
}

/// `POST /account/sessions/{id}/end`
pub async fn end_session(portal: Data<Portal>, who: SignedIn, id: Path<SessionId>, _form: Form<Empty>) -> Result<HttpResponse, Error> {
    sign_in::end_session(&portal, who.account.id, sign_in::Ending::One(*id)).await?;
    Ok(see_other("/account/sessions", Some("That session has ended.")))
}

/// `POST /account/sessions/end-others`
pub async fn end_other_sessions(portal: Data<Portal>, who: SignedIn, _form: Form<Empty>) -> Result<HttpResponse, Error> {
    sign_in::end_session(&portal, who.account.id, sign_in::Ending::Others(who.session)).await?;
    Ok(see_other("/account/sessions", Some("Every other session has ended.")))
}

#[derive(Template)]
#[template(path = "accounts/tokens.html")]
struct TokensPage {
    frame: Frame,
    tokens: Vec<Token>,
    now: Timestamp,
    /// The secret just made: shown on this page and never again.
    fresh: Option<String>,
    endpoint: String,
    form: TokenForm,
    days_max: i64,
    /// Whether its reader is a reviewer, and whether an admin.
    reviews: bool,
    administers: bool,
    faults: Vec<FieldError>,
}

#[derive(Deserialize, Clone)]
pub struct TokenForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    days: String,
    #[serde(default)]
    download: Option<String>,
    #[serde(default)]
    api: Option<String>,
    #[serde(default)]
    review: Option<String>,
    apply: Option<String>,
    admin: Option<String>,
}

impl TokenForm {
    fn empty() -> Self {
        let on = Some("on".to_owned());
        Self {
            name: String::new(),
            days: TOKEN_DAYS_DEFAULT.to_string(),
            download: on.clone(),
            api: on,
            review: None,
            apply: None,
            admin: None,
        }
    }

    fn scopes(&self) -> Vec<Scope> {
        Scope::ALL
            .into_iter()
            .filter(|scope| match scope {
                Scope::Download => self.download.is_some(),
                Scope::Api => self.api.is_some(),
                Scope::Review => self.review.is_some(),
                Scope::Apply => self.apply.is_some(),
                Scope::Admin => self.admin.is_some(),
            })
            .collect()
    }
}

/// `GET /account/tokens`
pub async fn tokens_page(portal: Data<Portal>, frame: Frame, who: SignedIn) -> Result<HttpResponse, Error> {
    page(&tokens(&portal, frame, &who, TokenForm::empty(), None, vec![]).await?)
}

async fn tokens(
    portal: &Portal,
    frame: Frame,
    who: &SignedIn,
    form: TokenForm,
    fresh: Option<String>,
    faults: Vec<FieldError>,
) -> Result<TokensPage, Error> {
    let tokens = store::tokens(&mut *portal.db.acquire().await?, who.account.id).await?;
    let endpoint = portal.config.url_of("");
    Ok(TokensPage {
        frame,
        tokens,
        now: portal.clock.now(),
        fresh,
        endpoint,
        form,
        days_max: TOKEN_DAYS_MAX,
        reviews: who.account.role >= Role::Reviewer,
        administers: who.account.role >= Role::Admin,
        faults,
    })
}

/// `POST /account/tokens`: answers with the page itself, because the secret may not travel through a redirect.
pub async fn make_token(portal: Data<Portal>, frame: Frame, who: SignedIn, Form(form): Form<TokenForm>) -> Result<HttpResponse, Error> {
    // Anything but a number is out of range, and told so.
    let days = form.days.trim().parse().unwrap_or(0);
    let mut tx = portal.db.begin().await?;
    let made = token::make_token(&mut tx, &portal, TokenMaker::Owner, &who.account, &form.name, &form.scopes(), days).await;
    match made {
        Ok(secret) => {
            tx.commit().await?;
            page(&tokens(&portal, frame, &who, TokenForm::empty(), Some(secret), vec![]).await?)
        }
        Err(Error::Invalid(faults)) => {
            // The page takes a connection of its own.
            tx.rollback().await?;
            page_with_faults(&tokens(&portal, frame, &who, form, None, faults).await?)
        }
        Err(other) => Err(other),
    }
}

/// `POST /account/tokens/{id}/revoke`
pub async fn revoke_token(portal: Data<Portal>, who: SignedIn, id: Path<TokenId>, _form: Form<Empty>) -> Result<HttpResponse, Error> {
    token::revoke_token(&portal, who.account.id, Revoker::Owner, *id).await?;
    Ok(see_other("/account/tokens", Some("The token has been revoked; nothing accepts it any more.")))
}
