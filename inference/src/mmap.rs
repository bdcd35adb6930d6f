//! The one place where memory is mapped: files to read, and huge pages to compute from.
#![allow(unsafe_code)]

use std::fs::File;
use std::ops::{Deref, DerefMut, Range};
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;

/// A whole file as read-only bytes, shared.
///
/// Mapped files must not be shortened while they are read: the system answers such a read with SIGBUS. Published files never
/// change under their name, and the engine copies what it keeps, so a mapping lives only as long as a load, check or conversion.
#[derive(Debug, Clone)]
pub(crate) struct Mapped(Arc<memmap2::Mmap>);

impl Mapped {
    /// Maps the file at `path`. `Io` if it cannot be opened or is not a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        let about = file.metadata().map_err(|source| Error::io(path, source))?;
        if !about.is_file() {
            return Err(Error::io(path, std::io::Error::other("not a regular file")));
        }
        // SAFETY: the mapping is private and read-only. The bytes are used as plain numbers and checked text, for which any
        // value is sound; that nobody shortens the file meanwhile is the caller's promise above.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|source| Error::io(path, source))?;
        Ok(Self(Arc::new(map)))
    }

    /// Lets go of the memory these bytes were read into; whoever reads them again reads them from the file.
    pub(crate) fn release(&self, range: Range<usize>) {
        // SAFETY: the mapping is of a file, read-only and never written, so the pages come back with the same bytes.
        // Advice that is not taken costs memory, nothing else.
        #[cfg(unix)]
        let _ = unsafe { self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// The size of a huge page on x86-64 and most others.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Memory of our own, zeroed, in huge pages where the system has them: reading it in order is then a quarter faster.
/// It begins on a huge page.
#[derive(Debug)]
pub(crate) struct HugePages {
    map: memmap2::MmapMut,
    first: usize,
    length: usize,
}

impl HugePages {
    /// `length` bytes. `Internal` if the system has not that much.
    pub(crate) fn zeroed(length: usize) -> Result<Self, Error> {
        let problem = |source| Error::Internal { problem: format!("cannot have {length} bytes of memory for the weights: {source}") };
        let map = memmap2::MmapMut::map_anon(length + HUGE_PAGE_BYTES).map_err(problem)?;
        // Without huge pages everything works, only slower.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let first = map.as_ptr().align_offset(HUGE_PAGE_BYTES);
        Ok(Self { map, first, length })
    }
}

impl Deref for HugePages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[self.first..][..self.length]
    }
}

impl DerefMut for HugePages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map[self.first..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    #[test]
    fn huge_pages_begin_aligned_and_zeroed() {
        let mut memory = HugePages::zeroed(3 << 20).unwrap();
        assert_eq!((memory.len(), memory.as_ptr().align_offset(HUGE_PAGE_BYTES)), (3 << 20, 0));
        assert!(memory.iter().all(|byte| *byte == 0));
        memory[(3 << 20) - 1] = 1;
    }

    #[test]
    fn bytes_let_go_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let map = Mapped::open(&path).unwrap();
        assert_eq!(map[50_000], 7);
        map.release(5_000..90_000);
        assert!(map.iter().all(|byte| *byte == 7));
    }
}
