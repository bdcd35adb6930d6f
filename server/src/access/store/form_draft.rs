//! What the database keeps of forms that are being written, and whom a new one would meet.

use sqlx::PgConnection;
use sqlx::types::Json;

use super::super::form::{Form, Layout};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, ModelId};

/// The next form of a model, while it is written.
pub struct FormDraft {
    /// As far as it has come; it may break rules.
    pub layout: Layout,
    /// Another number after every change.
    pub edition: i64,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// Who changed it last.
    pub updated_by: AccountId,
}

struct Row {
    body: Json<Layout>,
    edition: i64,
    updated_at: Timestamp,
    updated_by: AccountId,
}

impl Row {
    fn draft(self) -> FormDraft {
        FormDraft { layout: self.body.0, edition: self.edition, updated_at: self.updated_at, updated_by: self.updated_by }
    }
}

/// The draft of a model's next form, if one was begun.
pub async fn find_form_draft(db: &mut PgConnection, model: ModelId) -> Result<Option<FormDraft>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select body as "body: Json<Layout>", edition, updated_at, updated_by as "updated_by: AccountId" from form_draft where model_id = $1"#,
        model.uuid(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Row::draft))
}

/// The same, locked until the end of the transaction.
pub async fn lock_form_draft(tx: &mut PgConnection, id: ModelId) -> Result<Option<FormDraft>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select body as "body: Json<Layout>", edition, updated_at, updated_by as "updated_by: AccountId" from form_draft
         where model_id = $1
         for update"#,
        id.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(Row::draft))
}

/// A model's form at work: the draft of the next one, and what is asked now.
pub struct FormWork {
    /// The draft, if one was begun.
    pub draft: Option<FormDraft>,
    /// The version that is asked now, if one was published; else it is the built-in one.
    pub asked: Option<(i32, Form)>,
}

/// The draft of a model's next form beside the form that it asks now.
pub async fn form_work(db: &mut PgConnection, model: ModelId) -> Result<FormWork, Error> {
    let row = sqlx::query!(
        r#"select d.body as "draft?: Json<Layout>", d.edition as "edition?", d.updated_at as "updated_at?",
                d.updated_by as "updated_by?: AccountId", m.version as "version?", f.sha256 as "sha256?", f.body as "asked?: Json<Layout>"
         from (values ($1::uuid)) worked_on(model_id)
         left join form_draft d using (model_id)
         left join lateral (
             select version, form_sha256 from model_form where model_id = worked_on.model_id
             order by version desc limit 1) m on true
         left join form f on f.sha256 = m.form_sha256"#,
        model.uuid(),
    )
    .fetch_one(db)
    .await?;
    let draft = match (row.draft, row.edition, row.updated_at, row.updated_by) {
        (Some(body), Some(edition), Some(updated_at), Some(updated_by)) => Some(Row { body, edition, updated_at, updated_by }.draft()),
        _ => None,
    };
    let asked = match (row.version, row.asked, row.sha256) {
        (Some(version), Some(body), Some(sha256)) => Some((version, Form::kept(body.0, &sha256)?)),
        _ => None,
    };
    Ok(FormWork { draft, asked })
}

/// Begins a draft. Says whether it did, or there was one.
pub async fn insert_form_draft(
    tx: &mut PgConnection,
    model: ModelId,
    layout: &Layout,
    by: AccountId,
    now: Timestamp,
) -> Result<bool, Error> {
    let inserted = sqlx::query!(
        "insert into form_draft (model_id, body, updated_at, updated_by) values ($1, $2, $3, $4) on conflict (model_id) do nothing",
        model.uuid(),
        Json(layout) as _,
        now,
        by.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Writes a draft as it is now, as a new edition.
pub async fn update_form_draft(tx: &mut PgConnection, model: ModelId, layout: &Layout, by: AccountId, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update form_draft
         set body = $2, edition = nextval('form_draft_edition'), updated_at = $3, updated_by = $4
         where model_id = $1",
        model.uuid(),
        Json(layout) as _,
        now,
        by.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes a draft away.
pub async fn delete_form_draft(tx: &mut PgConnection, model: ModelId) -> Result<(), Error> {
    sqlx::query!("delete from form_draft where model_id = $1", model.uuid()).execute(tx).await?;
    Ok(())
}

/// Whom another form for a model would meet.
pub struct Affected {
    /// Applications that were begun and never sent.
    pub drafts: i64,
    /// Those of them that hold an answer to one of the questions that were asked about.
    pub drafts_with_answers: i64,
    /// Applications that were sent and are not decided.
    pub waiting: i64,
    /// Those who have access now.
    pub holders: i64,
}

/// Whom another form would meet; `fields`: the names of what is not asked any more.
pub async fn affected_by_form(db: &mut PgConnection, model: ModelId, fields: &[String], now: Timestamp) -> Result<Affected, Error> {
    let affected = sqlx::query_as!(
        Affected,
        r#"select count(*) filter (where submitted_at is null) as "drafts!",
                count(*) filter (where submitted_at is null and answers ?| $2) as "drafts_with_answers!",
                count(*) filter (where submitted_at is not null) as "waiting!",
                (select count(*) from access_grant where model_id = $1 and revoked_at is null and expires_at > $3) as "holders!"
         from application where model_id = $1 and closed_at is null"#,
        model.uuid(),
        fields,
        now,
    )
    .fetch_one(db)
    .await?;
    Ok(affected)
}

/// The applications of a model that were sent and are not decided, with their applicants, the longest waiting first.
pub async fn waiting_for_model(db: &mut PgConnection, model: ModelId, limit: i64) -> Result<Vec<(ApplicationId, AccountId)>, Error> {
    let rows = sqlx::query!(
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId"
         from application where model_id = $1 and submitted_at is not null and closed_at is null
         order by submitted_at, id
         limit $2"#,
        model.uuid(),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.account_id)).collect())
}
