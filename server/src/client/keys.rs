//! Whose signature counts: the key that was given, else the portal's as it was at first contact, remembered for each portal.
//!
//! A key that has changed is refused, unless the one we remember is still offered beside it and not yet retired: that is how a
//! portal changes its key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use time::format_description::well_known::Rfc3339;

use super::endpoint::Endpoint;
use super::fault::Fault;
use super::folder;
use super::meter::Meter;
use super::wire::Wire;
use crate::clock::Clock;
use crate::integrity::{ALGORITHM, PublicKey};

/// Where a portal shows its keys.
const WELL_KNOWN: &str = "/.well-known/sluice-keys.json";
const KEYS_BYTES_MAX: usize = 256 << 10;
/// Our clock, or the portal's, may be wrong by so much.
const CLOCK_SLACK: time::Duration = time::Duration::days(2);

/// One key as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Known {
    id: String,
    public_key_pem: String,
    since: String,
}

#[derive(serde::Deserialize)]
struct Offered {
    keys: Vec<OfferedKey>,
}

#[derive(serde::Deserialize)]
struct OfferedKey {
    algorithm: String,
    public_key_pem: String,
    retires_at: Option<String>,
}

/// The key in a file.
pub(super) fn from_file(path: &Path) -> Result<PublicKey, Fault> {
    let pem = std::fs::read_to_string(path).map_err(|cause| Fault::Usage(format!("the key {} cannot be read: {cause}", path.display())))?;
    PublicKey::from_pem(&pem).map_err(|fault| Fault::Usage(format!("{}: {fault}", path.display())))
}

/// The keys remembered for a portal, for those who are offline.
pub(super) fn remembered(config_dir: &Path, endpoint: &str) -> Result<Vec<PublicKey>, Fault> {
    Ok(load(&store(config_dir))?
        .remove(endpoint)
        .unwrap_or_default()
        .iter()
        .filter_map(|known| PublicKey::from_pem(&known.public_key_pem).ok())
        .collect())
}

/// Asks the portal for its keys, compares them with what is remembered, and remembers what is new.
pub(super) async fn of_portal(wire: &Wire, config_dir: &Path, meter: &Meter) -> Result<Vec<PublicKey>, Fault> {
    let offered: Offered = wire.json(WELL_KNOWN, None, KEYS_BYTES_MAX, meter).await?;
    let now = Clock::System.now();
    let mut keys = Vec::new();
    for key in offered.keys.iter().filter(|key| key.algorithm == ALGORITHM) {
        let public =
            PublicKey::from_pem(&key.public_key_pem).map_err(|fault| Fault::Failed(format!("{}{WELL_KNOWN}: {fault}", wire.endpoint())))?;
        let retires = key.retires_at.as_deref().map(|at| time::OffsetDateTime::parse(at, &Rfc3339));
        let retired = matches!(retires, Some(Ok(at)) if at + CLOCK_SLACK < now) || matches!(retires, Some(Err(_)));
        keys.push((public, retired));
    }
    if keys.is_empty() {
        return Err(Fault::Failed(format!("{} shows no key that this version of sluice can use", wire.endpoint())));
    }
    let path = store(config_dir);
    let mut all = load(&path)?;
    let known = all.entry(wire.endpoint().to_string()).or_default();
    let fresh = compare(wire.endpoint(), known, &keys, &path)?;
    if !fresh.is_empty() {
        for id in &fresh {
            let met = if known.is_empty() {
                "first contact: compare it with the one the publisher tells"
            } else {
                "offered beside the key remembered before"
            };
            meter.note(format!("Trusting the key {id} of {} from now on ({met}).", wire.endpoint()));
        }
        let since = now.date().to_string();
        let entry = |key: &PublicKey| Known { id: key.id(), public_key_pem: key.to_pem(), since: since.clone() };
        known.retain(|known| keys.iter().any(|(key, _)| key.id() == known.id));
        known.extend(keys.iter().map(|(key, _)| key).filter(|key| fresh.contains(&key.id())).map(entry));
        save(&path, &all)?;
    }
    Ok(keys.into_iter().map(|(key, _)| key).collect())
}

/// The ids among `keys` that are not known yet, or why they must not be trusted.
fn compare(endpoint: &Endpoint, known: &[Known], keys: &[(PublicKey, bool)], remembered_in: &Path) -> Result<Vec<String>, Fault> {
    let fresh: Vec<String> = keys.iter().map(|(key, _)| key.id()).filter(|id| known.iter().all(|known| known.id != *id)).collect();
    let is_known = |key: &PublicKey| known.iter().any(|known| known.id == key.id());
    let overlaps = keys.iter().any(|(key, retired)| !retired && is_known(key));
    if known.is_empty() || fresh.is_empty() || overlaps {
        return Ok(fresh);
    }
    let before = known.iter().map(|known| format!("{} (since {})", known.id, known.since)).collect::<Vec<_>>().join(", ");
    Err(Fault::Mismatch(format!(
        "the signing key of {endpoint} has changed, and nothing explains it: remembered is {before}, offered is {}.\n\
         Somebody may be between you and the portal. Ask its publisher for the key and give it with --key FILE; \
         if the change is confirmed, remove the portal from {}",
        fresh.join(", "),
        remembered_in.display()
    )))
}

fn store(config_dir: &Path) -> PathBuf {
    config_dir.join("known-keys.json")
}

fn load(path: &Path) -> Result<BTreeMap<String, Vec<Known>>, Fault> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|cause| Fault::Failed(format!("{} cannot be read: {cause}; mend or remove it", path.display()))),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(cause) => Err(Fault::io("read", path, &cause)),
    }
}

fn save(path: &Path, all: &BTreeMap<String, Vec<Known>>) -> Result<(), Fault> {
    folder::replace_private(path, serde_json::to_string_pretty(all).expect("keys are JSON").as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use crate::integrity::SigningKey;

    fn key() -> PublicKey {
        SigningKey::from_pem(&SigningKey::generate_pem().unwrap()).unwrap().public().clone()
    }

    #[test]
    fn a_key_is_trusted_at_first_contact_and_after_an_overlap_and_else_refused() {
        let endpoint = Endpoint::parse("https://weights.example.org").unwrap();
        let (old, new) = (key(), key());
        let known = [Known { id: old.id(), public_key_pem: old.to_pem(), since: "2026-01-01".into() }];
        let compare = |known: &[Known], keys: &[(PublicKey, bool)]| compare(&endpoint, known, keys, Path::new("known-keys.json"));
        assert_eq!(compare(&[], &[(old.clone(), false)]), Ok(vec![old.id()]));
        assert_eq!(compare(&known, &[(old.clone(), false)]), Ok(vec![]));
        assert_eq!(compare(&known, &[(old.clone(), false), (new.clone(), false)]), Ok(vec![new.id()]), "the overlap of a rotation");
        assert_eq!(compare(&known, &[(old.clone(), true)]), Ok(vec![]), "nothing new is nothing to explain");
        for changed in [&[(new.clone(), false)][..], &[(old.clone(), true), (new.clone(), false)]] {
            let Err(Fault::Mismatch(text)) = compare(&known, changed) else { panic!("trusted") };
            assert!(text.contains(&old.id()) && text.contains(&new.id()) && text.contains("--key FILE"), "{text}");
        }
    }
}
