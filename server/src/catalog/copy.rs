//! A file's way into a folder of objects: one thread copies, another hashes what it reads back of the copy, so that both take no longer
//! than the slower of them, and the digests are those of what the store will hold. A copy that was interrupted is gone on with.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::integrity::{self, Digests};

/// What is copied, and looked at after an interruption, as one.
const PIECE_BYTES: u64 = 16 << 20;
/// After so many bytes the disk is waited for: then little is left to wait for at the end, while the hashing goes on.
const SYNC_EVERY_BYTES: u64 = 128 << 20;

/// What came of a copy.
pub(super) struct Copied {
    /// Of the copy, as it was read back.
    pub(super) digests: Digests,
    /// How many bytes were written; the others had been by an earlier attempt.
    pub(super) written_bytes: u64,
}

/// Copies `source`, of so many bytes, to `target`. What is there already and right is left. `go_on` is asked often; its error ends the copy.
pub(super) fn copy(source: &File, target: &Path, size_bytes: u64, go_on: &dyn Fn() -> io::Result<()>) -> io::Result<Copied> {
    let target = &File::options().read(true).write(true).create(true).truncate(false).open(target)?;
    let (tell, told) = channel();
    std::thread::scope(|threads| {
        // The sender goes with the thread: then the reader knows that no more comes.
        let writer = threads.spawn(move || write(source, target, size_bytes, &tell));
        let mut copy = Following { copy: target, told, ready: 0, at: 0 };
        let digests = integrity::digest(&mut copy, size_bytes, |_| go_on());
        drop(copy);
        // What the writer says is the cause of what the reader says.
        let written_bytes = writer.join().map_err(|_| io::Error::other("the thread that copies has panicked"))??;
        Ok(Copied { digests: digests?, written_bytes })
    })
}

/// Writes piece by piece, and tells how far it is. Ends early, without an error, when nobody listens any more.
fn write(source: &File, target: &File, size_bytes: u64, tell: &Sender<u64>) -> io::Result<u64> {
    let there = target.metadata()?.len();
    let (mut at, mut written_bytes, mut unsynced_bytes) = (0, 0, 0);
    while at < size_bytes {
        let length = PIECE_BYTES.min(size_bytes - at);
        if at + length > there || !is_same(source, target, at, length)? {
            copy_piece(source, target, at, length)?;
            written_bytes += length;
            unsynced_bytes += length;
        }
        at += length;
        if tell.send(at).is_err() {
            return Ok(written_bytes);
        }
        if unsynced_bytes >= SYNC_EVERY_BYTES {
            target.sync_data()?;
            unsynced_bytes = 0;
        }
    }
    target.set_len(size_bytes)?;
    Ok(written_bytes)
}

/// In the kernel where it can: the bytes do not pass through this process.
fn copy_piece(source: &File, target: &File, at: u64, length: u64) -> io::Result<()> {
    use io::Seek;
    let (mut from, mut to) = (source, target);
    from.seek(io::SeekFrom::Start(at))?;
    to.seek(io::SeekFrom::Start(at))?;
    match io::copy(&mut from.take(length), &mut to)? {
        copied if copied == length => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the file became shorter while it was read")),
    }
}

fn is_same(source: &File, target: &File, at: u64, length: u64) -> io::Result<bool> {
    let mut pieces = [vec![0; 1 << 20], vec![0; 1 << 20]];
    let mut done = 0;
    while done < length {
        let now = usize::try_from((length - done).min(1 << 20)).map_err(io::Error::other)?;
        let [from, to] = &mut pieces;
        source.read_exact_at(&mut from[..now], at + done)?;
        target.read_exact_at(&mut to[..now], at + done)?;
        if from[..now] != to[..now] {
            return Ok(false);
        }
        done += now as u64;
    }
    Ok(true)
}

/// Reads the copy as far as it is written, and waits there.
struct Following<'a> {
    copy: &'a File,
    told: Receiver<u64>,
    ready: u64,
    at: u64,
}

impl Read for Following<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.ready {
            match self.told.recv() {
                Ok(ready) => self.ready = ready,
                // The writer is done.
                Err(_) => return Ok(0),
            }
        }
        let room = usize::try_from(self.ready - self.at).unwrap_or(usize::MAX).min(out.len());
        let length = self.copy.read_at(&mut out[..room], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn long() -> Vec<u8> {
        (0..3 * PIECE_BYTES + 77).map(|n| (n.wrapping_mul(n) >> 9) as u8).collect()
    }

    fn copies(bytes: &[u8], there: &[u8]) -> io::Result<(Copied, Vec<u8>)> {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        std::fs::write(&source, bytes).unwrap();
        std::fs::write(&target, there).unwrap();
        let copied = copy(&File::open(&source)?, &target, bytes.len() as u64, &|| Ok(()))?;
        Ok((copied, std::fs::read(&target).unwrap()))
    }

    #[test]
    fn the_copy_is_the_file_and_the_digests_are_its_own() {
        for bytes in [&long()[..], b"short", b""] {
            let (copied, target) = copies(bytes, b"").unwrap();
            assert!(target == bytes && copied.written_bytes == bytes.len() as u64);
            assert_eq!(copied.digests.sha256, integrity::sha256_hex(bytes));
        }
    }

    #[test]
    fn what_an_earlier_attempt_left_is_used_where_it_is_right() {
        let bytes = long();
        let piece = PIECE_BYTES as usize;
        let half = &bytes[..2 * piece + 5];
        let (copied, target) = copies(&bytes, half).unwrap();
        assert!(target == bytes && copied.written_bytes == PIECE_BYTES + 77);
        assert_eq!(copied.digests.sha256, integrity::sha256_hex(&bytes));

        let mut wrong = bytes.clone();
        wrong[piece + 1] ^= 1;
        wrong.extend_from_slice(b"and more than there should be");
        let (copied, target) = copies(&bytes, &wrong).unwrap();
        assert!(target == bytes && copied.written_bytes == PIECE_BYTES, "one piece was wrong");
        assert_eq!(copied.digests.sha256, integrity::sha256_hex(&bytes));
    }

    #[test]
    fn a_file_that_shrinks_is_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::write(&source, b"short").unwrap();
        let refused = copy(&File::open(&source).unwrap(), &dir.path().join("target"), 50_000_000, &|| Ok(())).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
}
