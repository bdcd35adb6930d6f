//! A slice of a file as a stream, in constant memory, for who looks at what is stored. What is sent to a client does not pass here
//! (`http/wire`).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::task::spawn_blocking;

/// Bytes in one read: a thread is woken for each, which costs little beside so many.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// Opens the stored file at `path`. Errors when it is missing or has not the size it was published with: then nothing of it is sent.
pub(super) async fn open(path: PathBuf, size_bytes: u64) -> io::Result<File> {
    in_background(move || {
        let file = File::open(&path).map_err(|cause| io::Error::new(cause.kind(), format!("{}: {cause}", path.display())))?;
        let found = file.metadata()?.len();
        if found != size_bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} has {found} bytes, not {size_bytes}", path.display())));
        }
        Ok(file)
    })
    .await
}

/// `len` bytes from `start`, read when they are asked for. A read error, or an end that comes too early, ends the stream with an error.
pub(super) fn slice(file: File, start: u64, len: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let begin = Reading { file, seek_to: Some(start), left: len };
    stream::try_unfold(begin, |reading| async {
        if reading.left == 0 { Ok(None) } else { in_background(|| reading.chunk()).await.map(Some) }
    })
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
        let bytes: Vec<u8> = (0..CHUNK_BYTES * 3 + 7).map(|place| (place % 251) as u8).collect();
        let (file, size) = (stored(&bytes), bytes.len() as u64);
        let chunk = CHUNK_BYTES;
        for (start, len) in [(0, size), (0, 0), (0, 1), (size - 1, 1), (chunk - 1, 2), (5, chunk), (3, chunk * 2), (1, size - 2)] {
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
    async fn a_file_cut_while_it_is_read_ends_in_an_error() {
        let size = CHUNK_BYTES * 4;
        let file = stored(&vec![1u8; usize::try_from(size).expect("small")]);
        let mut chunks = Box::pin(slice(open(file.path().to_owned(), size).await.expect("whole"), 0, size));
        assert!(chunks.next().await.expect("the first chunk").is_ok());
        std::fs::write(file.path(), b"").expect("cut");
        let rest: Vec<_> = chunks.collect().await;
        assert!(rest.last().expect("an end").is_err(), "a cut file must not look whole");
    }
}
