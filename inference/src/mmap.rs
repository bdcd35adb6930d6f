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
/// change under their name, and the engine copies what it keeps, so a mapping of one lives only as long as a load, check or conversion.
/// Files of the packed cache are mapped as long as a model is loaded: they lie in a folder of this user alone, are published whole by a
/// rename, and are deleted, which a mapping outlives, but never written again.
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
        Self::of(&file).map_err(|source| Error::io(path, source))
    }

    /// Maps an open file.
    pub(crate) fn of(file: &File) -> std::io::Result<Self> {
        // SAFETY: the mapping is private and read-only. The bytes are used as plain numbers and checked text, for which any
        // value is sound; that nobody shortens the file meanwhile is the caller's promise above.
        Ok(Self(Arc::new(unsafe { memmap2::Mmap::map(file) }?)))
    }

    /// Whether the system maps most of the bytes from `begin` on in huge pages, as it does with files that were written so on file systems
    /// that can, where it had such pages free. Found out by reading a byte here and there, and looking (proc(5), smaps).
    #[cfg(target_os = "linux")]
    pub(crate) fn has_huge_pages(&self, begin: usize) -> bool {
        let probes = ((self.0.len() - begin) / HUGE_PAGE_BYTES).min(HUGE_PAGE_PROBES);
        if probes == 0 || !(self.0.as_ptr() as usize + begin).is_multiple_of(HUGE_PAGE_BYTES) {
            return false;
        }
        let _ = self.0.advise(memmap2::Advice::HugePage);
        let step = ((self.0.len() - begin) / probes / HUGE_PAGE_BYTES).max(1) * HUGE_PAGE_BYTES;
        for probe in 0..probes {
            std::hint::black_box(self.0[begin + probe * step]);
        }
        let Ok(areas) = std::fs::read_to_string("/proc/self/smaps") else { return false };
        let address = format!("{:x}-", self.0.as_ptr() as usize);
        let mut lines = areas.lines().skip_while(|line| !line.starts_with(&address));
        let huge_kib = lines.find_map(|line| line.strip_prefix("FilePmdMapped:")?.trim().strip_suffix("kB")?.trim().parse::<usize>().ok());
        huge_kib.is_some_and(|huge_kib| huge_kib * 1024 >= probes * HUGE_PAGE_BYTES * 3 / 4)
    }

    /// Elsewhere nobody has looked.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn has_huge_pages(&self, _begin: usize) -> bool {
        false
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
/// So many places tell how a file is mapped.
const HUGE_PAGE_PROBES: usize = 32;

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

/// Bytes to compute from.
#[derive(Debug)]
pub(crate) enum Memory {
    /// Our own.
    Own(HugePages),
    /// A file's, from `begin` on.
    Mapped { map: Mapped, begin: usize },
}

impl Memory {
    /// Keeps it in memory, if the system allows that; memory of our own it keeps anyway.
    pub(crate) fn lock(&self) {
        match self {
            Memory::Own(_) => {}
            #[cfg(unix)]
            Memory::Mapped { map, .. } => drop(map.0.lock()),
            #[cfg(not(unix))]
            Memory::Mapped { .. } => {}
        }
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Memory::Own(memory) => memory,
            Memory::Mapped { map, begin } => &map[*begin..],
        }
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
