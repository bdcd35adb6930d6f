//! A release as large as the largest there are, of shards that nobody has: digests that are made up, files that are holes.

use std::error::Error;
use std::fs::{self, File, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use server::ids::{ModelId, ReleaseId};
use server::integrity::{CHUNK_BYTES, Entry, Manifest, sha256_hex};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

/// Shards of this many bytes each.
pub struct LargeRelease {
    pub revision: String,
    shards: Vec<Shard>,
    shard_bytes: u64,
}

struct Shard {
    path: String,
    sha256: String,
    /// SHA-256 of each 16 MiB.
    chunks: Vec<[u8; 32]>,
}

impl LargeRelease {
    /// Offers `org/name` with so many shards to everybody, as the database has it; to be signed like what was published before there
    /// were signatures. The bytes are nowhere.
    pub async fn offer(db: &mut PgConnection, full_name: &str, shards: usize, shard_bytes: u64) -> Result<Self, Box<dyn Error>> {
        let shard = |number: usize| {
            let path = format!("model-{:05}-of-{shards:05}.safetensors", number + 1);
            let chunk = |chunk| Sha256::digest(format!("{path} {chunk}")).into();
            let chunks = (0..shard_bytes.div_ceil(CHUNK_BYTES)).map(chunk).collect();
            Shard { sha256: sha256_hex(path.as_bytes()), path, chunks }
        };
        let shards: Vec<Shard> = (0..shards).map(shard).collect();
        let entry = |shard: &Shard| (shard.path.clone(), Entry { size_bytes: shard_bytes, sha256: shard.sha256.clone() });
        let revision = Manifest::new(shards.iter().map(entry)).revision();
        let release = Self { revision, shards, shard_bytes };
        release.insert(db, full_name).await?;
        Ok(release)
    }

    async fn insert(&self, db: &mut PgConnection, full_name: &str) -> Result<(), Box<dyn Error>> {
        let (org, name) = full_name.split_once('/').ok_or("ORG/NAME")?;
        let (model, release) = (ModelId::fresh().uuid(), ReleaseId::fresh().uuid());
        let add = "insert into model (id, org, name, gate, created_at) values ($1, $2, $3, 'open', '2026-03-02')";
        sqlx::query(add).bind(model).bind(org).bind(name).execute(&mut *db).await?;
        let add = "insert into release (id, model_id, revision, config_json, published_at) values ($1, $2, $3, '{\"model_type\": \"opt\"}', '2026-03-02')";
        sqlx::query(add).bind(release).bind(model).bind(&self.revision).execute(&mut *db).await?;
        let add = "insert into release_name (model_id, name, kind, release_id, moved_at) values ($1, 'main', 'branch', $2, '2026-03-02')";
        sqlx::query(add).bind(model).bind(release).execute(&mut *db).await?;
        let digests: Vec<String> = self.shards.iter().map(|shard| shard.sha256.clone()).collect();
        let add = "insert into object (sha256, blake3, size_bytes, created_at) select sha256, sha256, $2, '2026-03-02' from unnest($1::text[]) sha256";
        sqlx::query(add).bind(&digests).bind(i64::try_from(self.shard_bytes)?).execute(&mut *db).await?;
        // SHA-256 and BLAKE3 of each; one is as made up as the other.
        let chunks: Vec<Vec<u8>> =
            self.shards.iter().map(|shard| shard.chunks.iter().flat_map(|digest| [*digest, *digest].concat()).collect()).collect();
        let add = "insert into object_chunks (object_sha256, digests) select * from unnest($1::text[], $2::bytea[])";
        sqlx::query(add).bind(&digests).bind(&chunks).execute(&mut *db).await?;
        let paths: Vec<&str> = self.shards.iter().map(|shard| shard.path.as_str()).collect();
        let add = "insert into release_file (release_id, path, object_sha256, is_lfs) select $1, path, sha256, true from unnest($2::text[], $3::text[]) as file (path, sha256)";
        sqlx::query(add).bind(release).bind(&paths).bind(&digests).execute(&mut *db).await?;
        Ok(())
    }

    /// Leaves in `folder` what a pull would have left that was killed when so many shards were complete and every other chunk of the rest
    /// had come: sparse files, and the journal as `client/journal.rs` of the server writes it.
    pub fn is_partly_at(&self, folder: &Path, complete: usize) -> std::io::Result<()> {
        fs::create_dir_all(folder.join(".sluice"))?;
        let mut journal = b"sluice-journal-1".to_vec();
        for (number, shard) in self.shards.iter().enumerate() {
            let is_complete = number < complete;
            let file = File::create(folder.join(format!("{}{}", shard.path, if is_complete { "" } else { ".sluice-part" })))?;
            file.set_len(self.shard_bytes)?;
            let (metadata, path) = (file.metadata()?, half(&Sha256::digest(&shard.path)));
            if is_complete {
                let sha256 = data_encoding::HEXLOWER.decode(shard.sha256.as_bytes()).unwrap();
                // One digest is as made up as the other.
                let listed = [sha256, shard.chunks.concat(), shard.chunks.concat()].concat();
                journal.extend(record(3, 0, path, half(&Sha256::digest(listed)), times(&metadata)));
                continue;
            }
            journal.extend(record(1, 0, path, [0; 16], [metadata.ino(), 0, 0]));
            for (chunk, digest) in shard.chunks.iter().enumerate().step_by(2) {
                journal.extend(record(2, u32::try_from(chunk).unwrap(), path, half(digest), [0; 3]));
            }
        }
        File::create(folder.join(".sluice/journal"))?.write_all(&journal)
    }
}

/// A journal in `folder` that says of a file, as it is there, that a pull has left it so, with this content of one chunk.
pub fn journal_says_done(folder: &Path, path: &str, content: &[u8]) -> std::io::Result<()> {
    let sha256 = Sha256::digest(content);
    let listed = [&sha256[..], &sha256[..], blake3::hash(content).as_bytes()].concat();
    let done = record(3, 0, half(&Sha256::digest(path)), half(&Sha256::digest(listed)), times(&fs::metadata(folder.join(path))?));
    fs::write(folder.join(".sluice/journal"), [b"sluice-journal-1".to_vec(), done].concat())
}

fn half(digest: &[u8]) -> [u8; 16] {
    digest[..16].try_into().unwrap()
}

fn times(metadata: &Metadata) -> [u64; 3] {
    let nanos = |seconds: i64, nanos: i64| (seconds * 1_000_000_000 + nanos).cast_unsigned();
    [metadata.ino(), nanos(metadata.mtime(), metadata.mtime_nsec()), nanos(metadata.ctime(), metadata.ctime_nsec())]
}

fn record(kind: u8, chunk: u32, path: [u8; 16], digest: [u8; 16], numbers: [u64; 3]) -> Vec<u8> {
    let mut record = vec![kind, 0, 0, 0];
    record.extend(chunk.to_le_bytes());
    record.extend(path);
    record.extend(digest);
    numbers.iter().for_each(|number| record.extend(number.to_le_bytes()));
    let checksum = blake3::hash(&record);
    record.extend(&checksum.as_bytes()[..8]);
    record
}
