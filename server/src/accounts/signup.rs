//! Sign up, prove the address, choose a password, ask for a new one. The portal answers the same for addresses it knows and does not know.

use sqlx::PgConnection;
use time::Duration;

use super::account::{Account, Email, Password, Role, parse_name};
use super::secret::Secret;
use super::store;
use crate::audit::{self, Event};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::ids::AccountId;
use crate::mail::{self, Message};
use crate::portal::Portal;

/// How long a link that proves an address works.
pub const VERIFY_LINK_HOURS: i64 = 48;
/// How long a link that sets a new password works.
pub const RESET_LINK_MINUTES: i64 = 30;
/// How long a sign-in link works that an operator hands out.
pub const SIGN_IN_LINK_HOURS: i64 = 24;

/// What a one-time link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Proves the address and sets the first password.
    Verify,
    /// Sets a new password.
    Reset,
    /// Signs in, once; printed by the operator's commands.
    SignIn,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Purpose::Verify => "verify",
            Purpose::Reset => "reset",
            Purpose::SignIn => "sign_in",
        }
    }
}

/// Begins an account and mails the link that completes it. Known addresses are told by mail, never on the page, nor by the length of the
/// log, which everybody sees: whatever is known, one event is recorded.
/// `then`: where somebody wants to go, a path of this portal.
pub async fn sign_up(portal: &Portal, name: &str, email: &Email, then: &str) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let message = match store::find_by_email(&mut tx, email).await? {
        Some(account) if account.email_verified_at.is_some() => {
            audit::record(&mut tx, now, None, &Event::SignUpRepeated { account: account.id }).await?;
            Message::AlreadyRegistered {
                to: email.to_string(),
                name: account.name,
                sign_in: portal.config.url_of(&going_on("/sign-in", then)),
                reset: portal.config.url_of("/forgot"),
            }
        }
        known => {
            let account = match known {
                Some(account) if account.name == name => {
                    audit::record(&mut tx, now, None, &Event::SignUpRepeated { account: account.id }).await?;
                    account
                }
                Some(mut account) => {
                    // Nobody proved the address yet: the latest to ask names the account.
                    rename(&mut tx, now, None, &mut account, parse_name(name)?).await?;
                    account
                }
                None => insert(&mut tx, now, None, name, email, Role::Researcher).await?,
            };
            let link = link(portal, &mut tx, account.id, Purpose::Verify, Duration::hours(VERIFY_LINK_HOURS), now).await?;
            Message::VerifyAddress { to: email.to_string(), link: going_on(&link, then), hours: VERIFY_LINK_HOURS }
        }
    };
    mail::enqueue(&mut tx, now, &message).await?;
    tx.commit().await?;
    Ok(())
}

/// This address, and that somebody who is done there goes on to `then`; the start page goes without saying.
pub(super) fn going_on(address: &str, then: &str) -> String {
    if then == "/" {
        return address.to_owned();
    }
    let joint = if address.contains('?') { '&' } else { '?' };
    format!("{address}{joint}then={}", percent_encoding::utf8_percent_encode(then, percent_encoding::NON_ALPHANUMERIC))
}

/// Mails a link to choose a new password, if the address has an account.
pub async fn forgot(portal: &Portal, email: &Email) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let Some(account) = store::find_by_email(&mut tx, email).await? else {
        return Ok(());
    };
    let link = link(portal, &mut tx, account.id, Purpose::Reset, Duration::minutes(RESET_LINK_MINUTES), now).await?;
    mail::enqueue(&mut tx, now, &Message::ResetPassword { to: email.to_string(), link, minutes: RESET_LINK_MINUTES }).await?;
    tx.commit().await?;
    Ok(())
}

/// Whose link this is, if it works; it is not used up by looking.
pub async fn whose(portal: &Portal, purpose: Purpose, secret: &str) -> Result<Account, Error> {
    let mut db = portal.db.acquire().await?;
    let secret = Secret::parse("", secret).ok_or_else(used_up)?;
    let id = store::peek_link(&mut db, purpose.as_str(), &secret.hash(), portal.clock.now()).await?.ok_or_else(used_up)?;
    store::find(&mut db, id).await
}

/// Uses a link to set a password; that proves the address too. Every session and every other link of the account ends, and every
/// access token: who had to take an account back cannot know what a stranger left behind in it.
pub async fn set_password_by_link(portal: &Portal, purpose: Purpose, secret: &str, password: Password) -> Result<AccountId, Error> {
    let secret = Secret::parse("", secret).ok_or_else(used_up)?;
    let hash = password.hash().await?;
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let id = store::use_link(&mut tx, purpose.as_str(), &secret.hash(), now).await?.ok_or_else(used_up)?;
    let account = store::find(&mut tx, id).await?;
    store::set_password_hash(&mut tx, id, &hash).await?;
    if account.email_verified_at.is_none() {
        prove(portal, &mut tx, &account, now).await?;
        audit::record(&mut tx, now, Some(id), &Event::EmailVerified { account: id }).await?;
    } else {
        let revoked = store::revoke_all_tokens(&mut tx, id, now).await?;
        for token in &revoked {
            audit::record(&mut tx, now, Some(id), &Event::TokenRevoked { account: id, token: *token }).await?;
        }
        changed(portal, &mut tx, now, &account, revoked.len()).await?;
    }
    store::end_other_sessions(&mut tx, id, None).await?;
    store::end_device_sign_ins(&mut tx, id).await?;
    // A stranger's browser is told of again, and who is about to sign in has their mail already.
    store::forget_browsers(&mut tx, id).await?;
    store::end_links(&mut tx, id, None, now).await?;
    tx.commit().await?;
    Ok(id)
}

/// Changes the password of somebody signed in; the other sessions end, and links that were sent before.
pub async fn change_password(portal: &Portal, who: &super::SignedIn, current: String, new: Password) -> Result<(), Error> {
    let mut db = portal.db.acquire().await?;
    let stored = store::password_hash(&mut db, who.account.id).await?;
    // Hashing takes its time; the connection is others' meanwhile.
    drop(db);
    if stored.is_some() && !Password::typed(current).matches(stored).await? {
        return Err(FieldError::new("current", "wrong password").into());
    }
    let hash = new.hash().await?;
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    store::set_password_hash(&mut tx, who.account.id, &hash).await?;
    store::end_other_sessions(&mut tx, who.account.id, Some(who.session)).await?;
    store::end_device_sign_ins(&mut tx, who.account.id).await?;
    store::end_links(&mut tx, who.account.id, None, now).await?;
    changed(portal, &mut tx, now, &who.account, 0).await?;
    tx.commit().await?;
    Ok(())
}

async fn changed(portal: &Portal, tx: &mut PgConnection, now: Timestamp, account: &Account, revoked_tokens: usize) -> Result<(), Error> {
    audit::record(tx, now, Some(account.id), &Event::PasswordChanged { account: account.id }).await?;
    let message = Message::PasswordChanged {
        to: account.email.to_string(),
        name: account.name.clone(),
        revoked_tokens,
        tokens: portal.config.url_of("/account/tokens"),
        reset: portal.config.url_of("/forgot"),
    };
    mail::enqueue(tx, now, &message).await
}

/// Gives an account another name, on the record. `by` is nobody when somebody signs up again who has not proved the address.
pub(super) async fn rename(
    tx: &mut PgConnection,
    now: Timestamp,
    by: Option<AccountId>,
    account: &mut Account,
    name: String,
) -> Result<(), Error> {
    if account.name != name {
        store::set_name(tx, account.id, &name).await?;
        audit::record(tx, now, by, &Event::AccountRenamed { account: account.id }).await?;
        account.name = name;
    }
    Ok(())
}

/// Gives one's own account another name. Errors: `Invalid` for what is none.
pub(super) async fn rename_oneself(portal: &Portal, mut account: Account, name: &str) -> Result<Account, Error> {
    let name = parse_name(name)?;
    let mut tx = portal.db.begin().await?;
    rename(&mut tx, portal.clock.now(), Some(account.id), &mut account, name).await?;
    tx.commit().await?;
    Ok(account)
}

/// Uses a sign-in link; the address counts as proved, because the operator vouches for it.
pub async fn use_sign_in_link(portal: &Portal, secret: &str) -> Result<Account, Error> {
    let secret = Secret::parse("", secret).ok_or_else(used_up)?;
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let id = store::use_link(&mut tx, Purpose::SignIn.as_str(), &secret.hash(), now).await?.ok_or_else(used_up)?;
    let account = store::find(&mut tx, id).await?;
    if account.email_verified_at.is_none() {
        prove(portal, &mut tx, &account, now).await?;
        audit::record(&mut tx, now, Some(id), &Event::EmailVerified { account: id }).await?;
    }
    tx.commit().await?;
    Ok(account)
}

/// What an operator's command makes: an account whose address is vouched for. Errors: `Conflict` if there is one already.
pub async fn add_account(portal: &Portal, email: &Email, name: &str, role: Role, password: Option<Password>) -> Result<Account, Error> {
    let now = portal.clock.now();
    let hash = match password {
        Some(password) => Some(password.hash().await?),
        None => None,
    };
    let mut tx = portal.db.begin().await?;
    let mut account = insert(&mut tx, now, hash.as_deref(), name, email, role).await?;
    prove(portal, &mut tx, &account, now).await?;
    account.email_verified_at = Some(now);
    tx.commit().await?;
    Ok(account)
}

/// A complete one-time address that signs `account` in, on the record. Earlier ones stop working.
pub async fn sign_in_link(portal: &Portal, account: AccountId) -> Result<String, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    store::end_links(&mut tx, account, Some(Purpose::SignIn.as_str()), now).await?;
    let address = link(portal, &mut tx, account, Purpose::SignIn, Duration::hours(SIGN_IN_LINK_HOURS), now).await?;
    audit::record(&mut tx, now, None, &Event::SignInLinkMade { account }).await?;
    tx.commit().await?;
    Ok(address)
}

async fn insert(
    tx: &mut PgConnection,
    now: Timestamp,
    hash: Option<&str>,
    name: &str,
    email: &Email,
    role: Role,
) -> Result<Account, Error> {
    let account = Account {
        id: AccountId::fresh(),
        email: email.clone(),
        name: parse_name(name)?,
        role,
        email_verified_at: None,
        created_at: now,
        disabled_at: None,
    };
    store::insert_account(tx, &account, hash).await?;
    audit::record(tx, now, None, &Event::AccountMade { account: account.id, role: role.as_str() }).await?;
    Ok(account)
}

/// Notes that an address was proved. The first time, what was kept of it from an account that was erased comes back.
async fn prove(portal: &Portal, tx: &mut PgConnection, account: &Account, now: Timestamp) -> Result<(), Error> {
    store::set_verified(tx, account.id, now).await?;
    (portal.when_proved)(portal, tx, account.id).await
}

/// Makes a link. Earlier ones go on working until one of them is used: otherwise a stranger who asks for one in another's name
/// would void what its owner is about to click.
async fn link(
    portal: &Portal,
    tx: &mut PgConnection,
    account: AccountId,
    purpose: Purpose,
    life: Duration,
    now: Timestamp,
) -> Result<String, Error> {
    let secret = Secret::fresh("");
    store::insert_link(tx, account, purpose.as_str(), &secret.hash(), now, now + life).await?;
    let path = match purpose {
        Purpose::Verify => "/verify",
        Purpose::Reset => "/reset",
        Purpose::SignIn => "/sign-in/link",
    };
    Ok(portal.config.url_of(&format!("{path}?key={}", secret.reveal())))
}

fn used_up() -> Error {
    Error::Conflict("this link has been used, has expired, or the password was changed since it was sent; ask for a new one".into())
        .mended_by("/forgot", "Ask for a new link")
}
