//! Whose signature counts: the key that was given, else the portal's as it was at first contact, remembered for each portal; and the keys
//! that these have vouched for, one after the other. A key that is merely shown counts for nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use time::format_description::well_known::Rfc3339;

use super::endpoint::Endpoint;
use super::fault::Fault;
use super::folder;
use super::meter::Meter;
use super::wire::Wire;
use crate::clock::{Clock, Timestamp};
use crate::integrity::{ALGORITHM, PublicKey, vouched_for};

/// Where a portal shows its keys.
const WELL_KNOWN: &str = "/.well-known/sluice-keys.json";
/// What the list is called in a folder that was pulled.
const KEPT_FILE: &str = "keys.json";
const KEYS_BYTES_MAX: usize = 4 << 20;
/// So many keys are looked at, the newest: as many as a portal has that rotates every month for five years.
const KEYS_MAX: usize = 64;
/// Our clock, or the portal's, may be wrong by so much.
const CLOCK_SLACK: time::Duration = time::Duration::days(2);

/// One key as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Known {
    id: String,
    public_key_pem: String,
    since: String,
}

/// The keys that a portal shows, the one that signs now first. It proves nothing but what its keys vouch for.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Listing {
    keys: Vec<Listed>,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Listed {
    algorithm: String,
    public_key_pem: String,
    retires_at: Option<String>,
    /// The bundle in which the key before vouches for this one. Portals from before there were such bundles show none.
    #[serde(default)]
    succession: Option<serde_json::Value>,
}

impl Listing {
    /// Asks a portal.
    pub(super) async fn fetch(wire: &Wire, meter: &Meter) -> Result<Self, Fault> {
        let mut listing: Self = wire.json(WELL_KNOWN, None, KEYS_BYTES_MAX, meter).await?;
        listing.keys.retain(|key| key.algorithm == ALGORITHM && key.public().is_some());
        listing.keys.truncate(KEYS_MAX);
        if listing.keys.is_empty() {
            return Err(Fault::Failed(format!("{}{WELL_KNOWN} shows no key that this version of sluice can use", wire.endpoint())));
        }
        Ok(listing)
    }

    /// Reads the one that was kept in `ours`; in a folder without a good one nothing is vouched for.
    pub(super) fn kept(ours: &Path) -> Self {
        let read =
            folder::read_small(&ours.join(KEPT_FILE), KEYS_BYTES_MAX as u64).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut listing = read.unwrap_or(Self { keys: Vec::new() });
        listing.keys.truncate(KEYS_MAX);
        listing
    }

    /// Keeps it in `ours`, for those who verify later and trust an older key.
    pub(super) fn keep(&self, ours: &Path) -> Result<(), Fault> {
        folder::replace(&ours.join(KEPT_FILE), serde_json::to_string_pretty(self).expect("keys are JSON").as_bytes())
    }

    /// These keys, and all that they have vouched for, directly or by one another.
    pub(super) fn followed_from(&self, mut trusted: Vec<PublicKey>) -> Vec<PublicKey> {
        let bundles: Vec<String> = self.keys.iter().filter_map(|key| Some(key.succession.as_ref()?.to_string())).collect();
        loop {
            let next = bundles.iter().filter_map(|bundle| vouched_for(bundle.as_bytes(), &trusted)).find(|key| !trusted.contains(key));
            match next {
                Some(key) => trusted.push(key),
                None => return trusted,
            }
        }
    }

    /// The keys that may still sign at `now`.
    fn in_use(&self, now: Timestamp) -> Vec<PublicKey> {
        let is_in_use = |key: &&Listed| match key.retires_at.as_deref().map(|at| time::OffsetDateTime::parse(at, &Rfc3339)) {
            None => true,
            Some(Ok(at)) => at + CLOCK_SLACK >= now,
            Some(Err(_)) => false,
        };
        self.keys.iter().filter(is_in_use).filter_map(Listed::public).collect()
    }

    /// Why a release that the keys in use do not prove is refused, if a listed key does that has retired: then a clock that is wrong may be
    /// all that is wrong.
    pub(super) fn retired_key_that(&self, proves: impl Fn(&PublicKey) -> bool) -> Option<Fault> {
        let now = Clock::System.now();
        let in_use = self.in_use(now);
        let retired = self.keys.iter().filter_map(|listed| Some((listed.public()?, listed.retires_at.as_deref()?)));
        let (key, at) = retired.filter(|(key, _)| !in_use.contains(key)).find(|(key, _)| proves(key))?;
        Some(Fault::Mismatch(format!(
            "the release is signed with the key {}, which retired on {at}; this machine's clock says {}. Set the clock if it is wrong; \
             if it is right, the portal has not signed the release anew: ask its publisher",
            key.id(),
            now.date()
        )))
    }

    fn all(&self) -> Vec<PublicKey> {
        self.keys.iter().filter_map(Listed::public).collect()
    }
}

impl Listed {
    fn public(&self) -> Option<PublicKey> {
        PublicKey::from_pem(&self.public_key_pem).ok()
    }
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

/// The keys of a portal's list that may sign for it, compared with what is remembered; remembers what is new. At first contact the key
/// that signs now is taken as it is. Later it has to be vouched for, over however many rotations, by a key that is remembered.
pub(super) fn of_portal(listing: &Listing, endpoint: &Endpoint, config_dir: &Path, meter: &Meter) -> Result<Vec<PublicKey>, Fault> {
    let now = Clock::System.now();
    let path = store(config_dir);
    let mut all = load(&path)?;
    let known = all.entry(endpoint.to_string()).or_default();
    let (followed, met) = follow(listing, known, endpoint, &path)?;
    let listed = listing.all();
    let is_listed = |known: &Known| listed.iter().any(|key| key.id() == known.id);
    let fresh: Vec<&PublicKey> = followed.iter().filter(|key| known.iter().all(|known| known.id != key.id())).collect();
    for key in &fresh {
        meter.note(format!("Trusting the key {} of {endpoint} from now on ({met}).", key.id()));
    }
    let may_sign = listing.in_use(now);
    let usable = may_sign.into_iter().filter(|key| known.is_empty() || followed.contains(key)).collect();
    if !fresh.is_empty() || !known.iter().all(is_listed) {
        let since = now.date().to_string();
        let fresh: Vec<Known> =
            fresh.into_iter().map(|key| Known { id: key.id(), public_key_pem: key.to_pem(), since: since.clone() }).collect();
        known.extend(fresh);
        known.retain(is_listed);
        save(&path, &all)?;
    }
    Ok(usable)
}

/// The keys to be trusted from now on and why, or why the one that signs now must not be.
fn follow(listing: &Listing, known: &[Known], endpoint: &Endpoint, remembered_in: &Path) -> Result<(Vec<PublicKey>, &'static str), Fault> {
    let signs = listing.all().swap_remove(0);
    if known.is_empty() {
        return Ok((vec![signs], "first contact: compare it with the one the publisher tells"));
    }
    let remembered = known.iter().filter_map(|known| PublicKey::from_pem(&known.public_key_pem).ok()).collect();
    let followed = listing.followed_from(remembered);
    if followed.contains(&signs) {
        return Ok((followed, "the key remembered before has vouched for it"));
    }
    let before = known.iter().map(|known| format!("{} (since {})", known.id, known.since)).collect::<Vec<_>>().join(", ");
    Err(Fault::Mismatch(format!(
        "the signing key of {endpoint} has changed, and no key that is known here has vouched for the new one: remembered is {before}, \
         signing now is {}.\nSomebody may be between you and the portal. Ask its publisher for the key and give it with --key FILE; \
         if the change is confirmed, remove the portal from {}",
        signs.id(),
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
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::integrity::{KeyRecord, Keyring};

    const NOW: Timestamp = datetime!(2026-03-02 09:00 UTC);

    /// What a portal with these keys shows.
    fn listing(records: &[KeyRecord]) -> Listing {
        let listed = |key: &KeyRecord| Listed {
            algorithm: ALGORITHM.into(),
            public_key_pem: key.public_key_pem.clone(),
            retires_at: key.retires_at.map(|at| at.format(&Rfc3339).unwrap()),
            succession: key.succession.as_ref().map(|bundle| serde_json::from_str(bundle).unwrap()),
        };
        Listing { keys: records.iter().map(listed).collect() }
    }

    fn known(record: &KeyRecord) -> Known {
        Known { id: record.id.clone(), public_key_pem: record.public_key_pem.clone(), since: "2026-01-01".into() }
    }

    fn ids(followed: Result<(Vec<PublicKey>, &'static str), Fault>) -> Result<Vec<String>, Fault> {
        followed.map(|(keys, _)| keys.iter().map(PublicKey::id).collect())
    }

    #[test]
    fn keys_are_followed_over_every_rotation_and_nothing_else_makes_them_trusted() {
        let (home, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::parse("https://weights.example.org").unwrap());
        let follow = |listing: &Listing, known: &[Known]| ids(follow(listing, known, &endpoint, Path::new("known-keys.json")));
        let keyring = Keyring::open(home.path(), NOW).unwrap();
        let first = keyring.list().unwrap().remove(0);
        keyring.rotate(NOW, Duration::DAY).unwrap();
        let third = keyring.rotate(NOW, Duration::DAY).unwrap();
        let mut list = keyring.list().unwrap();
        let second = list[1].clone();

        assert_eq!(follow(&listing(&list), &[]), Ok(vec![third.id.clone()]), "first contact: the one that signs");
        let all = vec![first.id.clone(), second.id.clone(), third.id.clone()];
        assert_eq!(follow(&listing(&list), &[known(&first)]), Ok(all));
        assert_eq!(follow(&listing(&list), &[known(&second)]), Ok(vec![second.id.clone(), third.id.clone()]));
        assert_eq!(follow(&listing(&list), &[known(&third)]), Ok(vec![third.id.clone()]), "the new vouches for nobody");

        // A statement that is missing, of another key, or of nobody's breaks the chain.
        let whole = list[1].succession.clone();
        for broken in [None, list[0].succession.clone(), Some("{}".to_owned())] {
            list[1].succession = broken;
            let Err(Fault::Mismatch(text)) = follow(&listing(&list), &[known(&first)]) else { panic!("trusted") };
            assert!(text.contains(&first.id) && text.contains(&third.id) && text.contains("--key FILE"), "{text}");
        }
        list[1].succession = whole;
        list.swap(0, 1);
        assert!(follow(&listing(&list), &[known(&third)]).is_err(), "a key from before does not sign again");
    }

    #[test]
    fn a_retired_key_signs_nothing_any_more() {
        let home = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(home.path(), NOW).unwrap();
        let second = keyring.rotate(NOW, Duration::DAY).unwrap();
        let listing = listing(&keyring.list().unwrap());
        assert_eq!(listing.in_use(NOW).len(), 2);
        let later = listing.in_use(NOW + Duration::days(4));
        assert_eq!(later.iter().map(PublicKey::id).collect::<Vec<_>>(), [second.id]);
    }
}
