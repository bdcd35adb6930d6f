//! Signs releases: when they are published, when the key was rotated, and those from before there were signatures.

use futures_util::StreamExt;
use sqlx::PgConnection;
use time::Duration;

use super::keep::blocking;
use super::model::Model;
use super::store::{self, Bundles, Undigested, Unproven};
use crate::audit::{self, Event};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::ReleaseId;
use crate::integrity::{
    CHUNK_BYTES, FileProof, Hasher, KeyRecord, Kind, Method, Resource, SignedRelease, SigningKey, Statement, manifest_sha256, signature,
};
use crate::portal::Portal;
use crate::storage::ObjectKey;

/// As many files as a release may have, and more.
const FILES_MAX: i64 = 1_000_000;
/// Releases that wait are counted up to so many.
const UNPROVEN_COUNTED_MAX: i64 = 1_000;

/// Signs a release with the current key, unless it has; in the caller's transaction. Says whether it is signed: not, while an object's
/// chunks have no digests.
pub(super) async fn sign(
    tx: &mut PgConnection,
    portal: &Portal,
    model: &Model,
    (release, revision): (ReleaseId, &str),
    now: Timestamp,
) -> Result<bool, Error> {
    let key = portal.keys.current()?;
    if store::signed_by(tx, release).await? == Some(key.public().id()) {
        return Ok(true);
    }
    let Some(files) = store::file_proofs(tx, release, "", FILES_MAX).await? else { return Ok(false) };
    let bundles = bundles(&model.full_name(), revision, &files, &key)?;
    store::save_bundles(tx, release, &bundles, now).await?;
    Ok(true)
}

fn bundles(model: &str, revision: &str, files: &[FileProof], key: &SigningKey) -> Result<Bundles, Error> {
    let release = SignedRelease { revision: revision.to_owned(), manifest_sha256: manifest_sha256(files) };
    let of = |kind| files.iter().filter(move |file| Kind::of(&file.path) == kind);
    let sign = |method, resources, ignored: Vec<String>| {
        let statement = Statement { subject: model.to_owned(), method, resources, ignored, release: Some(release.clone()) };
        signature::sign(&statement, key).map_err(Error::internal)
    };
    // What the other bundle signs may lie beside, so that each can be verified alone; anything else beside is named as extra.
    let whole = |kind| of(kind).map(|file| Resource::file(&file.path, &file.sha256)).collect();
    let paths = |kind| of(kind).map(|file| file.path.clone()).collect();
    let chunks = files.iter().flat_map(|file| {
        file.chunks.iter().zip(0u64..).map(|(chunk, place)| {
            let start = place * CHUNK_BYTES;
            Resource::shard(&file.path, start..file.size_bytes.min(start + CHUNK_BYTES), chunk.sha256_hex())
        })
    });
    Ok(Bundles {
        key_id: key.public().id(),
        weights: sign(Method::Files, whole(Kind::Weights), paths(Kind::Document))?,
        documents: sign(Method::Files, whole(Kind::Document), paths(Kind::Weights))?,
        chunks: sign(Method::Shards { shard_bytes: CHUNK_BYTES }, chunks.collect(), vec![])?,
    })
}

/// Signs one release that the current key has not signed, hashing of it what was never taken apart. `skip`: those that cannot be; one
/// that turns out so is added. Says whether there was one.
pub async fn prove_next(portal: &Portal, skip: &mut Vec<ReleaseId>) -> Result<bool, Error> {
    let key_id = portal.keys.list()?.swap_remove(0).id;
    let next = store::unproven(&mut *portal.db.acquire().await?, &key_id, skip, 1).await?;
    let Some(unproven) = next.first() else { return Ok(false) };
    if let Err(error) = prove(portal, *unproven).await {
        if matches!(error, Error::Unavailable(_)) {
            // The database or the store, and not the release.
            return Err(error);
        }
        tracing::error!(release = %unproven.release, %error, "a release cannot be signed; the rest goes on, and it is tried again at the next start");
        skip.push(unproven.release);
    }
    Ok(true)
}

/// How many releases wait to be signed with the present key; no more than a thousand are counted.
pub async fn waiting_for_proof(portal: &Portal, db: &mut PgConnection) -> Result<usize, Error> {
    let key_id = portal.keys.list()?.swap_remove(0).id;
    Ok(store::unproven(db, &key_id, &[], UNPROVEN_COUNTED_MAX).await?.len())
}

/// Makes a new signing key, trusts the one before for `overlap` more, and signs every release with the new one; says how many.
pub async fn rotate_key(portal: &Portal, overlap: Duration) -> Result<(KeyRecord, usize), Error> {
    let now = portal.clock.now();
    let before = portal.keys.current()?.public().id();
    let made = portal.keys.rotate(now, overlap)?;
    let event = Event::SigningKeyRotated { from: before, to: made.id.clone(), retires: (now + overlap).date().to_string() };
    audit::record(&mut *portal.db.acquire().await?, now, None, &event).await?;
    let (mut skip, mut signed) = (Vec::new(), 0);
    loop {
        match prove_next(portal, &mut skip).await {
            Ok(true) => signed += 1,
            Ok(false) => break,
            // The key is made and signs: that is not to be done again. The portal signs the rest while it runs.
            Err(Error::Unavailable(why)) => {
                tracing::warn!(%why, "the portal signs the other releases");
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok((made, signed - skip.len()))
}

async fn prove(portal: &Portal, unproven: Unproven) -> Result<(), Error> {
    let objects = store::undigested(&mut *portal.db.acquire().await?, unproven.release).await?;
    for object in objects {
        digest_again(portal, object).await?;
    }
    let mut tx = portal.db.begin().await?;
    let model = store::find_model_by_id(&mut tx, unproven.model).await?;
    let release = store::release(&mut tx, unproven.release).await?;
    if !sign(&mut tx, portal, &model, (release.id, &release.revision), portal.clock.now()).await? {
        return Err(Error::internal("an object's chunks have no digests"));
    }
    tx.commit().await?;
    tracing::info!(model = model.full_name(), revision = release.revision, "signed");
    Ok(())
}

/// Reads an object again and keeps the digests of its chunks, if it still is what it was.
async fn digest_again(portal: &Portal, object: Undigested) -> Result<(), Error> {
    let size_bytes = object.size_bytes.unsigned_abs();
    let mut pieces = portal.objects.slice(&ObjectKey::file(&object.sha256), size_bytes, 0, size_bytes).await?;
    let mut hasher = Hasher::new(size_bytes);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hasher = blocking(move || hasher.update(&piece).map(|()| hasher)).await?;
    }
    let digests = hasher.finish()?;
    if digests.sha256 != object.sha256 || digests.blake3 != object.blake3 {
        return Err(Error::internal(format!(
            "the object {} in the store is not what was published: restore it from a backup",
            object.sha256
        )));
    }
    store::insert_chunks(&mut *portal.db.acquire().await?, &digests).await
}
