//! Weights in the form the kernels read, kept on disk: the next load maps them instead of making them again.
//!
//! Knows keys and bytes, nothing of models. A key names what the bytes were made from and how, so a file is never out of date, only
//! unused. Whatever goes wrong here (a full disk, a read-only folder, a damaged file, a killed process, two at once) is told to the log
//! and costs the cache, never the load: what is not proven whole is made again.

mod entry;
mod folder;
mod header;
mod writing;

use std::path::PathBuf;

pub(crate) use entry::Entry;
pub(crate) use writing::Writing;

/// Where packed weights are kept, and how many bytes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedCache {
    /// A folder of its own, made when needed, for this user alone. All in it may be deleted at any time.
    pub folder: PathBuf,
    /// The most bytes in it. For one more file, those go that were not used for the longest time.
    pub bytes_max: u64,
}

impl PackedCache {
    /// The place for the bytes of this key.
    pub(crate) fn entry(&self, key: blake3::Hash) -> Entry {
        Entry { cache: self.clone(), key }
    }
}
