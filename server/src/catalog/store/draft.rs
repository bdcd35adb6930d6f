//! What the database keeps of releases that are not on offer yet.

use sqlx::PgConnection;

use super::super::model::Draft;
use super::is_text;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ModelId, ReleaseId};

/// Adds a release that nobody sees yet.
pub async fn insert_draft(tx: &mut PgConnection, draft: &Draft) -> Result<(), Error> {
    sqlx::query!(
        "insert into release (id, model_id, revision, notes, config_json, drafted_at) values ($1, $2, $3, $4, $5, $6)",
        draft.id.uuid(),
        draft.model_id.uuid(),
        draft.revision,
        draft.notes,
        draft.config_json,
        draft.drafted_at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The draft `id`.
pub async fn draft(db: &mut PgConnection, id: ReleaseId) -> Result<Option<Draft>, Error> {
    let draft = sqlx::query_as!(
        Draft,
        r#"select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, drafted_at as "drafted_at!"
         from release where id = $1 and published_at is null"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?;
    Ok(draft)
}

/// Every draft of a model, newest first.
pub async fn drafts(db: &mut PgConnection, model: ModelId) -> Result<Vec<Draft>, Error> {
    let drafts = sqlx::query_as!(
        Draft,
        r#"select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, drafted_at as "drafted_at!"
         from release where model_id = $1 and published_at is null
         order by drafted_at desc, id desc"#,
        model.uuid(),
    )
    .fetch_all(db)
    .await?;
    Ok(drafts)
}

/// The one draft of a model whose revision begins so.
pub async fn draft_of(db: &mut PgConnection, model: ModelId, revision: &str) -> Result<Option<Draft>, Error> {
    if !is_text([revision]) {
        return Ok(None);
    }
    let mut found = sqlx::query_as!(
        Draft,
        r#"select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, drafted_at as "drafted_at!"
         from release where model_id = $1 and published_at is null and length($2) >= 7 and starts_with(revision, $2)
         limit 2"#,
        model.uuid(),
        revision,
    )
    .fetch_all(db)
    .await?;
    Ok(if found.len() == 1 { found.pop() } else { None })
}

/// Changes what is to be said about a draft.
pub async fn set_draft_notes(tx: &mut PgConnection, id: ReleaseId, notes: &str) -> Result<(), Error> {
    sqlx::query!("update release set notes = $2 where id = $1 and published_at is null", id.uuid(), notes).execute(tx).await?;
    Ok(())
}

/// Makes a draft a release on offer; says whether it was one.
pub async fn set_published(tx: &mut PgConnection, id: ReleaseId, now: Timestamp, by: Option<AccountId>) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update release set published_at = $2, published_by = $3 where id = $1 and published_at is null",
        id.uuid(),
        now,
        by.map(AccountId::uuid),
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Removes a draft with all that is kept of it; says whether there was one.
pub async fn delete_draft(tx: &mut PgConnection, id: ReleaseId) -> Result<bool, Error> {
    let done = sqlx::query!(
        "with gone as (select id from release where id = $1 and published_at is null),
              files as (delete from release_file where release_id in (select id from gone)),
              proofs as (delete from release_proof where release_id in (select id from gone)),
              reports as (delete from release_report where release_id in (select id from gone))
         delete from release where id in (select id from gone)",
        id.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A file of a release whose object was not what it should be when it was read last, and what was wrong.
pub async fn spoilt_file(db: &mut PgConnection, release: ReleaseId) -> Result<Option<(String, String)>, Error> {
    let row = sqlx::query!(
        r#"select f.path, o.fault as "fault!"
         from release_file f join object o on o.sha256 = f.object_sha256
         where f.release_id = $1 and o.fault is not null
         order by f.path
         limit 1"#,
        release.uuid(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.path, row.fault)))
}
