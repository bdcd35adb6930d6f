//! Files on their way while the check still reads them: hashed, and copied beside the store of a folder, one after the other on a thread
//! of their own. Nothing of that is in the store before the check has passed, and all of it goes when it does not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::keep::{self, Prepared};
use super::survey::Found;
use crate::storage::Staging;

/// What has been begun.
pub(super) struct Ahead {
    results: UnboundedReceiver<(String, io::Result<Prepared>)>,
    /// Files that were prepared before anybody asked for them.
    waiting: HashMap<String, io::Result<Prepared>>,
    found: BTreeMap<String, Found>,
    stop: Arc<AtomicBool>,
}

impl Ahead {
    /// Begins with these files, in their order. `copies`: where to copy them, for a folder of objects; of files whose size is among
    /// `known_sizes` the store probably has the content, so that they are hashed alone.
    pub(super) fn begin(found: BTreeMap<String, Found>, copies: Option<Staging>, known_sizes: HashSet<u64>) -> Self {
        let (tell, results) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (files, stopped) = (found.clone(), stop.clone());
        tokio::task::spawn_blocking(move || {
            for (path, file) in files {
                let staging = copies.as_ref().filter(|_| !known_sizes.contains(&file.size_bytes));
                let prepared = match staging {
                    Some(staging) => keep::copy_aside(staging, &path, &file, &stopped),
                    None => keep::hash(&path, &file, &stopped),
                };
                if stopped.load(Ordering::Relaxed) || tell.send((path, prepared)).is_err() {
                    return;
                }
            }
        });
        Self { results, waiting: HashMap::new(), found, stop }
    }

    /// What was prepared of the file at `path`, once it is; nothing if this is not the file that was begun with.
    pub(super) async fn take(&mut self, path: &str, file: &Found) -> Option<io::Result<Prepared>> {
        if self.found.get(path) != Some(file) {
            return None;
        }
        loop {
            if let Some(prepared) = self.waiting.remove(path) {
                return Some(prepared);
            }
            let (other, prepared) = self.results.recv().await?;
            self.waiting.insert(other, prepared);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
