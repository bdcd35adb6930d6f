//! Access tokens for the command line and programs: named, scoped, expiring, stored only as a hash.

use std::str::FromStr;

use sqlx::PgConnection;
use time::Duration;

use super::account::{Account, Email};
use super::secret::Secret;
use super::session::Via;
use super::store;
use crate::audit::{self, Event};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::when;
use crate::ids::{AccountId, TokenId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// How every token begins, so that leaked ones are found by scanners.
pub const TOKEN_PREFIX: &str = "slc_";
/// How long a token lives unless asked otherwise.
pub const TOKEN_DAYS_DEFAULT: i64 = 90;
/// How long a token lives at most.
pub const TOKEN_DAYS_MAX: i64 = 366;
/// How many live tokens an account may have.
pub const TOKENS_MAX: i64 = 50;
/// How many leaked tokens one request may name.
pub const LEAKED_MAX: usize = 100;

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Download weights: the Hub interface and plain files.
    Download,
    /// Generate text: `/v1`.
    Api,
    /// Decide on applications, in the hands of a reviewer.
    Review,
    /// One's own account: applications, grants, downloads, tokens.
    Apply,
    /// Run the portal, in the hands of an admin.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 5] = [Scope::Download, Scope::Api, Scope::Apply, Scope::Review, Scope::Admin];

    /// As it is stored and typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Download => "download",
            Scope::Api => "api",
            Scope::Review => "review",
            Scope::Apply => "apply",
            Scope::Admin => "admin",
        }
    }

    /// What it lets a program do, in words.
    pub fn means(self) -> &'static str {
        match self {
            Scope::Download => "fetch the weights you have access to",
            Scope::Api => "let models generate",
            Scope::Review => "read applications and decide on them, if you are a reviewer",
            Scope::Apply => "apply for access, and see your applications, grants, downloads and tokens",
            Scope::Admin => "run the portal: people, the record, mails and usage, if you are an admin",
        }
    }
}

impl FromStr for Scope {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, FieldError> {
        Scope::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| FieldError::new("scopes", "is one of download, api, apply, review, admin"))
    }
}

/// A token as it is listed: everything but the secret.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// The name its owner gave it.
    pub name: String,
    /// Its last four characters, to tell it from others.
    pub hint: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A token that works, and whose it is, as the database keeps them.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns, by their names")]
pub struct TokenHolder {
    pub token: TokenId,
    pub token_name: String,
    pub scopes: Vec<String>,
    pub token_created_at: Timestamp,
    pub token_expires_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub account: AccountId,
    pub email: String,
    pub name: String,
    pub role: String,
    pub email_verified_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

impl TokenHolder {
    /// Who that is, and how they were shown.
    pub(super) fn shown(self) -> (Account, Via) {
        let via = Via::Token {
            id: self.token,
            name: self.token_name,
            scopes: scopes_of(&self.scopes),
            created_at: self.token_created_at,
            expires_at: self.token_expires_at,
        };
        let account = Account {
            id: self.account,
            email: Email::trusted(self.email),
            name: self.name,
            role: self.role.parse().expect("account_role_ck allows only known roles"),
            email_verified_at: self.email_verified_at,
            created_at: self.created_at,
            // Who is closed out shows nothing by a token.
            disabled_at: None,
        };
        (account, via)
    }
}

/// Scopes as they are stored, read back.
pub(super) fn scopes_of(stored: &[String]) -> Vec<Scope> {
    stored.iter().map(|scope| scope.parse().expect("token_scopes_ck allows only known scopes")).collect()
}

/// Makes a token for `account` and returns the secret: the only time it is seen.
pub async fn make_token(
    tx: &mut PgConnection,
    now: Timestamp,
    by: Option<AccountId>,
    account: AccountId,
    name: &str,
    scopes: &[Scope],
    days: i64,
) -> Result<String, Error> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 80 || name.chars().any(char::is_control) {
        return Err(FieldError::new("name", "give the token a name of at most 80 characters, such as the machine it is for").into());
    }
    if scopes.is_empty() {
        return Err(FieldError::new("scopes", "choose at least one: download, api, apply").into());
    }
    if !(1..=TOKEN_DAYS_MAX).contains(&days) {
        return Err(FieldError::new("days", format!("a token lives 1 to {TOKEN_DAYS_MAX} days")).into());
    }
    if store::live_tokens(tx, account, now).await? >= TOKENS_MAX {
        return Err(Error::Conflict(format!("an account has at most {TOKENS_MAX} tokens; revoke one that is not used any more").into()));
    }
    let secret = Secret::fresh(TOKEN_PREFIX);
    let hint = secret.reveal()[secret.reveal().len() - 4..].to_owned();
    let token = Token {
        id: TokenId::fresh(),
        name: name.to_owned(),
        hint,
        scopes: scopes.to_vec(),
        created_at: now,
        expires_at: now + Duration::days(days),
        last_used_at: None,
        revoked_at: None,
    };
    store::insert_token(tx, account, &token, &secret.hash()).await?;
    audit::record(tx, now, by, &Event::TokenMade { account, token: token.id, scopes: scopes.iter().map(|s| s.as_str()).collect() }).await?;
    Ok(secret.reveal().to_owned())
}

/// Revokes one's own token, at once.
pub(super) async fn revoke_token(portal: &Portal, owner: AccountId, id: TokenId) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    if !store::revoke_token(&mut tx, owner, id, now).await? {
        return Err(Error::NotFound("token"));
    }
    audit::record(&mut tx, now, Some(owner), &Event::TokenRevoked { account: owner, token: id }).await?;
    tx.commit().await?;
    Ok(())
}

/// Revokes a token because its holder shows it and wants it to end. Whoever has a token may end it; one that is none ends by itself.
pub(super) async fn give_back(portal: &Portal, shown: &str) -> Result<(), Error> {
    let Some(secret) = Secret::parse(TOKEN_PREFIX, shown) else { return Ok(()) };
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    if let Some((account, token)) = store::revoke_by_secret(&mut tx, &secret.hash(), now).await? {
        audit::record(&mut tx, now, Some(account), &Event::TokenRevoked { account, token }).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Revokes tokens that somebody has found in public, and tells their owners. Whoever found one need not say who they are, and learns nothing;
/// what is no token, or works no more, is passed over. Errors: `Invalid` for none at all, or more than [`LEAKED_MAX`].
pub(super) async fn revoke_leaked(portal: &Portal, found: &[String]) -> Result<(), Error> {
    if !(1..=LEAKED_MAX).contains(&found.len()) {
        return Err(FieldError::new("tokens", format!("are 1 to {LEAKED_MAX}; send more in several requests")).into());
    }
    let secrets = found.iter().filter_map(|found| Secret::parse(TOKEN_PREFIX, found.trim()));
    let hashes: Vec<Vec<u8>> = secrets.map(|secret| secret.hash().to_vec()).collect();
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    for leaked in store::revoke_leaked(&mut tx, &hashes, now).await? {
        audit::record(&mut tx, now, None, &Event::TokenLeaked { account: leaked.account, token: leaked.id }).await?;
        let owner = store::find(&mut tx, leaked.account).await?;
        let message = Message::TokenLeaked {
            to: owner.email.to_string(),
            name: owner.name,
            token: leaked.name,
            made: when::day(leaked.created_at),
            used: leaked.last_used_at.map(when::minute),
            downloads: portal.config.url_of("/account/downloads"),
            tokens: portal.config.url_of("/account/tokens"),
        };
        mail::enqueue(&mut tx, now, &message).await?;
    }
    tx.commit().await?;
    Ok(())
}
