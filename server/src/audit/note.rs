//! What the log signs: checkpoints (c2sp.org/tlog-checkpoint), as signed notes (c2sp.org/signed-note) by Ed25519 (RFC 8032).

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use super::merkle::Hash;

/// The type of an Ed25519 signature in a note's key.
const ED25519_TYPE: u8 = 1;
/// What a signature line begins with.
const SIGNED_BY: &str = "\u{2014} ";
/// A note is a few lines; more is not ours. 16 KiB.
const NOTE_BYTES_MAX: usize = 16 << 10;

/// Why a note, a key or a receipt cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotBelieved(pub &'static str);

/// The state of a log at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a URL without its scheme.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The Merkle tree hash over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads a note that `key` has signed. Signatures of others are not looked at.
    pub fn open(note: &str, key: &LogKey) -> Result<Self, NotBelieved> {
        let not_a_note = NotBelieved("this is no signed checkpoint of a log (c2sp.org/tlog-checkpoint)");
        if note.len() > NOTE_BYTES_MAX {
            return Err(not_a_note);
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or_else(|| not_a_note.clone())?;
        let text = format!("{text}\n");
        let mut is_signed = false;
        for line in signatures.lines() {
            let (name, signature) = line.strip_prefix(SIGNED_BY).and_then(|line| line.split_once(' ')).ok_or_else(|| not_a_note.clone())?;
            let signature = BASE64.decode(signature.as_bytes()).map_err(|_| not_a_note.clone())?;
            if name == key.name && signature.starts_with(&key.id()) {
                if UnparsedPublicKey::new(&ED25519, key.public).verify(text.as_bytes(), &signature[4..]).is_err() {
                    return Err(NotBelieved("the checkpoint's signature does not fit its text: one of them was changed"));
                }
                is_signed = true;
            }
        }
        if !is_signed {
            return Err(NotBelieved("the checkpoint is not signed by this log's key"));
        }
        Self::parse(&text).ok_or(not_a_note)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let origin = lines.next().filter(|origin| !origin.is_empty())?.to_owned();
        let size_text = lines.next()?;
        let size: u64 = size_text.parse().ok()?;
        let root = BASE64.decode(lines.next()?.as_bytes()).ok()?.try_into().ok()?;
        (size.to_string() == size_text).then_some(Self { origin, size, root })
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(&self.root))
    }
}

/// The half of a log's key that everybody may have: its name and an Ed25519 key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    /// The log's origin.
    pub name: String,
    public: [u8; 32],
}

impl LogKey {
    /// Reads `NAME+ID+KEY`, as [`LogKey`] is displayed.
    pub fn parse(text: &str) -> Result<Self, NotBelieved> {
        let not_a_key = NotBelieved("this is no key of a log: it looks like NAME+ID+KEY, and a portal gives its own at /audit/key");
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(not_a_key) };
        let key = BASE64.decode(key.as_bytes()).map_err(|_| not_a_key.clone())?;
        let public = key.strip_prefix(&[ED25519_TYPE]).and_then(|key| key.try_into().ok()).ok_or_else(|| not_a_key.clone())?;
        let key = Self { name: name.to_owned(), public };
        let is_whole = !name.is_empty() && !name.contains(char::is_whitespace) && HEXLOWER.encode(&key.id()) == id;
        if is_whole { Ok(key) } else { Err(not_a_key) }
    }

    fn id(&self) -> [u8; 4] {
        let digest = Sha256::new().chain_update(&self.name).chain_update([b'\n', ED25519_TYPE]).chain_update(self.public).finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64.encode(&[&[ED25519_TYPE], &self.public[..]].concat());
        write!(out, "{}+{}+{key}", self.name, HEXLOWER.encode(&self.id()))
    }
}

/// The half that stays in the data folder.
pub struct LogSigner {
    pair: Ed25519KeyPair,
    key: LogKey,
}

impl LogSigner {
    /// A new key, as PKCS#8; `None` if the system gives no randomness.
    pub fn generate() -> Option<Vec<u8>> {
        Some(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).ok()?.as_ref().to_vec())
    }

    /// The key of the log called `name`, from PKCS#8.
    pub fn from_pkcs8(name: &str, document: &[u8]) -> Result<Self, NotBelieved> {
        let pair = Ed25519KeyPair::from_pkcs8(document).map_err(|_| NotBelieved("this is no Ed25519 key in PKCS#8"))?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| NotBelieved("this is no Ed25519 key in PKCS#8"))?;
        Ok(Self { pair, key: LogKey { name: name.to_owned(), public } })
    }

    /// Its public half.
    pub fn key(&self) -> &LogKey {
        &self.key
    }

    /// The state of this log, signed.
    pub fn checkpoint(&self, size: u64, root: Hash) -> String {
        let text = Checkpoint { origin: self.key.name.clone(), size, root }.text();
        let signature = [&self.key.id()[..], self.pair.sign(text.as_bytes()).as_ref()].concat();
        format!("{text}\n{SIGNED_BY}{} {}\n", self.key.name, BASE64.encode(&signature))
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LogSigner({})", self.key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    /// The key and the note in the documentation of Go's golang.org/x/mod/sumdb/note: another implementation's signature.
    #[test]
    fn a_note_of_the_reference_implementation_is_believed() {
        let key = LogKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let signature =
            BASE64.decode(b"x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=").unwrap();
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        assert_eq!(signature[..4], key.id());
        assert!(UnparsedPublicKey::new(&ED25519, key.public).verify(text.as_bytes(), &signature[4..]).is_ok());
        assert_eq!(LogKey::parse(&key.to_string()), Ok(key));
    }

    #[test]
    fn a_checkpoint_is_believed_as_it_was_signed_and_no_other() {
        let signer = LogSigner::from_pkcs8("weights.example/audit", &LogSigner::generate().unwrap()).unwrap();
        let note = signer.checkpoint(20_852_163, [7; 32]);
        let open = Checkpoint::open(&note, signer.key()).unwrap();
        assert_eq!((open.origin.as_str(), open.size, open.root), ("weights.example/audit", 20_852_163, [7; 32]));

        let other = LogSigner::from_pkcs8("weights.example/audit", &LogSigner::generate().unwrap()).unwrap();
        assert!(Checkpoint::open(&note, other.key()).is_err(), "another key of that name");
        for at in 0..note.len() {
            let mut changed = note.clone().into_bytes();
            changed[at] ^= 1;
            if let Ok(changed) = String::from_utf8(changed) {
                assert!(Checkpoint::open(&changed, signer.key()).is_err(), "byte {at}: {changed}");
            }
        }
        // Cosignatures of witnesses do no harm.
        let cosigned = note + other.checkpoint(1, [0; 32]).lines().last().unwrap() + "\n";
        assert!(Checkpoint::open(&cosigned, signer.key()).is_ok());
    }

    #[test]
    fn a_key_with_a_slip_is_refused() {
        let key = LogSigner::from_pkcs8("a/b", &LogSigner::generate().unwrap()).unwrap().key().to_string();
        assert!(LogKey::parse(&key).is_ok());
        for wrong in [key.replace("a/b", "a/c"), key.replace('+', " "), String::new(), key[..key.len() - 4].to_owned()] {
            assert!(LogKey::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
