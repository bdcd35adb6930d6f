//! A slice of a file as the body of an answer, which the connection sends by itself.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use rustix::io::{ReadWriteFlags, preadv2};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Line;

/// What is sent in one go, with other connections' turns between.
const PIECE_BYTES: u64 = 1024 * 1024;
/// What is read from a disk at once into the page cache, for the pieces that come.
const AHEAD_BYTES: u64 = 8 * PIECE_BYTES;
/// One byte of so many tells whether a piece is in the page cache: the kernel reads files by more.
const PROBE_BYTES: u64 = 128 * 1024;

/// `len` bytes from `start` of `file`. To be sent without chunks (`no_chunking`), as they do not pass the server's encoder, which could count
/// them. `T` is told of bytes that have left for the socket. A file that ends too early, or cannot be read, ends the body with an error.
pub struct FileBody<T: FnMut(u64)> {
    line: Line,
    file: Arc<File>,
    at: u64,
    left: u64,
    stage: Stage,
    tell: T,
}

enum Stage {
    Between,
    /// The next piece comes from the disk, and no thread that answers others waits for it.
    Warming(JoinHandle<io::Result<()>>),
    OnTheWay,
}

impl<T: FnMut(u64)> FileBody<T> {
    /// The body, for the connection of this line.
    pub fn new(line: Line, file: File, start: u64, len: u64, tell: T) -> Self {
        Self { line, file: Arc::new(file), at: start, left: len, stage: Stage::Between, tell }
    }

    fn piece_bytes(&self) -> u64 {
        self.left.min(PIECE_BYTES)
    }

    fn lay(&mut self) {
        let length = self.piece_bytes();
        self.line.lay(self.file.clone(), self.at, usize::try_from(length).expect("a piece is short"));
        self.at += length;
        self.left -= length;
        self.stage = Stage::OnTheWay;
    }

    fn tell(&mut self) {
        let sent = self.line.take_sent();
        if sent > 0 {
            (self.tell)(sent);
        }
    }
}

impl<T: FnMut(u64) + Unpin> MessageBody for FileBody<T> {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let body = self.get_mut();
        loop {
            if body.line.is_over() {
                // The connection ends by itself.
                return Poll::Pending;
            }
            match body.stage {
                Stage::Between if body.left == 0 => return Poll::Ready(None),
                Stage::Between if is_cached(&body.file, body.at, body.piece_bytes()) => body.lay(),
                Stage::Between => {
                    let (file, at, length, left) = (body.file.clone(), body.at, body.piece_bytes(), body.left);
                    body.stage = Stage::Warming(spawn_blocking(move || warm(&file, at, length, left)));
                }
                Stage::Warming(ref mut reading) => {
                    ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other)??;
                    body.lay();
                }
                Stage::OnTheWay => {
                    body.tell();
                    if let Some(fault) = body.line.take_fault() {
                        return Poll::Ready(Some(Err(fault)));
                    }
                    if !body.line.is_clear() {
                        // The flush that follows this sends it, and wakes us.
                        return Poll::Pending;
                    }
                    body.stage = Stage::Between;
                }
            }
        }
    }
}

impl<T: FnMut(u64)> Drop for FileBody<T> {
    fn drop(&mut self) {
        self.line.clear();
        self.tell();
    }
}

/// Whether a piece can be sent without waiting for a disk, as far as its bytes tell that are asked. A file system that cannot say so has none.
fn is_cached(file: &File, at: u64, length: u64) -> bool {
    let last = at + length - 1;
    let probe = |place: u64| {
        let mut byte = [0];
        matches!(preadv2(file, &mut [IoSliceMut::new(&mut byte)], place, ReadWriteFlags::NOWAIT), Ok(1))
    };
    (at..last).step_by(PROBE_BYTES as usize).all(probe) && probe(last)
}

/// Brings a piece into the page cache, and has the kernel begin with what follows of the `left` bytes that are wanted.
fn warm(file: &File, at: u64, length: u64, left: u64) -> io::Result<()> {
    // Only a hint.
    let _ = fadvise(file, at, NonZeroU64::new(left.min(AHEAD_BYTES)), Advice::WillNeed);
    let mut bytes = vec![0; PROBE_BYTES as usize];
    let end = at + length;
    let mut at = at;
    while at < end {
        let wanted = usize::try_from((end - at).min(PROBE_BYTES)).map_err(io::Error::other)?;
        file.read_exact_at(&mut bytes[..wanted], at)?;
        at += wanted as u64;
    }
    Ok(())
}
