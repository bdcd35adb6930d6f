//! `sluice login` and `logout`: a token by device code (RFC 8628), so that nobody copies one by hand; kept for this user's eyes only,
//! and given back (RFC 7009).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::backoff::Tries;
use super::endpoint::Endpoint;
use super::fault::Fault;
use super::folder;
use super::meter::Meter;
use super::wire::{Trouble, Wire};

/// Who asks, for the portal's list of tokens.
const CLIENT_ID: &str = "sluice";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How long one waits between two questions, at least; how much longer when asked to slow down.
const INTERVAL_MIN: Duration = Duration::from_millis(200);
const SLOWER: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What the person is to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Invitation {
    /// Where to go.
    pub verification_uri: String,
    /// The same with the code filled in.
    pub verification_uri_complete: Option<String>,
    /// What to compare there, or to type.
    pub user_code: String,
    device_code: String,
    #[serde(default)]
    interval: u64,
    expires_in: u64,
}

/// The tokens that this user has, by portal, and the portal that was signed in to last.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Kept {
    #[serde(default)]
    endpoint: Option<String>,
    #[serde(default)]
    tokens: BTreeMap<String, String>,
}

/// Asks `endpoint` for a code, shows it by `invite`, waits for the person's decision, keeps the token. Returns the account's name.
pub async fn login(endpoint: &Endpoint, config_dir: &Path, invite: impl FnOnce(&Invitation)) -> Result<String, Fault> {
    let wire = Wire::new(endpoint, None, PATIENCE)?;
    let meter = Meter::default();
    let invitation: Invitation = ask(&wire, "/oauth/device", &[("client_id", CLIENT_ID), ("scope", "download api")], &meter).await?;
    invite(&invitation);
    let token = tokio::time::timeout(Duration::from_secs(invitation.expires_in), decided(&wire, &invitation, &meter))
        .await
        .map_err(|_| Fault::NotAllowed(expired()))??;
    let who = name_of(endpoint, &token, &meter).await?;
    let path = store(config_dir);
    let mut kept = load(&path)?;
    kept.tokens.insert(endpoint.to_string(), token);
    kept.endpoint = Some(endpoint.to_string());
    save(&path, &kept)?;
    Ok(who)
}

/// What became of a token that was forgotten here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing accepts it any more.
    Revoked,
    /// The portal did not say that it has revoked it, for this reason.
    Lives(String),
}

/// Gives the token of `endpoint` back and forgets it, whatever the portal says; nothing if there was none.
pub async fn logout(endpoint: &Endpoint, config_dir: &Path) -> Result<Option<Fate>, Fault> {
    let path = store(config_dir);
    let mut kept = load(&path)?;
    let Some(token) = kept.tokens.remove(&endpoint.to_string()) else { return Ok(None) };
    let fate = revoke(endpoint, &token).await?;
    if kept.endpoint.as_deref() == Some(&endpoint.to_string()) {
        kept.endpoint = None;
    }
    save(&path, &kept)?;
    Ok(Some(fate))
}

/// Asked once: who logs out on a train does not wait for a network.
async fn revoke(endpoint: &Endpoint, token: &str) -> Result<Fate, Fault> {
    let wire = Wire::new(endpoint, None, PATIENCE)?;
    let fields = [("token", token), ("token_type_hint", "access_token"), ("client_id", CLIENT_ID)];
    Ok(match wire.form("/oauth/revoke", &fields).await {
        Ok((200, _)) => Fate::Revoked,
        Ok((status, _)) => Fate::Lives(format!("{endpoint} answered {status}")),
        Err(Trouble::Final(fault)) => Fate::Lives(fault.to_string()),
        Err(Trouble::Wait(_, why) | Trouble::Again(why) | Trouble::Wrong(why)) => Fate::Lives(why),
    })
}

/// The token kept for `endpoint`.
pub fn kept_token(endpoint: &Endpoint, config_dir: &Path) -> Result<Option<String>, Fault> {
    Ok(load(&store(config_dir))?.tokens.remove(&endpoint.to_string()))
}

/// The portal that was signed in to last.
pub fn kept_endpoint(config_dir: &Path) -> Result<Option<String>, Fault> {
    Ok(load(&store(config_dir))?.endpoint)
}

/// The token, once the person has said yes.
async fn decided(wire: &Wire, invitation: &Invitation, meter: &Meter) -> Result<String, Fault> {
    #[derive(serde::Deserialize)]
    struct Answer {
        access_token: Option<String>,
        error: Option<String>,
        error_description: Option<String>,
    }
    let mut interval = Duration::from_secs(invitation.interval).max(INTERVAL_MIN);
    loop {
        tokio::time::sleep(interval).await;
        let fields = [("grant_type", GRANT), ("device_code", invitation.device_code.as_str()), ("client_id", CLIENT_ID)];
        let answer: Answer = ask(wire, "/oauth/token", &fields, meter).await?;
        match (answer.access_token, answer.error.as_deref()) {
            (Some(token), _) => return Ok(token),
            (None, Some("authorization_pending")) => {}
            (None, Some("slow_down")) => interval += SLOWER,
            (None, Some("expired_token")) => return Err(Fault::NotAllowed(expired())),
            (None, Some("access_denied")) => return Err(Fault::NotAllowed("the sign-in was declined on the portal's page".into())),
            (None, other) => {
                let said = answer.error_description.as_deref().or(other).unwrap_or("no reason");
                return Err(Fault::Failed(format!("{} does not sign in: {said}", wire.endpoint())));
            }
        }
    }
}

/// A form's answer as JSON, whatever its status; asks again where the portal does not answer.
async fn ask<T: serde::de::DeserializeOwned>(wire: &Wire, path: &str, fields: &[(&str, &str)], meter: &Meter) -> Result<T, Fault> {
    let mut tries = Tries::default();
    loop {
        let trouble = match wire.form(path, fields).await {
            Ok((status @ (429 | 500..), _)) => Trouble::Again(format!("{} answered {status}", wire.endpoint())),
            Ok((status, body)) => {
                return serde_json::from_slice(&body)
                    .map_err(|_| Fault::Failed(format!("{} has no sign-in by code ({path} answered {status})", wire.endpoint())));
            }
            Err(trouble) => trouble,
        };
        wire.recover(trouble, &mut tries, meter).await?;
    }
}

async fn name_of(endpoint: &Endpoint, token: &str, meter: &Meter) -> Result<String, Fault> {
    #[derive(serde::Deserialize)]
    struct Answer {
        name: String,
    }
    let wire = Wire::new(endpoint, Some(token), PATIENCE)?;
    Ok(wire.json::<Answer>("/api/whoami-v2", None, ANSWER_BYTES_MAX, meter).await?.name)
}

fn expired() -> String {
    "the code has expired before anybody confirmed it; run sluice login again".into()
}

fn store(config_dir: &Path) -> PathBuf {
    config_dir.join("tokens.json")
}

fn load(path: &Path) -> Result<Kept, Fault> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|cause| Fault::Failed(format!("{} cannot be read: {cause}; remove it and sign in again", path.display()))),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(cause) => Err(Fault::io("read", path, &cause)),
    }
}

fn save(path: &Path, kept: &Kept) -> Result<(), Fault> {
    folder::replace_private(path, serde_json::to_string_pretty(kept).expect("tokens are JSON").as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn tokens_are_kept_by_portal_for_this_user_only_and_forgotten_even_where_nobody_answers() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("sluice");
        let (one, two) = (Endpoint::parse("https://one.example").unwrap(), Endpoint::parse("http://127.0.0.1:1").unwrap());
        let tokens = [(one.to_string(), "slc_1".to_owned()), (two.to_string(), "slc_2".to_owned())].into();
        save(&store(&config), &Kept { endpoint: Some(two.to_string()), tokens }).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&store(&config)), mode(&config)), (0o600, 0o700));
        assert_eq!(kept_token(&one, &config).unwrap().as_deref(), Some("slc_1"));
        assert_eq!(kept_endpoint(&config).unwrap(), Some(two.to_string()));
        assert!(matches!(logout(&two, &config).await, Ok(Some(Fate::Lives(_)))));
        assert_eq!(logout(&two, &config).await, Ok(None));
        assert_eq!((kept_token(&two, &config).unwrap(), kept_endpoint(&config).unwrap()), (None, None));
        assert_eq!(kept_token(&one, &config).unwrap().as_deref(), Some("slc_1"));
    }
}
