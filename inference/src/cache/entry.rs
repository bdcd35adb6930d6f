//! One file of the cache: found, proven whole, and made memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::PackedCache;
use super::folder::is_ours_alone;
use super::header::{Header, SECTION_BYTES};
use super::writing::Writing;
use crate::device::{Chunks, Parts, Threads};
use crate::mmap::{HugePages, Mapped, Memory};

/// The place for the bytes of one key.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) cache: PackedCache,
    pub(super) key: blake3::Hash,
}

impl Entry {
    /// The bytes kept here, of which there must be `length`, and the note that goes with them; every section has been compared with its
    /// checksum, in the memory it will be read from. `None` if there are none, or if others could have put them there; what is damaged is
    /// deleted.
    pub(crate) fn find(&self, length: usize, threads: &Threads) -> Option<(Memory, blake3::Hash)> {
        // Whoever keeps the weights that are then made is told why.
        is_ours_alone(&self.cache.folder).ok()?;
        let path = self.path();
        let file = File::open(&path).ok()?;
        match self.read(&file, length, threads) {
            Ok(found) => {
                // The time of the last use, by which the oldest are told.
                let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
                let _ = rustix::fs::futimens(&file, &rustix::fs::Timestamps { last_access: now, last_modification: now });
                Some(found)
            }
            Err(problem) => {
                tracing::warn!(file = %path.display(), %problem, "packed weights cannot be used and are made again");
                if problem.kind() == io::ErrorKind::InvalidData {
                    let _ = std::fs::remove_file(&path);
                }
                None
            }
        }
    }

    /// Begins to write the bytes here, beside whatever else is done with them.
    pub(crate) fn keep(self, bytes: Arc<Memory>, note: blake3::Hash) -> Option<Writing> {
        Writing::begin(self, bytes, note)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.cache.folder.join(format!("{}.packed", self.key.to_hex()))
    }

    /// `InvalidData` if it is not, whole and unchanged, what was written.
    fn read(&self, file: &File, length: usize, threads: &Threads) -> io::Result<(Memory, blake3::Hash)> {
        let damaged = |problem| io::Error::new(io::ErrorKind::InvalidData, problem);
        let begin = Header::end(length);
        let mut front = vec![0; begin];
        if file.metadata()?.len() != (begin + length) as u64 {
            return Err(damaged("it has another size than it should"));
        }
        file.read_exact_at(&mut front, 0)?;
        let header = Header::parse(&front, self.key, length).ok_or_else(|| damaged("its header is damaged"))?;
        let memory = match mapped(file, begin)? {
            Some(memory) => {
                let parts = Parts::new(header.sections.len(), threads.count());
                each(threads, |thread| match parts.next(thread) {
                    None => Ok(false),
                    Some(number) => is_whole(&header, number, section(&memory, number)),
                })?;
                // So that it stays what was compared; where that is not allowed the system may read it from the disk again.
                memory.lock();
                memory
            }
            None => {
                let mut memory = HugePages::zeroed(length).map_err(io::Error::other)?;
                let chunks = Chunks::new(&mut memory, SECTION_BYTES, threads.count());
                each(threads, |thread| match chunks.next(thread) {
                    None => Ok(false),
                    Some((number, chunk)) => {
                        file.read_exact_at(chunk, (begin + number * SECTION_BYTES) as u64)?;
                        is_whole(&header, number, chunk)
                    }
                })?;
                Memory::Own(memory)
            }
        };
        Ok((memory, header.note))
    }
}

/// The file's bytes from `begin` on, if the system maps them in huge pages: then they are read as fast as any memory and need no copy.
/// In small pages (an older kernel, another file system) computing from them is up to a third slower, and a copy is better.
fn mapped(file: &File, begin: usize) -> io::Result<Option<Memory>> {
    let map = Mapped::of(file)?;
    Ok(map.has_huge_pages(begin).then_some(Memory::Mapped { map, begin }))
}

fn section(memory: &[u8], number: usize) -> &[u8] {
    let begin = number * SECTION_BYTES;
    &memory[begin..(begin + SECTION_BYTES).min(memory.len())]
}

fn is_whole(header: &Header, number: usize, section: &[u8]) -> io::Result<bool> {
    match header.sections.get(number) {
        Some(checksum) if blake3::hash(section) == *checksum => Ok(true),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("section {number} is damaged"))),
    }
}

/// Does `one`, which gets the thread's number, on all threads until it gives `false` or fails anywhere; gives the first failure.
fn each(threads: &Threads, one: impl Fn(usize) -> io::Result<bool> + Sync) -> io::Result<()> {
    let failed = AtomicBool::new(false);
    let failure = std::sync::Mutex::new(None);
    threads.run(&|thread| {
        while !failed.load(Ordering::Relaxed) {
            match one(thread) {
                Ok(true) => {}
                Ok(false) => return,
                Err(problem) => {
                    failed.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(problem);
                }
            }
        }
    });
    failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}
