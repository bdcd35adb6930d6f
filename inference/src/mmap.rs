//! The one place where a file is mapped.
#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Deref;
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
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
