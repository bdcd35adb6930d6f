//! A proof, in one file, that something stands on the record, to be verified without the portal: c2sp.org/tlog-proof@v1. Its extra data is
//! the entry, and what opens the commitment in it.

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::leaf::commitment;
use super::log::Log;
use super::merkle::{Hash, leaf_hash, root_by};
use super::note::{Checkpoint, LogKey, NotBelieved};
use super::store;
use crate::error::Error;

/// The first line.
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extra {
    /// The entry of the log, byte for byte.
    entry: String,
    /// What the commitment in the entry was salted with, in hex.
    salt: Option<String>,
    /// What else happened, as the portal knows it.
    detail: Option<String>,
}

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The entry: who, when, what, about whom; JSON.
    pub entry: String,
    /// The rest, if the receipt has it; JSON.
    pub detail: Option<String>,
    /// The entry's place.
    pub index: u64,
    /// The state of the log that was signed.
    pub checkpoint: Checkpoint,
}

fn no_place_yet() -> Error {
    Error::Busy { why: "this was recorded a moment ago and has no place in the log yet: try again in a second".into(), retry_after_s: 1 }
}

/// The receipt of one event. `NotFound` if it was removed; `Busy` for the moment until it has its place in the log.
pub async fn receipt(db: &mut PgConnection, log: &Log, seq: i64) -> Result<String, Error> {
    let logged = store::logged_as(db, seq).await?.ok_or_else(no_place_yet)?;
    let leaf = logged.leaf().ok_or(Error::NotFound("receipt"))?;
    let index = logged.index.unsigned_abs();
    let (note, path) = log.prove(index)?.ok_or_else(no_place_yet)?;
    let entry = String::from_utf8(leaf.entry()).map_err(Error::internal)?;
    let salt = logged.salt.as_deref().map(|salt| HEXLOWER.encode(salt));
    let extra = serde_json::to_vec(&Extra { entry, salt, detail: logged.detail.clone() }).map_err(Error::internal)?;
    let mut text = format!("{FIRST_LINE}\nextra {}\nindex {index}\n", BASE64.encode(&extra));
    for hash in path {
        text.push_str(&BASE64.encode(&hash));
        text.push('\n');
    }
    Ok(format!("{text}\n{note}"))
}

/// Whether a receipt proves something to whoever trusts `key`. Nothing is asked of anybody.
pub fn check(receipt: &str, key: &LogKey) -> Result<Proven, NotBelieved> {
    let not_a_receipt = || NotBelieved("this is no receipt (c2sp.org/tlog-proof@v1 with the entry as its extra data)");
    let (proof, note) = receipt.split_once("\n\n").ok_or_else(not_a_receipt)?;
    let mut lines = proof.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(not_a_receipt());
    }
    let extra = lines.next().and_then(|line| BASE64.decode(line.strip_prefix("extra ")?.as_bytes()).ok()).ok_or_else(not_a_receipt)?;
    let extra: Extra = serde_json::from_slice(&extra).map_err(|_| not_a_receipt())?;
    let index: u64 = lines.next().and_then(|line| line.strip_prefix("index ")?.parse().ok()).ok_or_else(not_a_receipt)?;
    let path =
        lines.map(|line| BASE64.decode(line.as_bytes()).ok()?.try_into().ok()).collect::<Option<Vec<Hash>>>().ok_or_else(not_a_receipt)?;
    let checkpoint = Checkpoint::open(note, key)?;
    if root_by(leaf_hash(extra.entry.as_bytes()), index, checkpoint.size, &path) != Some(checkpoint.root) {
        return Err(NotBelieved("the entry is not in the log that was signed: the receipt was changed"));
    }
    if let Some(detail) = &extra.detail {
        let entry: serde_json::Value = serde_json::from_str(&extra.entry).map_err(|_| not_a_receipt())?;
        let salt = extra.salt.as_deref().and_then(|salt| HEXLOWER.decode(salt.as_bytes()).ok()).ok_or_else(not_a_receipt)?;
        if entry["commitment"] != HEXLOWER.encode(&commitment(&salt, detail)) {
            return Err(NotBelieved("the detail is not the one that was logged: the receipt was changed"));
        }
    }
    Ok(Proven { entry: extra.entry, detail: extra.detail, index, checkpoint })
}
