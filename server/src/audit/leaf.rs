//! What an event looks like in the log: canonical JSON (RFC 8785) of what nobody may change, without what may have to be forgotten.

use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest, Sha256};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::merkle::{Hash, leaf_hash};
use crate::clock::Timestamp;
use crate::ids::AccountId;

/// As the database keeps it: to the microsecond, in UTC.
const AT: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// An event as it is logged. Its fields stand in the order of their names, as canonical JSON wants them.
#[derive(Debug, Serialize)]
pub struct Leaf<'a> {
    actor: Option<AccountId>,
    at: String,
    commitment: String,
    kind: &'a str,
    seq: i64,
    subject: &'a str,
}

impl<'a> Leaf<'a> {
    /// `actor` is a pseudonym, `subject` an id; `commitment` hides the detail, as [`commitment`] makes it.
    pub fn new(seq: i64, at: Timestamp, actor: Option<AccountId>, kind: &'a str, subject: &'a str, commitment: &[u8]) -> Self {
        let at = at.to_offset(time::UtcOffset::UTC).format(AT).unwrap_or_default();
        Self { actor, at, commitment: HEXLOWER.encode(commitment), kind, seq, subject }
    }

    /// The entry of the log.
    pub fn entry(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Its hash in the tree.
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.entry())
    }
}

/// `SHA-256(salt || detail)`: says nothing about the detail to whoever has not both, and fits no other.
pub fn commitment(salt: &[u8], detail: &str) -> Hash {
    Sha256::new().chain_update(salt).chain_update(detail).finalize().into()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_entry_is_canonical() {
        let leaf = Leaf::new(7, datetime!(2026-03-02 11:00:00.12 +2), None, "store.objects_removed", "st\"ore", &[0xab; 32]);
        let commitment = "ab".repeat(32);
        let entry = format!(
            r#"{{"actor":null,"at":"2026-03-02T09:00:00.120000Z","commitment":"{commitment}","kind":"store.objects_removed","seq":7,"subject":"st\"ore"}}"#
        );
        assert_eq!(String::from_utf8_lossy(&leaf.entry()), entry);
        assert_ne!(super::commitment(b"a", "b"), super::commitment(b"", "b"));
    }
}
