//! Writing a file of the cache, on a thread of its own: the model answers meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::entry::Entry;
use super::folder::Staged;
use super::header::{Header, SECTION_BYTES};
use crate::mmap::Memory;

/// A file being written. Dropping it waits for the end, so that what a short program has made is there for the next one.
#[derive(Debug)]
pub(crate) struct Writing(Option<JoinHandle<()>>);

impl Writing {
    pub(super) fn begin(entry: Entry, bytes: Arc<Memory>, note: blake3::Hash) -> Option<Self> {
        let write = move || match write(&entry, &bytes, note) {
            Ok(()) => tracing::info!(file = %entry.path().display(), bytes = bytes.len(), "packed weights kept for the next load"),
            Err(problem) => {
                tracing::warn!(folder = %entry.cache.folder.display(), %problem, "packed weights are not kept; the next load makes them again");
            }
        };
        let thread = std::thread::Builder::new().name("sluice-cache".to_owned()).spawn(write);
        // Without a thread nothing is kept.
        thread.ok().map(|thread| Self(Some(thread)))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // Its failures are in the log already.
            let _ = thread.join();
        }
    }
}

/// Section by section; the header last, then all of it to the disk, and only then under its name.
fn write(entry: &Entry, bytes: &[u8], note: blake3::Hash) -> io::Result<()> {
    let begin = Header::end(bytes.len());
    let Some(staged) = Staged::new(&entry.cache, &entry.path(), (begin + bytes.len()) as u64)? else { return Ok(()) };
    let mut header = Header { key: entry.key, note, length: bytes.len(), sections: Vec::new() };
    for (number, section) in bytes.chunks(SECTION_BYTES).enumerate() {
        header.sections.push(blake3::hash(section));
        // Whole huge pages at once, which the system then keeps as such.
        staged.file.write_all_at(section, (begin + number * SECTION_BYTES) as u64)?;
    }
    staged.file.write_all_at(&header.to_bytes(), 0)?;
    staged.file.sync_all()?;
    staged.publish()?;
    File::open(&entry.cache.folder)?.sync_all()
}
