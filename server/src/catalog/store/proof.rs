//! What the database keeps to prove a release: the digests of chunks, signatures, and the report on the weights.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{ModelId, ReleaseId};
use crate::integrity::{CHUNK_BYTES, ChunkDigests, Digests, FileProof};

/// A bundle of signatures, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bundle {
    /// `model.sig`
    Weights,
    /// `documents.sig`
    Documents,
    /// `chunks.sig`
    Chunks,
}

/// The three bundles of a release.
#[derive(Debug)]
pub struct Bundles {
    /// Whose they are.
    pub key_id: String,
    /// `model.sig`
    pub weights: String,
    /// `documents.sig`
    pub documents: String,
    /// `chunks.sig`
    pub chunks: String,
}

/// A release that is not signed by the current key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unproven {
    /// Which.
    pub release: ReleaseId,
    /// Of which model.
    pub model: ModelId,
}

/// An object whose chunks nobody has digested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undigested {
    /// Its name.
    pub sha256: String,
    /// What else it has to be.
    pub blake3: String,
    /// How long it is.
    pub size_bytes: i64,
}

/// Keeps the digests of an object's chunks. Of an object that has one chunk, they are the object's own.
pub async fn insert_chunks(db: &mut PgConnection, digests: &Digests) -> Result<(), Error> {
    if digests.chunks.len() < 2 {
        return Ok(());
    }
    let bytes: Vec<u8> = digests.chunks.iter().flat_map(|chunk| [chunk.sha256, chunk.blake3].concat()).collect();
    sqlx::query!(
        "insert into object_chunks (object_sha256, digests) values ($1, $2) on conflict (object_sha256) do nothing",
        digests.sha256,
        bytes,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Files of a release with all their digests, in the order of their paths, those after `after`; nothing if an object's chunks are not
/// known yet.
pub async fn file_proofs(db: &mut PgConnection, release: ReleaseId, after: &str, limit: i64) -> Result<Option<Vec<FileProof>>, Error> {
    let rows = sqlx::query!(
        r#"select f.path, o.size_bytes, o.sha256, o.blake3, c.digests as "digests?"
         from release_file f
         join object o on o.sha256 = f.object_sha256
         left join object_chunks c on c.object_sha256 = o.sha256
         where f.release_id = $1 and f.path collate "C" > $2
         order by f.path collate "C"
         limit $3"#,
        release.uuid(),
        after,
        limit,
    )
    .fetch_all(db)
    .await?;
    let mut files = Vec::with_capacity(rows.len());
    for row in rows {
        let size_bytes = row.size_bytes.unsigned_abs();
        let Some(chunks) = chunks(size_bytes, &row.sha256, &row.blake3, row.digests.as_deref()) else { return Ok(None) };
        files.push(FileProof { path: row.path, size_bytes, sha256: row.sha256, blake3: row.blake3, chunks });
    }
    Ok(Some(files))
}

fn chunks(size_bytes: u64, sha256: &str, blake3: &str, kept: Option<&[u8]>) -> Option<Vec<ChunkDigests>> {
    let decoded = |hex: &str| -> Option<[u8; 32]> { data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok() };
    match size_bytes {
        0 => Some(vec![]),
        1..=CHUNK_BYTES => Some(vec![ChunkDigests { sha256: decoded(sha256)?, blake3: decoded(blake3)? }]),
        _ => {
            let (digests, _) = kept?.as_chunks::<32>();
            let pairs = digests.chunks_exact(2).map(|pair| ChunkDigests { sha256: pair[0], blake3: pair[1] });
            Some(pairs.collect())
        }
    }
}

/// The objects of a release whose chunks have to be digested first.
pub async fn undigested(db: &mut PgConnection, release: ReleaseId) -> Result<Vec<Undigested>, Error> {
    let objects = sqlx::query_as!(
        Undigested,
        "select distinct o.sha256, o.blake3, o.size_bytes
         from release_file f join object o on o.sha256 = f.object_sha256
         where f.release_id = $1 and o.size_bytes > $2
           and not exists (select 1 from object_chunks c where c.object_sha256 = o.sha256)
         order by o.sha256",
        release.uuid(),
        CHUNK_BYTES.cast_signed(),
    )
    .fetch_all(db)
    .await?;
    Ok(objects)
}

/// Some releases that this key has not signed, the newest first; none of those named. A draft is signed when it is published.
pub async fn unproven(db: &mut PgConnection, key_id: &str, but: &[ReleaseId], limit: i64) -> Result<Vec<Unproven>, Error> {
    let but: Vec<uuid::Uuid> = but.iter().map(|id| id.uuid()).collect();
    let releases = sqlx::query_as!(
        Unproven,
        r#"select r.id as "release: ReleaseId", r.model_id as "model: ModelId"
         from release r left join release_proof p on p.release_id = r.id
         where p.key_id is distinct from $1 and r.id <> all($2) and r.published_at is not null
         order by r.published_at desc, r.id desc
         limit $3"#,
        key_id,
        &but,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(releases)
}

/// Which key has signed a release.
pub async fn signed_by(db: &mut PgConnection, release: ReleaseId) -> Result<Option<String>, Error> {
    let key = sqlx::query_scalar!("select key_id from release_proof where release_id = $1", release.uuid()).fetch_optional(db).await?;
    Ok(key)
}

/// Keeps the signatures of a release, in the place of those before.
pub async fn save_bundles(db: &mut PgConnection, release: ReleaseId, bundles: &Bundles, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into release_proof (release_id, key_id, model_sig, documents_sig, chunks_sig, signed_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (release_id) do update set key_id = excluded.key_id, model_sig = excluded.model_sig,
             documents_sig = excluded.documents_sig, chunks_sig = excluded.chunks_sig, signed_at = excluded.signed_at",
        release.uuid(),
        bundles.key_id,
        bundles.weights,
        bundles.documents,
        bundles.chunks,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// One bundle of a release, if it is signed.
pub async fn bundle(db: &mut PgConnection, release: ReleaseId, which: Bundle) -> Result<Option<String>, Error> {
    let which = match which {
        Bundle::Weights => 0,
        Bundle::Documents => 1,
        Bundle::Chunks => 2,
    };
    let bundle = sqlx::query_scalar!(
        r#"select case $2::integer when 0 then model_sig when 1 then documents_sig else chunks_sig end as "bundle!"
         from release_proof where release_id = $1"#,
        release.uuid(),
        which,
    )
    .fetch_optional(db)
    .await?;
    Ok(bundle)
}

/// Keeps what was found in a release's weights, as JSON; what is kept already stays.
pub async fn insert_report(db: &mut PgConnection, release: ReleaseId, tensors_json: &str, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into release_report (release_id, tensors_json, reported_at) values ($1, $2, $3) on conflict (release_id) do nothing",
        release.uuid(),
        tensors_json,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What was found in a release's weights, as JSON.
pub async fn report(db: &mut PgConnection, release: ReleaseId) -> Result<Option<String>, Error> {
    let report =
        sqlx::query_scalar!("select tensors_json from release_report where release_id = $1", release.uuid()).fetch_optional(db).await?;
    Ok(report)
}
