//! The key by which the portal knows an address again that it has forgotten. Without it, what is kept of the address says nothing, not even
//! to whoever has the database and a list of addresses.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ring::hmac;

use crate::data_dir;

/// As long as the digest: RFC 2104 §3.
const KEY_BYTES: usize = 32;
const KEY_FILE: &str = "address.key";

/// A secret of this portal.
pub struct AddressKey(hmac::Key);

impl AddressKey {
    /// Reads the key in `folder`; the first time, makes it. Errors: what the disk says, `PermissionDenied` if others may read it,
    /// `InvalidData` if it is none.
    pub fn open(folder: &Path) -> io::Result<Self> {
        data_dir::make_private(folder)?;
        let path = folder.join(KEY_FILE);
        let broken = |kind, words: &str| Err(io::Error::new(kind, format!("{}: {words}", path.display())));
        let mut file = data_dir::private_file().read(true).write(true).truncate(false).open(&path)?;
        // A portal and a command may both come first: one makes the key, the other finds it.
        file.lock()?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            return broken(io::ErrorKind::PermissionDenied, "others on this machine may read this key: chmod 600 it");
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            bytes.resize(KEY_BYTES, 0);
            getrandom::fill(&mut bytes).map_err(io::Error::other)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
        }
        if bytes.len() != KEY_BYTES {
            return broken(io::ErrorKind::InvalidData, "is not a key of 32 bytes");
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// What an address is known by: HMAC-SHA-256 (RFC 2104).
    pub fn hash(&self, address: &str) -> [u8; 32] {
        let tag = hmac::sign(&self.0, address.as_bytes());
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portal_knows_an_address_again_and_no_other_portal_does() {
        let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let hash = |folder: &Path, address| AddressKey::open(folder).expect("a key").hash(address);
        let ada = hash(here.path(), "ada@uni.edu");
        assert_eq!(hash(here.path(), "ada@uni.edu"), ada);
        assert_ne!(hash(here.path(), "bob@uni.edu"), ada);
        assert_ne!(hash(there.path(), "ada@uni.edu"), ada);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_cut_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        AddressKey::open(folder.path()).expect("a key");
        let path = folder.path().join(KEY_FILE);
        let fault = || AddressKey::open(folder.path()).err().expect("it is refused").kind();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("chmod");
        assert_eq!(fault(), io::ErrorKind::PermissionDenied);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("chmod");
        std::fs::write(&path, b"cut").expect("write");
        assert_eq!(fault(), io::ErrorKind::InvalidData);
    }
}
