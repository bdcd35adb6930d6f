//! What the database keeps of models, releases, files and objects.

use sqlx::PgConnection;

use super::model::{Gate, Model, Release, ReleaseFile, ReleaseName};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{ModelId, ReleaseId};

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
