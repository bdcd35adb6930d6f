//! A slice of a file as a stream, in constant memory.
//!
//! The stream is pulled: a chunk is read on the blocking pool only when the connection has room for it, with one read ahead for who
//! has kept up for a while. A slow client therefore holds a small chunk and a file handle, a gone one nothing: when the connection is
//! dropped the stream is.
//! Nothing is hashed here; digests were taken when the file was published.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes in one read, at first and for clients that pause. The connection takes chunks until it holds 32 KiB.
const CHUNK_BYTES_MIN: u64 = 16 * 1024;
/// Bytes in one read for a client that keeps up. Large reads are what a fast link needs (deploy/bench/downloads.sh): a thread
/// is woken for each, and on a busy machine that costs more than the copying.
const CHUNK_BYTES_MAX: u64 = 1024 * 1024;
/// A chunk is this part of what the client took without a pause: more than the sockets' buffers take for it, which hold megabytes.
const CHUNK_SHARE: u64 = 128;
/// Who has taken so much without a pause has the next chunk read ahead: more than the sockets' buffers take for a client that stands still.
const AHEAD_FROM_BYTES: u64 = 16 * 1024 * 1024;
/// A client that asks for the next chunk later than this is one that pauses.
const PAUSE: Duration = Duration::from_millis(250);

/// An open stored file whose size has been checked.
#[derive(Debug)]
pub(super) struct StoredFile {
    file: File,
}

/// Opens the stored file at `path`. Errors when it is missing or has not the size it was published with: then nothing of it is sent.
pub(super) async fn open(path: PathBuf, size_bytes: u64) -> io::Result<StoredFile> {
    in_background(move || {
        let file = File::open(&path).map_err(|cause| io::Error::new(cause.kind(), format!("{}: {cause}", path.display())))?;
        let found = file.metadata()?.len();
        if found != size_bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} has {found} bytes, not {size_bytes}", path.display())));
        }
        Ok(StoredFile { file })
    })
    .await
}

/// `len` bytes from `start`. A read error, or an end that comes too early, ends the stream with an error before all bytes were sent,
/// so that the client sees a broken transfer and not a short file.
pub(super) fn slice(stored: StoredFile, start: u64, len: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let begin = Reading { file: stored.file, seek_to: Some(start), left: len, flowing: 0, handed_over: None };
    stream::try_unfold(Next::Idle(begin), |next| async {
        let (reading, waited) = match next {
            Next::Idle(reading) if reading.left == 0 => return Ok(None),
            Next::Idle(mut reading) => {
                if reading.handed_over.is_some_and(|at| at.elapsed() > PAUSE) {
                    reading.flowing = 0;
                }
                (spawn_blocking(|| reading.chunk()), Duration::ZERO)
            }
            Next::Ahead(reading, handed_over) => (reading, handed_over.elapsed()),
        };
        let (chunk, mut reading) = reading.await.map_err(io::Error::other)??;
        reading.flowing = flowing(reading.flowing, chunk.len() as u64, waited);
        reading.handed_over = Some(Instant::now());
        let next = match reading.left {
            0 => Next::Idle(reading),
            _ if reading.flowing < AHEAD_FROM_BYTES => Next::Idle(reading),
            _ => Next::Ahead(spawn_blocking(|| reading.chunk()), Instant::now()),
        };
        Ok(Some((chunk, next)))
    })
}

enum Next {
    Idle(Reading),
    /// A chunk being read, and when the one before it was handed over.
    Ahead(JoinHandle<io::Result<(Bytes, Reading)>>, Instant),
}

struct Reading {
    file: File,
    seek_to: Option<u64>,
    left: u64,
    /// Bytes taken since the last pause.
    flowing: u64,
    /// When the last chunk was given to the connection.
    handed_over: Option<Instant>,
}

impl Reading {
    fn chunk(mut self) -> io::Result<(Bytes, Self)> {
        if let Some(start) = self.seek_to.take() {
            self.file.seek(SeekFrom::Start(start))?;
        }
        let wanted = self.left.min(chunk_bytes(self.flowing));
        let mut chunk = Vec::with_capacity(usize::try_from(wanted).expect("a chunk fits in memory"));
        (&self.file).take(wanted).read_to_end(&mut chunk)?;
        if (chunk.len() as u64) < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= wanted;
        Ok((chunk.into(), self))
    }
}

/// What a client takes without a pause: `taken` more than `before`, unless it let us wait.
fn flowing(before: u64, taken: u64, waited: Duration) -> u64 {
    if waited > PAUSE { 0 } else { before + taken }
}

fn chunk_bytes(flowing: u64) -> u64 {
    (flowing / CHUNK_SHARE).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, TryStreamExt};

    use super::*;

    fn stored(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("written");
        file
    }

    async fn read(path: PathBuf, size: u64, start: u64, len: u64) -> io::Result<Vec<u8>> {
        let chunks: Vec<Bytes> = slice(open(path, size).await?, start, len).try_collect().await?;
        Ok(chunks.concat())
    }

    #[tokio::test]
    async fn a_slice_is_the_bytes_asked_for_across_chunks() {
        // Long enough for chunks to grow.
        let bytes: Vec<u8> = (0..CHUNK_BYTES_MIN * CHUNK_SHARE * 2 + 7).map(|place| (place % 251) as u8).collect();
        let (file, size) = (stored(&bytes), bytes.len() as u64);
        let chunk = CHUNK_BYTES_MIN;
        for (start, len) in [(0, size), (0, 0), (0, 1), (size - 1, 1), (chunk - 1, 2), (5, chunk), (3, chunk * 2), (1, size - 2)] {
            let slice = read(file.path().to_owned(), size, start, len).await.expect("readable");
            assert!(slice == bytes[start as usize..(start + len) as usize], "{start} + {len}");
        }
    }

    #[test]
    fn chunks_grow_for_who_keeps_up_and_shrink_for_who_pauses() {
        let (mut taken, mut reads) = (0, 0);
        while chunk_bytes(taken) < CHUNK_BYTES_MAX {
            taken = flowing(taken, chunk_bytes(taken), Duration::ZERO);
            reads += 1;
        }
        assert!(taken >= CHUNK_SHARE * CHUNK_BYTES_MAX && reads > 100, "{taken} bytes in {reads} reads before the largest");
        assert_eq!(chunk_bytes(flowing(taken, CHUNK_BYTES_MAX, PAUSE * 2)), CHUNK_BYTES_MIN);
    }

    #[tokio::test]
    async fn a_file_of_another_size_is_not_begun() {
        let file = stored(b"12345");
        assert!(read(file.path().to_owned(), 6, 0, 6).await.is_err());
        assert!(read("/nowhere/at/all".into(), 6, 0, 6).await.is_err());
    }

    #[tokio::test]
    async fn a_file_cut_while_it_is_sent_ends_in_an_error() {
        let size = CHUNK_BYTES_MIN * 4;
        let file = stored(&vec![1u8; usize::try_from(size).expect("small")]);
        let mut chunks = Box::pin(slice(open(file.path().to_owned(), size).await.expect("whole"), 0, size));
        assert!(chunks.next().await.expect("the first chunk").is_ok());
        std::fs::write(file.path(), b"").expect("cut");
        let rest: Vec<_> = chunks.collect().await;
        assert!(rest.last().expect("an end").is_err(), "a cut file must not look whole");
    }
}
