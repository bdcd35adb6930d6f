//! What the database keeps of application forms, and of which model asks which.

use sqlx::PgConnection;
use sqlx::types::Json;

use super::super::form::{Form, Layout};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ModelId};

/// The forms of these names; those that there are.
pub async fn find_forms(db: &mut PgConnection, names: &[String]) -> Result<Vec<Form>, Error> {
    let rows = sqlx::query!(r#"select sha256, body as "body: Json<Layout>" from form where sha256 = any($1)"#, names).fetch_all(db).await?;
    rows.into_iter().map(|row| Form::kept(row.body.0, &row.sha256)).collect()
}

/// The form that a model asks now, if one was published for it.
pub async fn current_form(db: &mut PgConnection, model: ModelId) -> Result<Option<Form>, Error> {
    let row = sqlx::query!(
        r#"select f.sha256, f.body as "body: Json<Layout>"
         from model_form m
         join form f on f.sha256 = m.form_sha256
         where m.model_id = $1
         order by m.version desc
         limit 1"#,
        model.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| Form::kept(row.body.0, &row.sha256)).transpose()
}

/// Keeps a form for ever. One that is kept already stays as it is.
pub async fn insert_form(tx: &mut PgConnection, form: &Form, by: Option<AccountId>, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into form (sha256, body, made_at, made_by) values ($1, $2, $3, $4) on conflict (sha256) do nothing",
        form.sha256(),
        Json(form.layout()) as _,
        now,
        by.map(AccountId::uuid),
    )
    .execute(tx)
    .await?;
    Ok(())
}
