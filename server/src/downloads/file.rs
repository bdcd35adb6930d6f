//! A slice of a stored file as a stream, in constant memory.
//!
//! The stream is pulled: a chunk is read on the blocking pool only when the connection has room for it, with one read ahead.
//! A slow client therefore holds two chunks and a file handle, a gone one nothing: when the connection is dropped the stream is.
//! Nothing is hashed here; digests were taken when the file was published.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes in one read. Measured: less costs throughput on a fast link, more only memory.
const CHUNK_BYTES: u64 = 256 * 1024;

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
pub(super) fn slice(stored: StoredFile, start: u64, len: u64) -> impl Stream<Item = io::Result<Bytes>> {
    let begin = Reading { file: stored.file, seek_to: Some(start), left: len };
    stream::try_unfold(Next::Idle(begin), |next| async {
        let reading = match next {
            Next::Idle(reading) if reading.left == 0 => return Ok(None),
            Next::Idle(reading) => spawn_blocking(|| reading.chunk()),
            Next::Ahead(reading) => reading,
        };
        let (chunk, reading) = reading.await.map_err(io::Error::other)??;
        let next = if reading.left == 0 { Next::Idle(reading) } else { Next::Ahead(spawn_blocking(|| reading.chunk())) };
        Ok(Some((chunk, next)))
    })
}

enum Next {
    Idle(Reading),
    Ahead(JoinHandle<io::Result<(Bytes, Reading)>>),
}

struct Reading {
    file: File,
    seek_to: Option<u64>,
    left: u64,
}

impl Reading {
    fn chunk(mut self) -> io::Result<(Bytes, Self)> {
        if let Some(start) = self.seek_to.take() {
            self.file.seek(SeekFrom::Start(start))?;
        }
        let wanted = self.left.min(CHUNK_BYTES);
        let mut chunk = Vec::with_capacity(usize::try_from(wanted).expect("a chunk fits in memory"));
        (&self.file).take(wanted).read_to_end(&mut chunk)?;
        if (chunk.len() as u64) < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= wanted;
        Ok((chunk.into(), self))
    }
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
        let bytes: Vec<u8> = (0..CHUNK_BYTES * 2 + 7).map(|place| (place % 251) as u8).collect();
        let (file, size) = (stored(&bytes), bytes.len() as u64);
        for (start, len) in [(0, size), (0, 0), (0, 1), (size - 1, 1), (CHUNK_BYTES - 1, 2), (5, CHUNK_BYTES), (3, CHUNK_BYTES * 2)] {
            let slice = read(file.path().to_owned(), size, start, len).await.expect("readable");
            assert!(slice == bytes[start as usize..(start + len) as usize], "{start} + {len}");
        }
    }

    #[tokio::test]
    async fn a_file_of_another_size_is_not_begun() {
        let file = stored(b"12345");
        assert!(read(file.path().to_owned(), 6, 0, 6).await.is_err());
        assert!(read("/nowhere/at/all".into(), 6, 0, 6).await.is_err());
    }

    #[tokio::test]
    async fn a_file_cut_while_it_is_sent_ends_in_an_error() {
        let bytes = vec![1u8; usize::try_from(CHUNK_BYTES * 4).expect("small")];
        let file = stored(&bytes);
        let mut chunks = Box::pin(slice(open(file.path().to_owned(), CHUNK_BYTES * 4).await.expect("whole"), 0, CHUNK_BYTES * 4));
        assert!(chunks.next().await.expect("the first chunk").is_ok());
        std::fs::write(file.path(), b"").expect("cut");
        let rest: Vec<_> = chunks.collect().await;
        assert!(rest.last().expect("an end").is_err(), "a cut file must not look whole");
    }
}
