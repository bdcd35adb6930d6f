//! What the database keeps of releases that are or were on offer, their names and their files. A draft is none of them: see `draft.rs`.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::super::model::{NamedRelease, Release, ReleaseFile, ReleaseName};
use super::is_text;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{ModelId, ReleaseId};

/// The release that `revision` means for a model: a branch, a tag, or at least 7 digits of a revision that no other begins with.
pub async fn resolve(db: &mut PgConnection, model: ModelId, revision: &str) -> Result<Option<Release>, Error> {
    if !is_text([revision]) {
        return Ok(None);
    }
    let is_hex = (7..=40).contains(&revision.len()) && revision.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut found = sqlx::query_as!(
        Release,
        r#"select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, published_at as "published_at!", yanked_at, yank_reason
         from release
         where model_id = $1 and published_at is not null
           and (id = (select release_id from release_name where model_id = $1 and name = $2)
                or ($3 and starts_with(revision, $2)))
         limit 2"#,
        model.uuid(),
        revision,
        is_hex,
    )
    .fetch_all(db)
    .await?;
    Ok(if found.len() == 1 { found.pop() } else { None })
}

/// The release that `main` names, of each of these models that has one.
pub async fn main_releases(db: &mut PgConnection, models: &[ModelId]) -> Result<HashMap<ModelId, Release>, Error> {
    let ids: Vec<_> = models.iter().map(|model| model.uuid()).collect();
    let releases = sqlx::query_as!(
        Release,
        r#"select r.id as "id: ReleaseId", r.model_id as "model_id: ModelId", r.revision, r.notes, r.config_json, r.published_at as "published_at!", r.yanked_at, r.yank_reason
         from release_name n join release r on r.id = n.release_id
         where n.model_id = any($1) and n.name = 'main'"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(releases.into_iter().map(|release| (release.model_id, release)).collect())
}

/// The release `id`.
pub async fn release(db: &mut PgConnection, id: ReleaseId) -> Result<Release, Error> {
    sqlx::query_as!(
        Release,
        r#"select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, published_at as "published_at!", yanked_at, yank_reason
         from release where id = $1 and published_at is not null"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?
    .ok_or(Error::NotFound("release"))
}

/// A release as it is read together with its names.
struct NamedRow {
    id: ReleaseId,
    model_id: ModelId,
    revision: String,
    notes: String,
    config_json: Option<serde_json::Value>,
    published_at: Timestamp,
    yanked_at: Option<Timestamp>,
    yank_reason: Option<String>,
    names: Vec<String>,
}

impl NamedRow {
    fn named(self) -> NamedRelease {
        let release = Release {
            id: self.id,
            model_id: self.model_id,
            revision: self.revision,
            notes: self.notes,
            config_json: self.config_json,
            published_at: self.published_at,
            yanked_at: self.yanked_at,
            yank_reason: self.yank_reason,
        };
        NamedRelease { release, names: self.names }
    }
}

/// The release `id` with its names.
pub async fn named_release(db: &mut PgConnection, id: ReleaseId) -> Result<NamedRelease, Error> {
    let row = sqlx::query_as!(
        NamedRow,
        r#"select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, published_at as "published_at!", yanked_at, yank_reason,
                array(select name from release_name where release_id = release.id order by kind, name) as "names!"
         from release where id = $1 and published_at is not null"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(NamedRow::named).ok_or(Error::NotFound("release"))
}

/// The newest releases of a model, at most `limit`, and the one that `main` names, each with its names: newest first.
pub async fn releases(db: &mut PgConnection, model: ModelId, limit: i64) -> Result<Vec<NamedRelease>, Error> {
    let rows = sqlx::query_as!(
        NamedRow,
        r#"with newest as (
             select id from release where model_id = $1 and published_at is not null
             order by published_at desc, id desc
             limit $2),
             main as (select release_id as id from release_name where model_id = $1 and name = 'main')
         select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, published_at as "published_at!", yanked_at, yank_reason,
                array(select name from release_name where release_id = release.id order by kind, name) as "names!"
         from release where id in (select id from newest union select id from main)
         order by published_at desc, id desc"#,
        model.uuid(),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(NamedRow::named).collect())
}

/// Every file of a release, by path.
pub async fn files(db: &mut PgConnection, release: ReleaseId) -> Result<Vec<ReleaseFile>, Error> {
    let files = sqlx::query_as!(
        ReleaseFile,
        r#"select f.path, o.size_bytes, o.sha256, o.blake3, coalesce(o.git_sha1, '') as "git_sha1!", f.is_lfs
         from release_file f join object o on o.sha256 = f.object_sha256
         where f.release_id = $1
         order by f.path collate "C""#,
        release.uuid(),
    )
    .fetch_all(db)
    .await?;
    Ok(files)
}

/// One file of a release.
pub async fn file(db: &mut PgConnection, release: ReleaseId, path: &str) -> Result<Option<ReleaseFile>, Error> {
    if !is_text([path]) {
        return Ok(None);
    }
    let file = sqlx::query_as!(
        ReleaseFile,
        r#"select f.path, o.size_bytes, o.sha256, o.blake3, coalesce(o.git_sha1, '') as "git_sha1!", f.is_lfs
         from release_file f join object o on o.sha256 = f.object_sha256
         where f.release_id = $1 and f.path = $2"#,
        release.uuid(),
        path,
    )
    .fetch_optional(db)
    .await?;
    Ok(file)
}

/// Every name of a model's releases: branches first, then tags, by name.
pub async fn names(db: &mut PgConnection, model: ModelId) -> Result<Vec<ReleaseName>, Error> {
    let names = sqlx::query_as!(
        ReleaseName,
        r#"select n.name, n.kind = 'tag' as "is_tag!", r.revision
         from release_name n join release r on r.id = n.release_id
         where n.model_id = $1
         order by n.kind, n.name"#,
        model.uuid(),
    )
    .fetch_all(db)
    .await?;
    Ok(names)
}

/// What the model is called that has a release of this revision, by revision. Where several have the same content, the first by name.
pub async fn names_of_revisions(db: &mut PgConnection, revisions: &[String]) -> Result<HashMap<String, String>, Error> {
    let rows = sqlx::query!(
        r#"select r.revision, min(m.org || '/' || m.name) as "name!"
         from release r join model m on m.id = r.model_id
         where r.revision = any($1) and r.published_at is not null
         group by r.revision"#,
        revisions,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.revision, row.name)).collect())
}

/// Adds the files of a release; their objects are on record.
pub async fn insert_files(tx: &mut PgConnection, release: ReleaseId, files: &[ReleaseFile]) -> Result<(), Error> {
    let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
    let objects: Vec<String> = files.iter().map(|file| file.sha256.clone()).collect();
    let lfs: Vec<bool> = files.iter().map(|file| file.is_lfs).collect();
    sqlx::query!(
        "insert into release_file (release_id, path, object_sha256, is_lfs)
         select $1, path, sha256, is_lfs from unnest($2::text[], $3::text[], $4::boolean[]) as f (path, sha256, is_lfs)",
        release.uuid(),
        &paths,
        &objects,
        &lfs,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Points a branch or tag at a release, wherever it pointed before.
pub async fn point(
    tx: &mut PgConnection,
    model: ModelId,
    name: &str,
    is_tag: bool,
    release: ReleaseId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into release_name (model_id, name, kind, release_id, moved_at) values ($1, $2, $3, $4, $5)
         on conflict (model_id, name) do update
         set release_id = excluded.release_id, moved_at = excluded.moved_at, moved_by_yank = false",
        model.uuid(),
        name,
        if is_tag { "tag" } else { "branch" },
        release.uuid(),
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes a release off offer, at this moment and for this reason, or puts it back.
pub async fn set_yanked(tx: &mut PgConnection, id: ReleaseId, yanked: Option<(Timestamp, &str)>) -> Result<(), Error> {
    sqlx::query!(
        "update release set yanked_at = $2, yank_reason = $3 where id = $1",
        id.uuid(),
        yanked.map(|(at, _)| at),
        yanked.map(|(_, reason)| reason),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The release that `main` names, and whether a yank moved it there.
pub async fn main_of(db: &mut PgConnection, model: ModelId) -> Result<Option<(Release, bool)>, Error> {
    let row = sqlx::query!(
        r#"select release_id as "release: ReleaseId", moved_by_yank from release_name where model_id = $1 and name = 'main'"#,
        model.uuid()
    )
    .fetch_optional(&mut *db)
    .await?;
    match row {
        Some(row) => Ok(Some((release(db, row.release).await?, row.moved_by_yank))),
        None => Ok(None),
    }
}

/// The newest release of a model that is not yanked.
pub async fn newest_good_release(db: &mut PgConnection, model: ModelId) -> Result<Option<Release>, Error> {
    let newest = sqlx::query_as!(
        Release,
        r#"select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, published_at as "published_at!", yanked_at, yank_reason
         from release where model_id = $1 and yanked_at is null and published_at is not null
         order by published_at desc, id desc
         limit 1"#,
        model.uuid(),
    )
    .fetch_optional(db)
    .await?;
    Ok(newest)
}

/// Points `main` elsewhere because of a yank, and notes that.
pub async fn point_by_yank(tx: &mut PgConnection, model: ModelId, release: ReleaseId, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update release_name set release_id = $2, moved_at = $3, moved_by_yank = true where model_id = $1 and name = 'main'",
        model.uuid(),
        release.uuid(),
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The releases that were yanked since `since`.
pub async fn yanked_since(db: &mut PgConnection, since: Timestamp) -> Result<Vec<Release>, Error> {
    let releases = sqlx::query_as!(
        Release,
        r#"select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, published_at as "published_at!", yanked_at, yank_reason
         from release where yanked_at > $1
         order by yanked_at"#,
        since,
    )
    .fetch_all(db)
    .await?;
    Ok(releases)
}

/// Takes the release that was published first of those of before `settled` which nobody has been told of, and notes that they are.
pub async fn claim_news(tx: &mut PgConnection, settled: Timestamp, now: Timestamp) -> Result<Option<Release>, Error> {
    let release = sqlx::query_as!(
        Release,
        r#"update release set news_told_at = $2
         where id = (
             select id from release
             where news_told_at is null and published_at <= $1
             order by published_at
             limit 1
             for update skip locked)
         returning id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, published_at as "published_at!", yanked_at, yank_reason"#,
        settled,
        now,
    )
    .fetch_optional(tx)
    .await?;
    Ok(release)
}
