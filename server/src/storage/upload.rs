//! Bringing a file into a bucket: in parts, several at once, each with its SHA-256, which the store compares with what arrived.
//! An upload that was interrupted is gone on with at the part where it stood; what the store then holds is verified as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::s3::unsigned;
use super::{ObjectKey, Problem, S3};
use crate::clock::Timestamp;

/// How long a part is (the last may be shorter): 16 MiB, as the chunks of a manifest.
pub const PART_BYTES: u64 = 16 << 20;
/// How many parts are on their way at once: so much memory an upload takes, 64 MiB.
const PARTS_AT_ONCE: usize = 4;
/// How long an interrupted upload waits for somebody to go on with it: 7 days.
const UNFINISHED_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How often an upload is begun again, when the store holds something else than was sent or another publisher finished it first.
const ROUNDS: usize = 3;

/// A file to be uploaded, and what it consists of.
#[derive(Debug, Clone)]
pub struct Whole {
    /// Where it lies.
    pub path: PathBuf,
    /// How long it is.
    pub size_bytes: u64,
    /// The SHA-256 of each [`PART_BYTES`] of it, in order; none of an empty file.
    pub parts: Vec<[u8; 32]>,
}

/// A part as the store has it.
struct Stored {
    etag: String,
    size_bytes: u64,
    sha256: Option<String>,
}

impl S3 {
    /// Makes the file the object `key`, and returns how many bytes had to be sent. `progress` hears of bytes that are safe.
    /// `Spoilt` if the file is not any more what `whole` says.
    pub async fn upload(&self, key: &ObjectKey, whole: &Whole, progress: &(dyn Fn(u64) + Sync)) -> Result<u64, Problem> {
        if whole.parts.len() <= 1 {
            return self.put(key, whole, progress).await;
        }
        // What others need of it may be read while it is written anew; nobody needs what was not there before.
        let was_there = self.size(key).await?.is_some();
        let mut told = Ok(0);
        for _ in 0..ROUNDS {
            told = self.in_parts(key, whole, progress).await;
            match told {
                // The upload was finished, or given up, by somebody else.
                Err(Problem::Missing(_)) if self.holds(key, whole).await? => return Ok(0),
                Err(Problem::Missing(_)) => {}
                Ok(_) if self.holds(key, whole).await? => return told,
                // The parts of an earlier upload were not what they seemed to be.
                Ok(_) => {
                    if !was_there {
                        self.remove(key).await?;
                    }
                    told = Err(Problem::Spoilt(format!("{}: the store does not hold what was sent", key.path())));
                }
                Err(_) => return told,
            }
        }
        told
    }

    /// Gives up uploads that nobody has gone on with for a week; returns how many.
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, Problem> {
        let mut swept = 0;
        for (key, id, begun) in self.unfinished(self.prefix()).await? {
            if now - begun > UNFINISHED_LIFE {
                let given_up = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(id).send().await;
                match given_up.map_err(|error| self.problem(&error)) {
                    Ok(_) | Err(Problem::Missing(_)) => swept += 1,
                    Err(problem) => return Err(problem),
                }
            }
        }
        Ok(swept)
    }

    /// How many bytes are in uploads that are not finished.
    pub async fn uploading_bytes(&self) -> Result<u64, Problem> {
        let mut bytes = 0;
        for (key, id, _) in self.unfinished(self.prefix()).await? {
            match self.stored_parts(&key, &id).await {
                Ok(parts) => bytes += parts.values().map(|part| part.size_bytes).sum::<u64>(),
                Err(Problem::Missing(_)) => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok(bytes)
    }

    async fn put(&self, key: &ObjectKey, whole: &Whole, progress: &(dyn Fn(u64) + Sync)) -> Result<u64, Problem> {
        let bytes = read_part(&whole.path, 0, whole.size_bytes).await?;
        let sent = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .checksum_sha256(BASE64.encode(&digest_of_one(whole)))
            .body(ByteStream::from(bytes))
            .customize()
            .disable_payload_signing()
            .send()
            .await;
        sent.map_err(|error| self.problem(&error))?;
        progress(whole.size_bytes);
        match self.holds(key, whole).await? {
            true => Ok(whole.size_bytes),
            false => Err(Problem::Spoilt(format!("{}: the store does not hold what was sent", key.path()))),
        }
    }

    async fn in_parts(&self, key: &ObjectKey, whole: &Whole, progress: &(dyn Fn(u64) + Sync)) -> Result<u64, Problem> {
        let name = self.name(key);
        let (id, mut stored) = match self.newest_unfinished(&name).await? {
            Some(id) => {
                let stored = self.stored_parts(&name, &id).await?;
                (id, stored)
            }
            None => (self.begin(&name).await?, BTreeMap::new()),
        };
        stored.retain(|number, part| whole.has(*number, part));
        progress(stored.values().map(|part| part.size_bytes).sum());

        let missing = (1..=whole.parts.len()).filter(|number| !stored.contains_key(number));
        let sending = stream::iter(missing.collect::<Vec<_>>()).map(|number| self.send_part(&name, &id, whole, number));
        let mut sending = std::pin::pin!(sending.buffer_unordered(PARTS_AT_ONCE));
        let mut sent_bytes = 0;
        while let Some((number, part)) = sending.try_next().await? {
            sent_bytes += part.size_bytes;
            progress(part.size_bytes);
            stored.insert(number, part);
        }
        self.finish(&name, &id, whole, &stored).await?;
        Ok(sent_bytes)
    }

    async fn begin(&self, name: &str) -> Result<String, Problem> {
        let begun = self.client.create_multipart_upload().bucket(&self.bucket).key(name).checksum_algorithm(ChecksumAlgorithm::Sha256);
        let begun = begun.send().await.map_err(|error| self.problem(&error))?;
        begun.upload_id.ok_or_else(|| Problem::Other("no id for an upload".into()))
    }

    async fn send_part(&self, name: &str, id: &str, whole: &Whole, number: usize) -> Result<(usize, Stored), Problem> {
        let (start, size_bytes) = whole.place(number);
        let bytes = read_part(&whole.path, start, size_bytes).await?;
        let sha256 = BASE64.encode(&whole.parts[number - 1]);
        let sent = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(name)
            .upload_id(id)
            .part_number(signed(number))
            .checksum_sha256(&sha256)
            .body(ByteStream::from(bytes))
            .customize()
            .disable_payload_signing()
            .send()
            .await
            .map_err(|error| self.problem(&error))?;
        let etag = sent.e_tag.ok_or_else(|| Problem::Other("no tag for a part".into()))?;
        Ok((number, Stored { etag, size_bytes, sha256: Some(sha256) }))
    }

    async fn finish(&self, name: &str, id: &str, whole: &Whole, stored: &BTreeMap<usize, Stored>) -> Result<(), Problem> {
        let parts = stored.iter().map(|(number, part)| {
            let sha256 = BASE64.encode(&whole.parts[number - 1]);
            CompletedPart::builder().part_number(signed(*number)).e_tag(&part.etag).checksum_sha256(sha256).build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let done =
            self.client.complete_multipart_upload().bucket(&self.bucket).key(name).upload_id(id).multipart_upload(parts).send().await;
        match done {
            Ok(_) => Ok(()),
            Err(error) => {
                let problem = self.problem(&error);
                if matches!(problem, Problem::Other(_) | Problem::Spoilt(_)) {
                    // What it holds of earlier parts is not what was sent: the next round begins afresh.
                    let _ = self.client.abort_multipart_upload().bucket(&self.bucket).key(name).upload_id(id).send().await;
                    return Err(Problem::Missing(problem.to_string()));
                }
                Err(problem)
            }
        }
    }

    /// Whether the store holds just this: by the checksum it keeps where it keeps one, else by reading it.
    async fn holds(&self, key: &ObjectKey, whole: &Whole) -> Result<bool, Problem> {
        let asked = self.client.head_object().bucket(&self.bucket).key(self.name(key)).checksum_mode(ChecksumMode::Enabled);
        let head = match asked.send().await.map_err(|error| self.problem(&error)) {
            Ok(head) => head,
            Err(Problem::Missing(_)) => return Ok(false),
            Err(problem) => return Err(problem),
        };
        if unsigned(head.content_length()) != whole.size_bytes {
            return Ok(false);
        }
        match head.checksum_sha256() {
            Some(checksum) => Ok(checksum == whole.checksum()),
            None => {
                let mut bytes = self.slice(key, whole.size_bytes, 0, whole.size_bytes).await?;
                let mut hasher = Sha256::new();
                while let Some(piece) = bytes.try_next().await? {
                    hasher.update(&piece);
                }
                Ok(HEXLOWER.encode(&hasher.finalize()) == key.sha256())
            }
        }
    }

    async fn newest_unfinished(&self, name: &str) -> Result<Option<String>, Problem> {
        let mut found = self.unfinished(name).await?;
        found.retain(|(key, _, _)| key == name);
        Ok(found.into_iter().max_by_key(|(_, _, begun)| *begun).map(|(_, id, _)| id))
    }

    /// Uploads that were begun and not finished: key, id and when.
    async fn unfinished(&self, prefix: &str) -> Result<Vec<(String, String, Timestamp)>, Problem> {
        let (mut found, mut after) = (Vec::new(), (None, None));
        loop {
            let asked = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(prefix);
            let page = asked.set_key_marker(after.0).set_upload_id_marker(after.1).send().await.map_err(|error| self.problem(&error))?;
            for upload in page.uploads() {
                let begun = upload.initiated().and_then(|at| Timestamp::from_unix_timestamp(at.secs()).ok());
                if let (Some(key), Some(id), Some(begun)) = (upload.key(), upload.upload_id(), begun) {
                    found.push((key.to_owned(), id.to_owned(), begun));
                }
            }
            if page.is_truncated() != Some(true) || page.next_key_marker().is_none() {
                return Ok(found);
            }
            after = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    async fn stored_parts(&self, name: &str, id: &str) -> Result<BTreeMap<usize, Stored>, Problem> {
        let mut pages = self.client.list_parts().bucket(&self.bucket).key(name).upload_id(id).into_paginator().send();
        let mut found = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.problem(&error))?;
            for part in page.parts() {
                if let (Some(number), Some(etag)) = (part.part_number().and_then(|number| usize::try_from(number).ok()), part.e_tag()) {
                    let sha256 = part.checksum_sha256().map(str::to_owned);
                    found.insert(number, Stored { etag: etag.to_owned(), size_bytes: unsigned(part.size()), sha256 });
                }
            }
        }
        Ok(found)
    }
}

impl Whole {
    /// Where the part of this number (from 1) begins, and how long it is.
    fn place(&self, number: usize) -> (u64, u64) {
        let start = (number as u64 - 1) * PART_BYTES;
        (start, PART_BYTES.min(self.size_bytes - start))
    }

    /// Whether the store's part is this one, as far as the store tells. What it does not tell shows at the end.
    fn has(&self, number: usize, part: &Stored) -> bool {
        (1..=self.parts.len()).contains(&number)
            && part.size_bytes == self.place(number).1
            && part.sha256.as_ref().is_none_or(|sha256| *sha256 == BASE64.encode(&self.parts[number - 1]))
    }

    /// What S3 calls the checksum of an object: of one made of parts, the digest of the parts' digests, and how many they are.
    fn checksum(&self) -> String {
        match self.parts.len() {
            0 | 1 => BASE64.encode(&digest_of_one(self)),
            count => format!("{}-{count}", BASE64.encode(&Sha256::digest(self.parts.concat()))),
        }
    }
}

/// The digest of a file that is one part, or empty.
fn digest_of_one(whole: &Whole) -> [u8; 32] {
    whole.parts.first().copied().unwrap_or_else(|| Sha256::digest(b"").into())
}

async fn read_part(path: &Path, start: u64, size_bytes: u64) -> io::Result<Bytes> {
    let path = path.to_owned();
    let read = move || {
        let mut bytes = vec![0; usize::try_from(size_bytes).map_err(io::Error::other)?];
        File::open(&path)?.read_exact_at(&mut bytes, start)?;
        Ok(Bytes::from(bytes))
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}

fn signed(number: usize) -> i32 {
    i32::try_from(number).expect("a file of a release has a few hundred parts")
}
