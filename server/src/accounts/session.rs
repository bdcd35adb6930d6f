//! Who is asking: by cookie or by token, found once for each request. The extractors are permissions.

use std::future::{Ready, ready};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::cookie::Cookie;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use sqlx::PgConnection;
use time::Duration;

use super::secret::Secret;
use super::token::{Scope, TOKEN_PREFIX, TokenHolder};
use super::{Account, Role, store};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::page::Flash;
use crate::http::{Viewer, csrf};
use crate::ids::{AccountId, SessionId, TokenId};
use crate::portal::Portal;

/// A session ends after so long, whatever happens.
pub(super) const SESSION_LIFE: Duration = Duration::days(30);
/// A session ends when nobody used it for so long.
pub(super) const SESSION_IDLE: Duration = Duration::days(7);
/// Last-use times are written at most this often.
pub(super) const SEEN_EVERY: Duration = Duration::minutes(1);

/// Whoever sent a request.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each request")]
pub enum Visitor {
    /// Nobody we know.
    Anonymous,
    /// Sent a token that is malformed, unknown, expired or revoked.
    BadToken,
    /// An account.
    Known {
        /// Whose.
        account: Account,
        /// How it was shown.
        via: Via,
    },
}

/// How an account was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// By a signed-in browser.
    Session(SessionId),
    /// By an access token.
    Token {
        /// Which.
        id: TokenId,
        /// Its name, as its owner gave it.
        name: String,
        /// What it may be used for.
        scopes: Vec<Scope>,
        /// When it was made.
        created_at: Timestamp,
        /// When it stops working.
        expires_at: Timestamp,
    },
}

impl Visitor {
    /// The account, if any.
    pub fn account(&self) -> Option<&Account> {
        match self {
            Visitor::Known { account, .. } => Some(account),
            Visitor::Anonymous | Visitor::BadToken => None,
        }
    }

    /// The account's id, if any.
    pub fn account_id(&self) -> Option<AccountId> {
        self.account().map(|account| account.id)
    }

    /// The visitor of `request`, as [`identify`] found them. Of a token that nobody has asked about yet nothing good is said.
    pub fn of(request: &HttpRequest) -> Self {
        let unasked = || if Unasked::of(request).is_some() { Visitor::BadToken } else { Visitor::Anonymous };
        request.extensions().get::<Visitor>().cloned().unwrap_or_else(unasked)
    }

    /// The same, asked about now if nobody has yet.
    pub async fn settle(portal: &Portal, request: &HttpRequest) -> Result<Self, Error> {
        let Some(Unasked(hash)) = Unasked::of(request) else { return Ok(Visitor::of(request)) };
        let mut db = portal.db.acquire().await?;
        let now = portal.clock.now();
        let visitor = match store::find_by_token(&mut db, &hash, now).await? {
            Some(holder) => Visitor::enter(&mut db, holder, now).await?,
            None => Visitor::BadToken,
        };
        request.extensions_mut().insert(visitor.clone());
        Ok(visitor)
    }

    /// The holder of a token that works, who is noted to have used it.
    pub async fn enter(db: &mut PgConnection, holder: TokenHolder, now: Timestamp) -> Result<Self, Error> {
        if holder.last_used_at.is_none_or(|at| now - at > SEEN_EVERY) {
            store::touch_token(db, holder.token, now).await?;
        }
        let (account, via) = holder.shown();
        Ok(Visitor::Known { account, via })
    }
}

/// A well-formed token that nobody has asked about: for requests about files, which ask about everything at once. By its SHA-256.
#[derive(Debug, Clone, Copy)]
pub struct Unasked(pub [u8; 32]);

impl Unasked {
    /// What came with `request`, if it is for whoever answers to ask.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().copied()
    }
}

/// Who a visitor of before is now: nobody, once the session or token they came by has ended; with the role they have now otherwise.
pub async fn look_again(db: &mut PgConnection, visitor: &Visitor, now: Timestamp) -> Result<Visitor, Error> {
    let Visitor::Known { account, via } = visitor else { return Ok(visitor.clone()) };
    let gone = match via {
        Via::Session(session) if store::session_lives(db, *session, now).await? => None,
        Via::Token { id, .. } if store::token_works(db, *id, now).await? => None,
        Via::Session(_) => Some(Visitor::Anonymous),
        Via::Token { .. } => Some(Visitor::BadToken),
    };
    match gone {
        Some(gone) => Ok(gone),
        None => Ok(Visitor::Known { account: store::find(db, account.id).await?, via: via.clone() }),
    }
}

/// The session cookie's name.
pub(super) fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-sluice" } else { "sluice" }
}

/// The session cookie, with an empty secret to delete it.
pub(super) fn cookie(secret: &str, secure: bool) -> Cookie<'static> {
    let life = if secret.is_empty() { 0 } else { SESSION_LIFE.whole_seconds() };
    csrf::own_cookie(cookie_name(secure), secret.to_owned(), secure).max_age(actix_web::cookie::time::Duration::seconds(life)).finish()
}

/// Middleware: finds the visitor (one query when they show something; none for a token that asks for a file, see [`Unasked`]), gives every browser its form seed, eats the flash it has seen.
pub async fn identify(
    portal: Data<Portal>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if request.path().starts_with("/static/") || request.path() == "/healthz" {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let secure = portal.config.is_https();
    let visitor = match shown(request.request(), secure) {
        Shown::Token(hash) => {
            request.extensions_mut().insert(Unasked(hash));
            if asks_for_a_file(request.path()) { Ok(None) } else { Visitor::settle(&portal, request.request()).await.map(Some) }
        }
        Shown::NoToken => Ok(Some(Visitor::BadToken)),
        Shown::Cookie(hash) => by_session(&portal, &hash).await.map(Some),
        Shown::Nothing => Ok(Some(Visitor::Anonymous)),
    };
    let visitor = match visitor {
        Ok(visitor) => visitor,
        Err(error) => return Ok(request.error_response(error)),
    };
    if let Some(Visitor::Known { account, via: Via::Session(_) }) = &visitor {
        request.extensions_mut().insert(Viewer {
            name: account.name.clone(),
            email: account.email.to_string(),
            reviews: account.role >= Role::Reviewer,
            administers: account.role >= Role::Admin,
        });
    }
    if let Some(visitor) = visitor {
        request.extensions_mut().insert(visitor);
    }
    let sent_seed = request.cookie(csrf::cookie_name(secure)).and_then(|cookie| csrf::Seed::from_cookie(cookie.value()));
    let seed = sent_seed.clone().unwrap_or_else(csrf::Seed::fresh);
    request.extensions_mut().insert(seed.clone());
    let shown = Flash::from_cookie(request.request(), secure);
    if let Some(flash) = &shown {
        request.extensions_mut().insert(flash.clone());
    }

    let mut answer = next.call(request).await?.map_into_boxed_body();

    let is_page = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page && sent_seed.is_none() {
        answer.response_mut().add_cookie(&seed.cookie(secure)).map_err(Error::internal)?;
    }
    let left = answer.response().extensions().get::<Flash>().cloned();
    if let Some(flash) = left.or((is_page && shown.is_some()).then(Flash::default)) {
        answer.response_mut().add_cookie(&flash.cookie(secure)).map_err(Error::internal)?;
    }
    Ok(answer)
}

/// What a request shows of who sent it. A token counts before a cookie.
enum Shown {
    Nothing,
    Cookie([u8; 32]),
    Token([u8; 32]),
    /// Something in the place of a token that is none.
    NoToken,
}

fn shown(request: &HttpRequest, secure: bool) -> Shown {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let bearer = value.to_str().ok().and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let secret = bearer.and_then(|(_, token)| Secret::parse(TOKEN_PREFIX, token.trim()));
        return secret.map_or(Shown::NoToken, |secret| Shown::Token(secret.hash()));
    }
    let cookie = request.cookie(cookie_name(secure));
    let secret = cookie.and_then(|cookie| Secret::parse("", cookie.value()));
    secret.map_or(Shown::Nothing, |secret| Shown::Cookie(secret.hash()))
}

/// Whether a path is `/{org}/{name}/resolve/…` or `…/raw/…`: what answers there asks about token and file together.
fn asks_for_a_file(path: &str) -> bool {
    matches!(path.split('/').nth(3), Some("resolve" | "raw"))
}

async fn by_session(portal: &Portal, secret_hash: &[u8; 32]) -> Result<Visitor, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let Some((account, session, last_seen_at)) = store::find_by_session(&mut db, secret_hash, now, now - SESSION_IDLE).await? else {
        return Ok(Visitor::Anonymous);
    };
    if now - last_seen_at > SEEN_EVERY {
        store::touch_session(&mut db, session, now).await?;
    }
    Ok(Visitor::Known { account, via: Via::Session(session) })
}

impl FromRequest for Visitor {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Visitor::of(request)))
    }
}

/// Somebody signed in with a browser. Tokens do not pass: they are for programs, and programs send no forms.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub account: Account,
    /// In which session.
    pub session: SessionId,
}

/// A signed-in reviewer (or admin).
#[derive(Debug, Clone)]
pub struct Reviewer(pub Account);

/// A signed-in admin.
#[derive(Debug, Clone)]
pub struct Admin(pub Account);

fn signed_in(request: &HttpRequest) -> Result<SignedIn, Error> {
    match Visitor::of(request) {
        Visitor::Known { account, via: Via::Session(session) } => Ok(SignedIn { account, session }),
        Visitor::Known { via: Via::Token { .. }, .. } | Visitor::Anonymous | Visitor::BadToken => Err(Error::SignedOut),
    }
}

/// Pages of the desk and the admin do not exist for others: no hint of what lies behind.
fn at_least(request: &HttpRequest, role: Role) -> Result<Account, Error> {
    let account = signed_in(request)?.account;
    if account.role >= role { Ok(account) } else { Err(Error::NotFound("page")) }
}

impl FromRequest for SignedIn {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(signed_in(request))
    }
}

impl FromRequest for Reviewer {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(at_least(request, Role::Reviewer).map(Reviewer))
    }
}

impl FromRequest for Admin {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(at_least(request, Role::Admin).map(Admin))
    }
}
