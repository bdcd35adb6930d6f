//! A store tried out: an object is written, read back and removed, by the ways that publications take.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{ObjectKey, Objects, Problem, Whole};
use crate::ids::DownloadId;

impl Objects {
    /// Whether objects can be written, read and removed. Leaves nothing behind, and is safe beside whoever uses the store.
    pub async fn try_out(&self) -> Result<(), Problem> {
        self.check().await?;
        // Nobody has published this, so that nothing is removed that somebody needs.
        let content = format!("Written by `sluice doctor`, to try the store out ({}). It may be removed.\n", DownloadId::fresh());
        let (digest, size_bytes) = (Sha256::digest(&content), content.len() as u64);
        let key = ObjectKey::file(&HEXLOWER.encode(&digest));
        let staged = self.staging().stage()?;
        std::fs::write(staged.path(), &content)?;
        match self {
            Objects::Folder(folder) => folder.keep(staged, &key)?,
            Objects::S3(s3) => {
                let whole = Whole { path: staged.path().to_owned(), size_bytes, parts: vec![digest.into()] };
                s3.upload(&key, &whole, &|_| ()).await?;
            }
        }
        let read = self.read(&key, size_bytes).await;
        self.remove(&key).await?;
        match read? == content {
            true => Ok(()),
            false => Err(Problem::Spoilt("what was written is not what is read".into())),
        }
    }
}
