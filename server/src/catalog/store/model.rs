//! What the database keeps of models and their licences.

use sqlx::PgConnection;

use super::super::model::{Gate, Licence, Model};
use super::super::model_name::ModelName;
use super::is_text;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::ModelId;

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

/// The model `org/name` if it is on offer, whatever the case of the letters; compare with [`Model::full_name`] to redirect to the right
/// spelling. One that has only drafts is not.
pub async fn find_model(db: &mut PgConnection, org: &str, name: &str) -> Result<Option<Model>, Error> {
    if !is_text([org, name]) {
        return Ok(None);
    }
    let row = sqlx::query_as!(
        ModelRow,
        r#"select id as "id: ModelId", org, name, gate, licence_sha256, summary, created_at
         from model m
         where lower(org) = lower($1) and lower(name) = lower($2)
           and exists (select 1 from release_name n where n.model_id = m.id and n.name = 'main')"#,
        org,
        name,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(ModelRow::model))
}

/// The same for those who run the portal: also one that has nothing but drafts.
pub async fn find_any_model(db: &mut PgConnection, org: &str, name: &str) -> Result<Option<Model>, Error> {
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

/// The same, from behind the model `after` (its two names) on.
pub async fn all_models_after(db: &mut PgConnection, after: Option<(&str, &str)>, limit: i64) -> Result<Vec<Model>, Error> {
    let (org, name) = after.unwrap_or_default();
    if !is_text([org, name]) {
        return Ok(vec![]);
    }
    let rows = sqlx::query_as!(
        ModelRow,
        r#"select id as "id: ModelId", org, name, gate, licence_sha256, summary, created_at
         from model
         where (lower(org), lower(name)) > (lower($1), lower($2))
         order by lower(org), lower(name)
         limit $3"#,
        org,
        name,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(ModelRow::model).collect())
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

/// The same, from behind the model `after` (its two names) on.
pub async fn models_after(
    db: &mut PgConnection,
    search: &str,
    gate: Option<Gate>,
    after: Option<(&str, &str)>,
    limit: i64,
) -> Result<Vec<Model>, Error> {
    let (org, name) = after.unwrap_or_default();
    if !is_text([org, name]) {
        return Ok(vec![]);
    }
    let rows = sqlx::query_as!(
        ModelRow,
        r#"select id as "id: ModelId", org, name, gate, licence_sha256, summary, created_at
         from model m
         where ($1 = '' or strpos(lower(org || '/' || name || ' ' || summary), lower($1)) > 0)
           and ($2::text is null or gate = $2)
           and (lower(org), lower(name)) > (lower($3), lower($4))
           and exists (select 1 from release_name n where n.model_id = m.id and n.name = 'main')
         order by lower(org), lower(name)
         limit $5"#,
        search,
        gate.map(Gate::as_str),
        org,
        name,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(ModelRow::model).collect())
}

/// Which of these models are on offer, by full name; nothing if any other is.
pub async fn only_these_models(db: &mut PgConnection, names: &[String]) -> Result<Option<Vec<String>>, Error> {
    let on_offer = sqlx::query_scalar!(r#"select org || '/' || name as "name!" from model"#).fetch_all(db).await?;
    Ok(on_offer.iter().all(|name| names.contains(name)).then_some(on_offer))
}

/// Serialises the publications of one model until the transaction ends, whether the model is there already or not.
pub async fn lock_publication(tx: &mut PgConnection, name: &ModelName) -> Result<(), Error> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('publish ' || lower($1), 0))", name.to_string()).execute(tx).await?;
    Ok(())
}

/// The same, however long another publication of the model takes.
pub async fn await_publication(tx: &mut PgConnection, name: &ModelName) -> Result<(), Error> {
    sqlx::query!("set local lock_timeout = 0").execute(&mut *tx).await?;
    lock_publication(tx, name).await?;
    sqlx::query!("set local lock_timeout = '5s'").execute(tx).await?;
    Ok(())
}

/// Adds a model, which nobody sees before it has a release.
pub async fn insert_model(tx: &mut PgConnection, model: &Model) -> Result<(), Error> {
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

/// Saves what a publication may change of a model: gate, licence, summary, and since when it is offered.
pub async fn save_model(tx: &mut PgConnection, model: &Model) -> Result<(), Error> {
    sqlx::query!(
        "update model set gate = $2, licence_sha256 = $3, summary = $4, created_at = $5 where id = $1",
        model.id.uuid(),
        model.gate.as_str(),
        model.licence_sha256,
        model.summary,
        model.created_at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Changes who may have a model; says whether that was a change.
pub async fn set_gate(tx: &mut PgConnection, id: ModelId, gate: Gate) -> Result<bool, Error> {
    let done = sqlx::query!("update model set gate = $2 where id = $1 and gate <> $2", id.uuid(), gate.as_str()).execute(tx).await?;
    Ok(done.rows_affected() > 0)
}

/// Keeps a licence's text; one that is kept already stays as it is.
pub async fn insert_licence(tx: &mut PgConnection, licence: &Licence, now: Timestamp) -> Result<(), Error> {
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
