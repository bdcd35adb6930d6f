//! What the database keeps of models, releases, files and objects.

use sqlx::PgConnection;

use super::model::{Gate, Licence, Model, Release, ReleaseFile, ReleaseName};
use super::model_name::ModelName;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ModelId, ReleaseId};
use crate::integrity::Digests;

/// Whether the database can be asked for these: its texts hold no zero byte, addresses may.
fn is_text<const N: usize>(parts: [&str; N]) -> bool {
    parts.iter().all(|part| !part.contains('\0'))
}

struct ModelRow {
    id: ModelId,
    org: String,
    name: String,
    gate: String,
    licence_sha256: Option<String>,
    summary: String,
    created_at: Timestamp,
}

impl ModelRow {
    fn model(self) -> Model {
        let gate: Gate = self.gate.parse().expect("model_gate_ck allows only known gates");
        Model {
            id: self.id,
            org: self.org,
            name: self.name,
            gate,
            licence_sha256: self.licence_sha256,
            summary: self.summary,
            created_at: self.created_at,
        }
    }
}

/// The model `org/name`, whatever the case of the letters; compare with [`Model::full_name`] to redirect to the right spelling.
pub async fn find_model(db: &mut PgConnection, org: &str, name: &str) -> Result<Option<Model>, Error> {
    if !is_text([org, name]) {
        return Ok(None);
    }
    let row = sqlx::query_as!(
        ModelRow,
        r#"select id as "id: ModelId", org, name, gate, licence_sha256, summary, created_at
         from model where lower(org) = lower($1) and lower(name) = lower($2)"#,
        org,
        name,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(ModelRow::model))
}

/// The model `id`.
pub async fn find_model_by_id(db: &mut PgConnection, id: ModelId) -> Result<Model, Error> {
    let row = sqlx::query_as!(
        ModelRow,
        r#"select id as "id: ModelId", org, name, gate, licence_sha256, summary, created_at
         from model where id = $1"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(ModelRow::model).ok_or(Error::NotFound("model"))
}

/// The models of these ids, in no order.
pub async fn find_models(db: &mut PgConnection, ids: &[ModelId]) -> Result<Vec<Model>, Error> {
    let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query_as!(
        ModelRow,
        r#"select id as "id: ModelId", org, name, gate, licence_sha256, summary, created_at
         from model where id = any($1)"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(ModelRow::model).collect())
}

/// Every model, with a release or without, by name.
pub async fn list_all_models(db: &mut PgConnection, limit: i64) -> Result<Vec<Model>, Error> {
    let rows = sqlx::query_as!(
        ModelRow,
        r#"select id as "id: ModelId", org, name, gate, licence_sha256, summary, created_at
         from model
         order by lower(org), lower(name)
         limit $1"#,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(ModelRow::model).collect())
}

/// Changes who may have a model; says whether that was a change.
pub(super) async fn set_gate(tx: &mut PgConnection, id: ModelId, gate: Gate) -> Result<bool, Error> {
    let done = sqlx::query!("update model set gate = $2 where id = $1 and gate <> $2", id.uuid(), gate.as_str()).execute(tx).await?;
    Ok(done.rows_affected() > 0)
}

/// Models that have a release and whose name contains `search`, of one gate if asked for, by name.
pub async fn list_models(db: &mut PgConnection, search: &str, gate: Option<Gate>, limit: i64) -> Result<Vec<Model>, Error> {
    let rows = sqlx::query_as!(
        ModelRow,
        r#"select id as "id: ModelId", org, name, gate, licence_sha256, summary, created_at
         from model m
         where ($1 = '' or strpos(lower(org || '/' || name || ' ' || summary), lower($1)) > 0)
           and ($2::text is null or gate = $2)
           and exists (select 1 from release_name n where n.model_id = m.id and n.name = 'main')
         order by lower(org), lower(name)
         limit $3"#,
        search,
        gate.map(Gate::as_str),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(ModelRow::model).collect())
}

/// The release that `revision` means for a model: a branch, a tag, or at least 7 digits of a revision that no other begins with.
pub async fn resolve(db: &mut PgConnection, model: ModelId, revision: &str) -> Result<Option<Release>, Error> {
    if !is_text([revision]) {
        return Ok(None);
    }
    let is_hex = (7..=40).contains(&revision.len()) && revision.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut found = sqlx::query_as!(
        Release,
        r#"select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, published_at
         from release
         where model_id = $1
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

/// The release `id`.
pub async fn release(db: &mut PgConnection, id: ReleaseId) -> Result<Release, Error> {
    sqlx::query_as!(
        Release,
        r#"select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, published_at
         from release where id = $1"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?
    .ok_or(Error::NotFound("release"))
}

/// Every file of a release, by path.
pub async fn files(db: &mut PgConnection, release: ReleaseId) -> Result<Vec<ReleaseFile>, Error> {
    let files = sqlx::query_as!(
        ReleaseFile,
        r#"select f.path, o.size_bytes, o.sha256, o.blake3, o.git_sha1, f.is_lfs
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
        r#"select f.path, o.size_bytes, o.sha256, o.blake3, o.git_sha1, f.is_lfs
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

/// Serialises the publications of one model until the transaction ends, whether the model is there already or not.
pub(super) async fn lock_publication(tx: &mut PgConnection, name: &ModelName) -> Result<(), Error> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('publish ' || lower($1), 0))", name.to_string()).execute(tx).await?;
    Ok(())
}

/// Which of these models are on offer, by full name; nothing if any other is.
pub(super) async fn only_these_models(db: &mut PgConnection, names: &[String]) -> Result<Option<Vec<String>>, Error> {
    let on_offer = sqlx::query_scalar!(r#"select org || '/' || name as "name!" from model"#).fetch_all(db).await?;
    Ok(on_offer.iter().all(|name| names.contains(name)).then_some(on_offer))
}

/// Offers a new model.
pub(super) async fn insert_model(tx: &mut PgConnection, model: &Model) -> Result<(), Error> {
    sqlx::query!(
        "insert into model (id, org, name, gate, licence_sha256, summary, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        model.id.uuid(),
        model.org,
        model.name,
        model.gate.as_str(),
        model.licence_sha256,
        model.summary,
        model.created_at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Saves what a publication may change of a model: gate, licence, summary.
pub(super) async fn save_model(tx: &mut PgConnection, model: &Model) -> Result<(), Error> {
    sqlx::query!(
        "update model set gate = $2, licence_sha256 = $3, summary = $4 where id = $1",
        model.id.uuid(),
        model.gate.as_str(),
        model.licence_sha256,
        model.summary,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Keeps a licence's text; one that is kept already stays as it is.
pub(super) async fn insert_licence(tx: &mut PgConnection, licence: &Licence, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into licence (sha256, name, body, created_at) values ($1, $2, $3, $4) on conflict (sha256) do nothing",
        licence.sha256,
        licence.name,
        licence.body,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The licence with this digest.
pub async fn licence(db: &mut PgConnection, sha256: &str) -> Result<Option<Licence>, Error> {
    let licence = sqlx::query_as!(Licence, "select sha256, name, body from licence where sha256 = $1", sha256).fetch_optional(db).await?;
    Ok(licence)
}

/// Whether an object of just this size is on record.
pub(super) async fn any_object_of_size(db: &mut PgConnection, size_bytes: u64) -> Result<bool, Error> {
    let any = sqlx::query_scalar!(
        r#"select exists (select 1 from object where size_bytes = $1) as "any!""#,
        i64::try_from(size_bytes).map_err(Error::internal)?
    )
    .fetch_one(db)
    .await?;
    Ok(any)
}

/// Whether the object with this content is on record.
pub(super) async fn object_is_known(db: &mut PgConnection, sha256: &str) -> Result<bool, Error> {
    let known = sqlx::query_scalar!(r#"select exists (select 1 from object where sha256 = $1) as "known!""#, sha256).fetch_one(db).await?;
    Ok(known)
}

/// Puts an object on record that is complete in the store; one that is on record stays as it is.
pub(super) async fn insert_object(db: &mut PgConnection, digests: &Digests, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into object (sha256, blake3, git_sha1, size_bytes, created_at)
         values ($1, $2, $3, $4, $5) on conflict (sha256) do nothing",
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

/// Adds a release.
pub(super) async fn insert_release(tx: &mut PgConnection, release: &Release, by: Option<AccountId>) -> Result<(), Error> {
    sqlx::query!(
        "insert into release (id, model_id, revision, notes, config_json, published_at, published_by)
         values ($1, $2, $3, $4, $5, $6, $7)",
        release.id.uuid(),
        release.model_id.uuid(),
        release.revision,
        release.notes,
        release.config_json,
        release.published_at,
        by.map(AccountId::uuid),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Adds the files of a release; their objects are on record.
pub(super) async fn insert_files(tx: &mut PgConnection, release: ReleaseId, files: &[ReleaseFile]) -> Result<(), Error> {
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
pub(super) async fn point(
    tx: &mut PgConnection,
    model: ModelId,
    name: &str,
    is_tag: bool,
    release: ReleaseId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into release_name (model_id, name, kind, release_id, moved_at) values ($1, $2, $3, $4, $5)
         on conflict (model_id, name) do update set release_id = excluded.release_id, moved_at = excluded.moved_at",
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

/// Every release of a model, newest first, at most `limit`.
pub async fn releases(db: &mut PgConnection, model: ModelId, limit: i64) -> Result<Vec<Release>, Error> {
    let releases = sqlx::query_as!(
        Release,
        r#"select id as "id: ReleaseId", model_id as "model_id: ModelId", revision, notes, config_json, published_at
         from release where model_id = $1
         order by published_at desc, id desc
         limit $2"#,
        model.uuid(),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(releases)
}
