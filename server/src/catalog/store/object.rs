//! What the database keeps of the objects in the store.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::integrity::Digests;

/// Whether an object of just this size is on record.
pub async fn any_object_of_size(db: &mut PgConnection, size_bytes: u64) -> Result<bool, Error> {
    let any = sqlx::query_scalar!(
        r#"select exists (select 1 from object where size_bytes = $1) as "any!""#,
        i64::try_from(size_bytes).map_err(Error::internal)?
    )
    .fetch_one(db)
    .await?;
    Ok(any)
}

/// When the object with this content was last written or read back; nothing if it is not on record, or was not what it should be then.
pub async fn object_verified_at(db: &mut PgConnection, sha256: &str) -> Result<Option<Timestamp>, Error> {
    let row = sqlx::query!(
        r#"select greatest(created_at, checked_at) as "verified_at!" from object where sha256 = $1 and fault is null"#,
        sha256
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| row.verified_at))
}

/// Notes that an object was read back outside of any round, and what was wrong with it.
pub async fn note_object_read(db: &mut PgConnection, sha256: &str, fault: Option<&str>, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("update object set checked_at = $2, fault = $3 where sha256 = $1", sha256, now, fault).execute(db).await?;
    Ok(())
}

/// Puts an object on record that is complete in the store. One that is on record was written anew: what was wrong with it is mended.
pub async fn insert_object(db: &mut PgConnection, digests: &Digests, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into object (sha256, blake3, git_sha1, size_bytes, created_at)
         values ($1, $2, $3, $4, $5) on conflict (sha256)
         do update set fault = null, checked_at = null, created_at = greatest(object.created_at, excluded.created_at)",
        digests.sha256,
        digests.blake3,
        digests.git_sha1,
        i64::try_from(digests.size_bytes).map_err(Error::internal)?,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}
