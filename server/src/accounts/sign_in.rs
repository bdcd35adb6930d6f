//! Begin and end sessions.

use super::account::{Account, Email, Password};
use super::browser::{self, Browser};
use super::secret::Secret;
use super::session::SESSION_LIFE;
use super::store;
use crate::audit::{self, Event};
use crate::error::Error;
use crate::ids::{AccountId, SessionId};
use crate::portal::Portal;

/// The longest description of a browser that we keep.
const USER_AGENT_CHARS_MAX: usize = 300;

/// Whose password this is. `None` for a wrong password, an unknown address, and an account that is closed or not confirmed, all alike.
pub async fn check_password(portal: &Portal, email: &Email, password: String) -> Result<Option<Account>, Error> {
    let mut db = portal.db.acquire().await?;
    let account = store::find_by_email(&mut db, email).await?;
    let stored = match &account {
        Some(account) => store::password_hash(&mut db, account.id).await?,
        None => None,
    };
    // Hashing takes its time; the connection is others' meanwhile.
    drop(db);
    let right = Password::typed(password).matches(stored).await?;
    let whose = account.as_ref().map(|account| account.id);
    let signed_in = account.filter(|account| right && account.disabled_at.is_none() && account.email_verified_at.is_some());
    if signed_in.is_none() {
        // For an unknown address, too: how long the log is tells everybody, and must not tell whom we know.
        let mut db = portal.db.acquire().await?;
        audit::record(&mut db, portal.clock.now(), None, &Event::SignInFailed { account: whose }).await?;
    }
    Ok(signed_in)
}

/// Begins a session and returns its secret, for the cookie alone. Its owner is told when the browser is a new one. `before`: whoever the
/// browser was signed in as, and in which session, which ends: its cookie is about to be replaced, and nobody could end it there any more.
pub(super) async fn begin_session(
    portal: &Portal,
    account: &Account,
    before: Option<(AccountId, SessionId)>,
    browser: &Browser,
    user_agent: &str,
) -> Result<String, Error> {
    let now = portal.clock.now();
    let secret = Secret::fresh("");
    let called: String = user_agent.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect();
    let mut tx = portal.db.begin().await?;
    if let Some((account, session)) = before
        && store::end_session(&mut tx, account, session).await?
    {
        audit::record(&mut tx, now, Some(account), &Event::SessionEnded { account }).await?;
    }
    store::insert_session(&mut tx, SessionId::fresh(), account.id, &secret.hash(), &called, now, now + SESSION_LIFE).await?;
    browser::meet(portal, &mut tx, now, account, browser, user_agent).await?;
    audit::record(&mut tx, now, Some(account.id), &Event::SignedIn { account: account.id }).await?;
    tx.commit().await?;
    Ok(secret.reveal().to_owned())
}

/// Which sessions end.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    /// This one.
    One(SessionId),
    /// All but this one, in which somebody asks for it.
    Others(SessionId),
    /// All: a program asks, which is in none.
    All,
}

/// Ends sessions of an account.
pub async fn end_session(portal: &Portal, account: AccountId, which: Ending) -> Result<(), Error> {
    let mut tx = portal.db.begin().await?;
    match which {
        Ending::One(session) => {
            if !store::end_session(&mut tx, account, session).await? {
                return Err(Error::NotFound("session"));
            }
        }
        Ending::Others(present) => store::end_other_sessions(&mut tx, account, Some(present)).await?,
        Ending::All => store::end_other_sessions(&mut tx, account, None).await?,
    }
    audit::record(&mut tx, portal.clock.now(), Some(account), &Event::SessionEnded { account }).await?;
    tx.commit().await?;
    Ok(())
}
