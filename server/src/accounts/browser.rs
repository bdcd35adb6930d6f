//! Browsers that an account has signed in with before, each known by a cookie of its own, so that its owner is told of a new one. The very
//! first is not told of: there is nobody to tell but whoever sits at it.

use actix_web::HttpRequest;
use actix_web::cookie::Cookie;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use time::Duration;

use super::secret::Secret;
use super::{Account, Email, store};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::{csrf, when};
use crate::ids::AccountId;
use crate::mail::{self, Message};
use crate::portal::Portal;

/// How long a browser that nobody signs in with is known: as long as browsers keep a cookie at most.
pub(super) const KNOWN_LIFE: Duration = Duration::days(400);
/// So many browsers of one account are known; of more, those used last.
const KNOWN_MAX: i64 = 50;

/// A browser, by the secret in its cookie. It opens nothing.
pub(super) struct Browser(Secret);

impl Browser {
    /// Whichever sent `request`; with a new secret if it has none.
    pub(super) fn of(request: &HttpRequest, secure: bool) -> Self {
        let sent = request.cookie(cookie_name(secure)).and_then(|cookie| Secret::parse("", cookie.value()));
        Self(sent.unwrap_or_else(|| Secret::fresh("")))
    }

    /// Its cookie.
    pub(super) fn cookie(&self, secure: bool) -> Cookie<'static> {
        let life = actix_web::cookie::time::Duration::seconds(KNOWN_LIFE.whole_seconds());
        csrf::own_cookie(cookie_name(secure), self.0.reveal().to_owned(), secure).max_age(life).finish()
    }

    /// What the account of an address knows it by, in hex, if somebody has signed in there with it.
    pub(super) async fn known_as(&self, portal: &Portal, email: &Email) -> Result<Option<String>, Error> {
        let mut db = portal.db.acquire().await?;
        let Some(account) = store::find_by_email(&mut db, email).await? else { return Ok(None) };
        let hash = self.hash_for(account.id);
        let is_known = store::knows_browser(&mut db, account.id, &hash).await?;
        Ok(is_known.then(|| HEXLOWER.encode(&hash)))
    }

    /// What an account knows it by; another account knows it by something else.
    fn hash_for(&self, account: AccountId) -> [u8; 32] {
        Sha256::new().chain_update(self.0.hash()).chain_update(account.uuid()).finalize().into()
    }
}

fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-sluice-browser" } else { "sluice-browser" }
}

/// Notes that `account` signs in with a browser, and tells its owner if others were known and this one was not.
pub(super) async fn meet(
    portal: &Portal,
    tx: &mut PgConnection,
    now: Timestamp,
    account: &Account,
    browser: &Browser,
    user_agent: &str,
) -> Result<(), Error> {
    if !store::meet_browser(tx, account.id, &browser.hash_for(account.id), now).await?.is_stranger() {
        return Ok(());
    }
    store::keep_browsers(tx, account.id, KNOWN_MAX).await?;
    let message = Message::NewSignIn {
        to: account.email.to_string(),
        name: account.name.clone(),
        at: when::minute(now),
        browser: name_of(user_agent),
        sessions: portal.config.url_of("/account/sessions"),
        reset: portal.config.url_of("/forgot"),
    };
    mail::enqueue(tx, now, &message).await
}

/// What a browser calls itself, in words of ours: a stranger's words have no place in the mail that warns of the stranger.
fn name_of(user_agent: &str) -> String {
    // Most claim to be several others too, so the order counts.
    const BROWSERS: [(&str, &str); 7] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser", "Samsung Internet"),
        ("Firefox", "Firefox"),
        ("FxiOS", "Firefox"),
        ("Chrom", "Chrome"),
        ("Safari", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 7] = [
        ("iPhone", "an iPhone"),
        ("iPad", "an iPad"),
        ("Android", "Android"),
        ("CrOS", "ChromeOS"),
        ("Windows", "Windows"),
        ("Macintosh", "a Mac"),
        ("Linux", "Linux"),
    ];
    let named = |known: [(&str, &'static str); 7]| known.into_iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| name);
    match (named(BROWSERS), named(SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, Some(system)) => format!("an unknown browser on {system}"),
        (None, None) => "an unknown browser".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_named_in_our_words() {
        for (sent, name) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
                "Chrome on Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
                "Safari on a Mac",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 FxiOS/140.0 Safari/605.1.15",
                "Firefox on an iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            ("curl/8.5 https://evil.example/click", "an unknown browser"),
            ("", "an unknown browser"),
        ] {
            assert_eq!(name_of(sent), name, "{sent}");
        }
    }

    #[test]
    fn two_accounts_know_one_browser_by_different_hashes() {
        let browser = Browser(Secret::fresh(""));
        let (one, other) = (AccountId::fresh(), AccountId::fresh());
        assert_eq!(browser.hash_for(one), browser.hash_for(one));
        assert_ne!(browser.hash_for(one), browser.hash_for(other));
    }
}
