//! Proving bytes: as they come, and those that lie on the disk, chunk by chunk, on every core.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};

use super::folder::only_files;
use super::meter::Meter;
use super::release::{Digest, ReleaseFile};

/// Read at a time: small enough to stay in the processor's cache between reading and hashing.
const READ_BYTES: usize = 256 << 10;

/// What bytes have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Of this SHA-256.
    Sha256(Digest),
    /// Of this BLAKE3.
    Blake3(Digest),
}

/// Bytes as they come, on their way to a proof.
#[derive(Debug)]
pub(super) struct Prover {
    hasher: Hasher,
    is: Digest,
}

#[derive(Debug)]
enum Hasher {
    Sha256(Sha256),
    Blake3(Box<blake3::Hasher>),
}

impl Prover {
    /// Nothing has come yet of what should prove to be this.
    pub(super) fn new(proof: Proof) -> Self {
        match proof {
            Proof::Sha256(is) => Self { hasher: Hasher::Sha256(Sha256::new()), is },
            Proof::Blake3(is) => Self { hasher: Hasher::Blake3(Box::default()), is },
        }
    }

    /// The next piece.
    pub(super) fn update(&mut self, piece: &[u8]) {
        match &mut self.hasher {
            Hasher::Sha256(hasher) => hasher.update(piece),
            Hasher::Blake3(hasher) => _ = hasher.update(piece),
        }
    }

    /// Whether what has come is all of it, and right.
    pub(super) fn is_right(&self) -> bool {
        let found = match &self.hasher {
            Hasher::Sha256(hasher) => hasher.clone().finalize().into(),
            Hasher::Blake3(hasher) => hasher.finalize().into(),
        };
        Digest(found) == self.is
    }
}

/// A part of a file, and what it should be.
pub(super) struct Part {
    start: u64,
    length: u64,
    proof: Proof,
}

impl Part {
    /// So many bytes from `start`.
    pub(super) fn new(start: u64, length: u64, sha256: Digest) -> Self {
        Self { start, length, proof: Proof::Sha256(sha256) }
    }

    /// This chunk of the file.
    pub(super) fn of(file: &ReleaseFile, chunk: usize) -> Self {
        let (start, length) = file.range(chunk);
        Self { start, length, proof: file.proof(chunk) }
    }
}

/// A file to be read: where it lies, and what it should be.
pub(super) struct Suspect {
    at: PathBuf,
    parts: Vec<Part>,
}

impl Suspect {
    /// A file that should consist of these parts.
    pub(super) fn new(at: PathBuf, parts: Vec<Part>) -> Self {
        Self { at, parts }
    }

    /// What should be this file of a release.
    pub(super) fn of(at: PathBuf, file: &ReleaseFile) -> Self {
        Self { at, parts: (0..file.chunks.len()).map(|chunk| Part::of(file, chunk)).collect() }
    }
}

/// For every suspect, which of its parts are right. What cannot be read is not right. Right bytes are counted as found.
pub(super) fn check(suspects: &[Suspect], meter: &Meter) -> Vec<Vec<bool>> {
    let tasks: Vec<(usize, usize)> =
        suspects.iter().enumerate().flat_map(|(at, suspect)| (0..suspect.parts.len()).map(move |part| (at, part))).collect();
    let right: Vec<AtomicBool> = tasks.iter().map(|_| AtomicBool::new(false)).collect();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(tasks.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut open: Option<(usize, File)> = None;
                loop {
                    let task = next.fetch_add(1, Ordering::Relaxed);
                    let Some((at, part)) = tasks.get(task) else { break };
                    if open.as_ref().is_none_or(|(which, _)| which != at) {
                        open = open_file(&suspects[*at].at).ok().map(|file| (*at, file));
                    }
                    let Some((_, file)) = &open else { continue };
                    let part = &suspects[*at].parts[*part];
                    if is_right(file, part) {
                        right[task].store(true, Ordering::Relaxed);
                        meter.found(part.length);
                    }
                }
            });
        }
    });
    let mut found = suspects.iter().map(|suspect| Vec::with_capacity(suspect.parts.len())).collect::<Vec<_>>();
    for ((at, _), right) in tasks.iter().zip(right) {
        found[*at].push(right.into_inner());
    }
    found
}

/// Opens what was a file when it was looked at, and may be a link or a pipe by now.
fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(only_files()).open(path)
}

/// Whether this part of an open file is what it should be.
pub(super) fn is_right(file: &File, part: &Part) -> bool {
    let mut buffer = vec![0; READ_BYTES];
    let mut prover = Prover::new(part.proof);
    let mut done = 0;
    while done < part.length {
        let wanted = READ_BYTES.min(usize::try_from(part.length - done).unwrap_or(READ_BYTES));
        if file.read_exact_at(&mut buffer[..wanted], part.start + done).is_err() {
            return false;
        }
        prover.update(&buffer[..wanted]);
        done += wanted as u64;
    }
    prover.is_right()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_proven_by_either_digest_and_by_no_other() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let proofs = |bytes: &[u8]| [Proof::Sha256(Digest::of(bytes)), Proof::Blake3(Digest(blake3::hash(bytes).into()))];
        for (proof, other) in proofs(&bytes).into_iter().zip(proofs(b"other")) {
            let (mut prover, mut wrong) = (Prover::new(proof), Prover::new(other));
            for piece in bytes.chunks(100_001) {
                assert!(!prover.is_right(), "some of it is missing");
                prover.update(piece);
                wrong.update(piece);
            }
            assert!(prover.is_right() && !wrong.is_right());
            prover.update(b"x");
            assert!(!prover.is_right());
        }
    }
}
