//! The signing keys of a portal: one signs, those before it are listed until they retire. They lie in a folder of their own, for this
//! user alone; the private half of a key that was replaced is removed, because nothing needs it any more.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::Duration;

use super::key::{KeyFault, PublicKey, SigningKey};
use super::succession;
use crate::clock::Timestamp;
use crate::data_dir;

/// The list of keys, in the folder. Whatever it calls current is.
const LIST_FILE: &str = "keys.json";
/// Whoever changes the list holds a lock on this.
const LOCK_FILE: &str = "keys.lock";

/// A key as everybody may know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// SHA-256 of its DER, 64 hex digits.
    pub id: String,
    /// Its public half.
    pub public_key_pem: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: Timestamp,
    /// Until when what it signed is to be trusted; nothing for the one that signs.
    #[serde(with = "time::serde::rfc3339::option")]
    pub retires_at: Option<Timestamp>,
    /// The bundle in which the key before it vouches for this one (JSON). Nothing for the first one, for one that replaced a key which is
    /// not trusted any more, and for those from before there were such bundles: whoever knows the key before has to be told of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succession: Option<String>,
}

/// The folder of keys.
#[derive(Debug, Clone)]
pub struct Keyring {
    folder: PathBuf,
}

impl Keyring {
    /// Opens the folder; the first time, makes it and a key. Errors: what the disk says, `PermissionDenied` if others may read a key.
    pub fn open(folder: &Path, now: Timestamp) -> io::Result<Self> {
        data_dir::make_private(folder)?;
        let keyring = Self { folder: folder.to_owned() };
        if !keyring.folder.join(LIST_FILE).exists() {
            let _lock = keyring.lock()?;
            // Somebody else may have made it while we waited.
            if !keyring.folder.join(LIST_FILE).exists() {
                let first = keyring.make(now)?;
                keyring.write_list(&[first])?;
            }
        }
        keyring.current()?;
        Ok(keyring)
    }

    /// Every key, the one that signs first.
    pub fn list(&self) -> io::Result<Vec<KeyRecord>> {
        let path = self.folder.join(LIST_FILE);
        let list: Vec<KeyRecord> = serde_json::from_slice(&fs::read(&path)?).map_err(|cause| broken(&path, &cause.to_string()))?;
        match list.first() {
            Some(first) if first.retires_at.is_none() => Ok(list),
            _ => Err(broken(&path, "names no key that signs")),
        }
    }

    /// The key that signs now. It is read each time, since another process may have rotated it.
    pub fn current(&self) -> io::Result<SigningKey> {
        let id = self.list()?.swap_remove(0).id;
        let path = self.private_path(&id);
        if fs::metadata(&path)?.permissions().mode() & 0o077 != 0 {
            let problem =
                format!("{}: others on this machine may read this signing key: chmod 600 it, or rotate it if somebody did", path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
        }
        let key = SigningKey::from_pem(&fs::read_to_string(&path)?).map_err(|fault| broken(&path, &fault.to_string()))?;
        if key.public().id() == id { Ok(key) } else { Err(broken(&path, "is not the key that the list names")) }
    }

    /// The public halves of all keys that are to be trusted at `now`.
    pub fn trusted(&self, now: Timestamp) -> io::Result<Vec<PublicKey>> {
        let valid = self.list()?.into_iter().filter(|key| key.retires_at.is_none_or(|at| at > now));
        valid.map(|key| PublicKey::from_pem(&key.public_key_pem).map_err(|fault| broken(&self.folder, &fault.to_string()))).collect()
    }

    /// Makes a new key that signs from now on. What the one before it signed is trusted for `overlap` more, for those who fetched it, and
    /// it vouches for the new one. With no overlap it does not: a key that may have been stolen vouches for nothing.
    pub fn rotate(&self, now: Timestamp, overlap: Duration) -> io::Result<KeyRecord> {
        let _lock = self.lock()?;
        let mut list = self.list()?;
        let mut made = self.make(now)?;
        if overlap.is_positive() {
            let before = self.current()?;
            let vouched = PublicKey::from_pem(&made.public_key_pem).and_then(|next| succession::vouch(&before, &next));
            made.succession = Some(vouched.map_err(|fault| io::Error::other(fault.to_string()))?);
        }
        let before = list[0].id.clone();
        list[0].retires_at = Some(now + overlap);
        list.insert(0, made.clone());
        self.write_list(&list)?;
        fs::remove_file(self.private_path(&before))?;
        Ok(made)
    }

    fn make(&self, now: Timestamp) -> io::Result<KeyRecord> {
        let unmade = |fault: KeyFault| io::Error::other(fault.to_string());
        let pem = SigningKey::generate_pem().map_err(unmade)?;
        let public = SigningKey::from_pem(&pem).map_err(unmade)?.public().clone();
        self.write(&self.private_path(&public.id()), pem.as_bytes())?;
        Ok(KeyRecord { id: public.id(), public_key_pem: public.to_pem(), created_at: now, retires_at: None, succession: None })
    }

    fn write_list(&self, list: &[KeyRecord]) -> io::Result<()> {
        self.write(&self.folder.join(LIST_FILE), serde_json::to_string_pretty(list)?.as_bytes())
    }

    /// Complete or not at all, for this user alone.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = data_dir::private_file().write(true).truncate(true).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Held until it is dropped, or this process dies.
    fn lock(&self) -> io::Result<File> {
        let lock = data_dir::private_file().write(true).truncate(false).open(self.folder.join(LOCK_FILE))?;
        lock.lock()?;
        Ok(lock)
    }

    fn private_path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.pem"))
    }
}

fn broken(path: &Path, problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {problem}; put it back from a backup of the data folder", path.display()))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: Timestamp = datetime!(2026-03-02 09:00 UTC);

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_made_once_and_nobody_else_may_read_it() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("keys");
        let keyring = Keyring::open(&folder, NOW).unwrap();
        let list = keyring.list().unwrap();
        let key = folder.join(format!("{}.pem", list[0].id));
        assert_eq!((list.len(), mode(&folder), mode(&key)), (1, 0o700, 0o600));
        assert_eq!(keyring.current().unwrap().public().to_pem(), list[0].public_key_pem);
        assert_eq!(Keyring::open(&folder, NOW + Duration::DAY).unwrap().list().unwrap(), list, "the second start makes none");

        fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
        let refused = Keyring::open(&folder, NOW).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn after_a_rotation_the_key_before_is_trusted_until_it_retires() {
        let home = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(home.path(), NOW).unwrap();
        let before = keyring.list().unwrap().remove(0);
        let now = NOW + Duration::DAY;
        let made = keyring.rotate(now, Duration::days(90)).unwrap();
        assert_eq!(keyring.current().unwrap().public().id(), made.id);
        let trusts_before = PublicKey::from_pem(&before.public_key_pem).unwrap();
        let vouched = succession::vouched_for(made.succession.as_ref().unwrap().as_bytes(), &[trusts_before]);
        assert_eq!(vouched.unwrap().id(), made.id);
        assert_eq!(keyring.list().unwrap(), [made, KeyRecord { retires_at: Some(now + Duration::days(90)), ..before.clone() }]);
        assert!(!home.path().join(format!("{}.pem", before.id)).exists(), "what nothing needs cannot leak");
        let trusted_in = |days| keyring.trusted(now + Duration::days(days)).unwrap().len();
        assert_eq!((trusted_in(0), trusted_in(89), trusted_in(90)), (2, 2, 1));
    }

    #[test]
    fn a_key_that_is_trusted_no_longer_vouches_for_nothing() {
        let home = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(home.path(), NOW).unwrap();
        assert_eq!(keyring.rotate(NOW, Duration::ZERO).unwrap().succession, None);
    }

    #[test]
    fn a_folder_from_before_keys_vouched_is_read_and_its_next_rotation_is_vouched_for() {
        let home = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(home.path(), NOW).unwrap();
        keyring.rotate(NOW, Duration::DAY).unwrap();
        let path = home.path().join(LIST_FILE);
        let mut list: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        list[0].as_object_mut().unwrap().remove("succession").unwrap();
        fs::write(&path, list.to_string()).unwrap();
        assert_eq!(keyring.list().unwrap()[0].succession, None);
        assert!(keyring.rotate(NOW, Duration::DAY).unwrap().succession.is_some());
    }

    #[test]
    fn a_damaged_folder_is_named_and_not_mended_by_a_new_key() {
        for damage in [&b"[]"[..], b"{", b""] {
            let home = tempfile::tempdir().unwrap();
            Keyring::open(home.path(), NOW).unwrap();
            fs::write(home.path().join(LIST_FILE), damage).unwrap();
            let refused = Keyring::open(home.path(), NOW).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
            assert!(refused.to_string().contains("backup"), "{refused}");
        }
    }
}
