//! The store, whichever it is.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt};

use super::{Folder, ObjectKey, Problem, S3, Shown, Staging, read};
use crate::clock::Timestamp;
use crate::config::{Config, Delivery, ObjectsConfig};

/// Copies of a bucket's objects for the engine take at most so many times its memory: weights published in 32 bits are held in 4.
const COPIES_OF_MEMORY: u64 = 8;

/// Bytes of an object as they come.
pub type Bytestream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A store of objects. What one can do the other can, and one suite of tests runs against both.
#[derive(Debug, Clone)]
pub enum Objects {
    /// A folder on this machine.
    Folder(Folder),
    /// A bucket.
    S3(S3),
}

impl Objects {
    /// The store of these settings. A folder is made if need be; a bucket is not asked for yet: see [`Objects::check`].
    pub fn open(config: &Config) -> io::Result<Self> {
        let copies_bytes_max = config.engine.memory_bytes.saturating_mul(COPIES_OF_MEMORY);
        match &config.objects {
            ObjectsConfig::Folder(root) => Ok(Objects::Folder(Folder::open(root)?)),
            ObjectsConfig::S3(s3) => {
                Ok(Objects::S3(S3::open(s3, &config.data_dir, copies_bytes_max)?.signing(config.delivery == Delivery::Redirect)))
            }
        }
    }

    /// Where things lie on their way in.
    pub fn staging(&self) -> &Staging {
        match self {
            Objects::Folder(folder) => folder.staging(),
            Objects::S3(s3) => s3.staging(),
        }
    }

    /// Whether the store does its work now.
    pub async fn check(&self) -> Result<(), Problem> {
        self.staging().writable()?;
        match self {
            Objects::Folder(_) => Ok(()),
            Objects::S3(s3) => s3.check().await,
        }
    }

    /// The object's size in bytes, or nothing if it is not here.
    pub async fn size(&self, key: &ObjectKey) -> Result<Option<u64>, Problem> {
        match self {
            Objects::Folder(folder) => Ok(folder.size(key)?),
            Objects::S3(s3) => s3.size(key).await,
        }
    }

    /// `len` bytes from `start` of the object, which has `size_bytes`, in constant memory. Nothing of it comes if it has not that
    /// size; a stream that breaks ends with an error.
    pub async fn slice(&self, key: &ObjectKey, size_bytes: u64, start: u64, len: u64) -> Result<Bytestream, Problem> {
        match self {
            Objects::Folder(folder) => Ok(Box::pin(read::slice(folder.find(key, size_bytes).await?, start, len))),
            Objects::S3(s3) => s3.slice(key, size_bytes, start, len).await,
        }
    }

    /// The object as an open file, if it has this size; nothing where the store is a bucket.
    pub async fn open_file(&self, key: &ObjectKey, size_bytes: u64) -> Result<Option<File>, Problem> {
        match self {
            Objects::Folder(folder) => folder.find(key, size_bytes).await.map(Some),
            Objects::S3(_) => Ok(None),
        }
    }

    /// All of a small object.
    pub async fn read(&self, key: &ObjectKey, size_bytes: u64) -> Result<Bytes, Problem> {
        let pieces = self.slice(key, size_bytes, 0, size_bytes).await?;
        let whole = pieces.try_fold(BytesMut::new(), |mut whole, piece| async move {
            whole.extend_from_slice(&piece);
            Ok(whole)
        });
        Ok(whole.await?.freeze())
    }

    /// Where the object lies on this machine's disk, for the engine: of a bucket, a copy whose digest was compared.
    pub async fn on_disk(&self, key: &ObjectKey, size_bytes: u64) -> Result<PathBuf, Problem> {
        match self {
            Objects::Folder(folder) => Ok(folder.path(key)),
            Objects::S3(s3) => s3.on_disk(key, size_bytes).await,
        }
    }

    /// Whether the object could be sent, as far as that costs nothing: what is told of it before it is asked for.
    pub async fn confirm(&self, key: &ObjectKey, size_bytes: u64) -> Result<(), Problem> {
        match self {
            Objects::Folder(folder) => folder.find(key, size_bytes).await.map(|_| ()),
            Objects::S3(_) => Ok(()),
        }
    }

    /// An address of the store at which the object, or this range of it, can be read for `life`; nothing where only we can read it.
    pub async fn signed_get(&self, key: &ObjectKey, shown: &Shown, range: Option<&str>, life: Duration) -> Result<Option<String>, Problem> {
        match self {
            Objects::Folder(_) => Ok(None),
            Objects::S3(s3) => s3.signed_get(key, shown, range, life).await.map(Some),
        }
    }

    /// Removes the object; that it is not there is no error.
    pub async fn remove(&self, key: &ObjectKey) -> Result<(), Problem> {
        match self {
            Objects::Folder(folder) => Ok(folder.remove(key)?),
            Objects::S3(s3) => s3.remove(key).await,
        }
    }

    /// Every object and its size.
    pub async fn list(&self) -> Result<Vec<(ObjectKey, u64)>, Problem> {
        match self {
            Objects::Folder(folder) => {
                let folder = folder.clone();
                Ok(tokio::task::spawn_blocking(move || folder.list()).await.map_err(io::Error::other)??)
            }
            Objects::S3(s3) => s3.list().await,
        }
    }

    /// Removes what interrupted writers left behind and nobody went on with; returns how many things.
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, Problem> {
        let staging = self.staging().clone();
        let swept = tokio::task::spawn_blocking(move || staging.sweep()).await.map_err(io::Error::other)??;
        match self {
            Objects::Folder(_) => Ok(swept),
            Objects::S3(s3) => Ok(swept + s3.sweep(now).await?),
        }
    }
}
