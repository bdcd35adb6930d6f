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
use crate::error::{Error, FieldError, Mend, Refusal};
use crate::http::unseen::visible;
use crate::http::when;
use crate::ids::{AccountId, TokenId};
use crate::mail::{self, Message, TokenMaker};
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
            Scope::Download => "download the weights you have access to",
            Scope::Api => "generate text",
            Scope::Review => "read applications and decide on them, if you are a reviewer",
            Scope::Apply => "apply for access and manage your account (applications, grants, downloads, mails, sessions and tokens)",
            Scope::Admin => "run the portal (people, releases, the record, mails and usage), if you are an admin",
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
    /// The token by which a program made it, and with which it ends.
    pub made_with: Option<TokenId>,
}

/// A token that asks for another one.
pub(super) struct Parent {
    pub scopes: Vec<Scope>,
    pub expires_at: Timestamp,
    pub made_with: Option<TokenId>,
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

/// Makes a token for `account`, tells them so in a mail, and returns the secret: the only time it is seen.
pub async fn make_token(
    tx: &mut PgConnection,
    portal: &Portal,
    maker: TokenMaker,
    account: &Account,
    name: &str,
    scopes: &[Scope],
    days: i64,
) -> Result<String, Error> {
    let now = portal.clock.now();
    let by = (maker != TokenMaker::Operator).then_some(account.id);
    let token = fresh(name, scopes, now, life(days))?;
    let (token, secret) = insert(tx, now, by, account.id, token).await?;
    let message = Message::TokenMade {
        to: account.email.to_string(),
        name: account.name.clone(),
        token: token.name,
        maker,
        may: token.scopes.iter().map(|scope| scope.means()).collect(),
        until: when::day(token.expires_at),
        tokens: portal.config.url_of("/account/tokens"),
    };
    mail::enqueue(tx, now, &message).await?;
    Ok(secret)
}

/// What a program wants of a token that it makes.
pub(super) struct Wanted<'a> {
    pub name: &'a str,
    pub scopes: &'a [Scope],
    /// As long as the asking token lives, [`TOKEN_DAYS_DEFAULT`] at most, unless said.
    pub days: Option<i64>,
}

/// Makes a token with another one, which it cannot outdo: it may no more, ends no later, and is revoked with it, so that whoever ends a
/// leaked token ends what was made with it. For the same reason it makes none itself. No mail tells of it: a program may make one an hour. Errors: `Forbidden` for such a one, `Invalid` for
/// more than the asking token has.
pub(super) async fn make_token_with(
    portal: &Portal,
    with: TokenId,
    account: AccountId,
    wanted: &Wanted<'_>,
) -> Result<(Token, String), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let parent = store::lock_parent(&mut tx, account, with, now).await?.ok_or(Error::SignedOut)?;
    if parent.made_with.is_some() {
        let message = "This token was made with another one and makes none itself: ask with that one, or on the page of your tokens.";
        let mend = Some(Mend { path: "/account/tokens".into(), label: "Make a token" });
        return Err(Refusal { code: "token_made_by_token", message: message.into(), mend }.into());
    }
    let expires_at = match wanted.days {
        Some(days) => now + life(days)?,
        None => parent.expires_at.min(now + Duration::days(TOKEN_DAYS_DEFAULT)),
    };
    let mut faults = Vec::new();
    if let Some(more) = wanted.scopes.iter().find(|scope| !parent.scopes.contains(scope)) {
        let words = format!("the asking token has no scope {}, and makes none that may more than itself", more.as_str());
        faults.push(FieldError::new("scopes", words));
    }
    if expires_at > parent.expires_at {
        let end = when::minute(parent.expires_at);
        faults.push(FieldError::new(
            "days",
            format!("the asking token ends on {end}, and makes none that lives longer; leave it out for that end"),
        ));
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let token = Token { made_with: Some(with), ..fresh(wanted.name, wanted.scopes, now, Ok(expires_at - now))? };
    let made = insert(&mut tx, now, Some(account), account, token).await?;
    tx.commit().await?;
    Ok(made)
}

fn life(days: i64) -> Result<Duration, FieldError> {
    let known = (1..=TOKEN_DAYS_MAX).contains(&days).then(|| Duration::days(days));
    known.ok_or_else(|| FieldError::new("days", format!("enter 1 to {TOKEN_DAYS_MAX} days")))
}

/// A token that is not kept yet, and has no secret. Errors: `Invalid`, with everything that is wrong.
fn fresh(name: &str, scopes: &[Scope], now: Timestamp, life: Result<Duration, FieldError>) -> Result<Token, Error> {
    let name = visible(name);
    let name = name.trim();
    let mut faults = Vec::new();
    if name.is_empty() || name.chars().count() > 80 || name.contains(['\n', '\t']) {
        faults.push(FieldError::new("name", "enter a name of at most 80 characters, such as the machine it is for"));
    }
    if scopes.is_empty() {
        faults.push(FieldError::new("scopes", "choose at least one: download, api, apply"));
    }
    let life = life.unwrap_or_else(|fault| {
        faults.push(fault);
        Duration::ZERO
    });
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    Ok(Token {
        id: TokenId::fresh(),
        name: name.to_owned(),
        hint: String::new(),
        scopes: scopes.to_vec(),
        created_at: now,
        expires_at: now + life,
        last_used_at: None,
        revoked_at: None,
        made_with: None,
    })
}

/// Gives a token its secret, and keeps it.
async fn insert(
    tx: &mut PgConnection,
    now: Timestamp,
    by: Option<AccountId>,
    account: AccountId,
    mut token: Token,
) -> Result<(Token, String), Error> {
    store::lock_tokens(tx, account).await?;
    if store::live_tokens(tx, account, now).await? >= TOKENS_MAX {
        let full = Error::Conflict(format!("an account has at most {TOKENS_MAX} tokens; revoke one that is not used any more").into());
        return Err(full.mended_by("/account/tokens", "See your tokens"));
    }
    let secret = Secret::fresh(TOKEN_PREFIX);
    token.hint = secret.reveal()[secret.reveal().len() - 4..].to_owned();
    store::insert_token(tx, account, &token, &secret.hash()).await?;
    let scopes = token.scopes.iter().map(|scope| scope.as_str()).collect();
    audit::record(tx, now, by, &Event::TokenMade { account, token: token.id, scopes }).await?;
    Ok((token, secret.reveal().to_owned()))
}

/// Who wants a token to end.
pub(super) enum Revoker<'a> {
    /// Its owner, at a browser.
    Owner,
    /// A program, with this token, which may so much.
    Program(TokenId, &'a [Scope]),
}

impl Revoker<'_> {
    /// A program ends its own token, what was made with it, and what may no more than itself: whoever finds a weak token does not shut out
    /// the programs that run the portal.
    fn may_revoke(&self, id: TokenId, scopes: &[Scope], made_with: Option<TokenId>) -> bool {
        match self {
            Revoker::Owner => true,
            Revoker::Program(own, may) => id == *own || made_with == Some(*own) || scopes.iter().all(|scope| may.contains(scope)),
        }
    }
}

/// Revokes one's own token, at once, and those that were made with it. Errors: `NotFound`, `Forbidden` to a program whose token may less.
pub(super) async fn revoke_token(portal: &Portal, owner: AccountId, by: Revoker<'_>, id: TokenId) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let (scopes, made_with) = store::lock_token(&mut tx, owner, id).await?.ok_or(Error::NotFound("token"))?;
    if !by.may_revoke(id, &scopes, made_with) {
        let message = "That token may do more than the one you ask with: end it with itself, or on the page of your tokens.";
        let mend = Some(Mend { path: "/account/tokens".into(), label: "See your tokens" });
        return Err(Refusal { code: "token_scope", message: message.into(), mend }.into());
    }
    revoke(&mut tx, owner, id, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Revokes a token because its holder shows it and wants it to end. Whoever has a token may end it; one that is none ends by itself.
pub(super) async fn give_back(portal: &Portal, shown: &str) -> Result<(), Error> {
    let Some(secret) = Secret::parse(TOKEN_PREFIX, shown) else { return Ok(()) };
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    if let Some((account, token)) = store::lock_by_secret(&mut tx, &secret.hash()).await? {
        revoke(&mut tx, account, token, now).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Revokes tokens that somebody has found in public, and what was made with them, and tells their owners. Whoever found one need not say
/// who they are, and learns nothing; what is no token, or works no more, is passed over. Errors: `Invalid` for none at all, or more than [`LEAKED_MAX`].
pub(super) async fn revoke_leaked(portal: &Portal, found: &[String]) -> Result<(), Error> {
    if !(1..=LEAKED_MAX).contains(&found.len()) {
        return Err(FieldError::new("tokens", format!("are 1 to {LEAKED_MAX}; send more in several requests")).into());
    }
    let secrets = found.iter().filter_map(|found| Secret::parse(TOKEN_PREFIX, found.trim()));
    let hashes: Vec<Vec<u8>> = secrets.map(|secret| secret.hash().to_vec()).collect();
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    for leaked in store::revoke_leaked(&mut tx, &hashes, now).await? {
        let made = store::revoke_token(&mut tx, leaked.id, now).await?;
        for token in std::iter::once(leaked.id).chain(made) {
            audit::record(&mut tx, now, None, &Event::TokenLeaked { account: leaked.account, token }).await?;
        }
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

/// Revokes a locked token with what was made with it: nothing more is, while it is locked.
async fn revoke(tx: &mut PgConnection, account: AccountId, id: TokenId, now: Timestamp) -> Result<(), Error> {
    for token in store::revoke_token(tx, id, now).await? {
        audit::record(tx, now, Some(account), &Event::TokenRevoked { account, token }).await?;
    }
    Ok(())
}
