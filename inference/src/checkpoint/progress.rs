//! How many bytes a check or a conversion has to go through, and telling how many it has.

use std::io::{self, Write};

use super::files::Checkpoint;
use super::index::{Format, layout};

/// Is told how many more bytes were gone through, often and from several threads.
pub type Advance<'a> = &'a (dyn Fn(u64) + Sync);

/// For whoever does not ask.
pub(super) const UNWATCHED: Advance<'static> = &|_| {};

/// The bytes that [`super::verify`] goes through: every number once, and those in `.bin` files for their checksums before. Headers
/// are counted and not told, and numbers that two tensors share are told twice, so that it comes out a little less or more.
pub fn verify_bytes(checkpoint: &Checkpoint) -> u64 {
    passes(checkpoint, 1, 2)
}

/// The bytes that [`super::convert`] goes through: all for their checksums, all to write them. As exact as [`verify_bytes`].
pub fn convert_bytes(checkpoint: &Checkpoint) -> u64 {
    passes(checkpoint, 0, 2)
}

fn passes(checkpoint: &Checkpoint, over_safetensors: u64, over_torch: u64) -> u64 {
    let Ok(layout) = layout(checkpoint) else { return 0 };
    let sizes = layout.files.iter().filter_map(|file| Some(std::fs::metadata(checkpoint.path(file)?).ok()?.len()));
    let passes = match layout.format {
        Format::Safetensors => over_safetensors,
        Format::Torch | Format::Metaseq => over_torch,
    };
    sizes.sum::<u64>().saturating_mul(passes)
}

/// Counts what is written to it, and forgets it.
pub(super) struct Counted<'a>(pub(super) Advance<'a>);

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
