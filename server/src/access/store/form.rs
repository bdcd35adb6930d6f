//! What the database keeps of application forms, and of which model asks which.

use sqlx::PgConnection;
use sqlx::types::Json;

use super::super::form::{Form, Layout};
use crate::clock::Timestamp;
use crate::error::{Error, OnConstraint};
use crate::ids::{AccountId, ModelId};

/// A form that was published for a model.
pub struct FormVersion {
    /// One for the first, and so on.
    pub version: i32,
    /// Its name.
    pub form_sha256: String,
    /// When it was published.
    pub since: Timestamp,
    /// By whom.
    pub published_by: AccountId,
}

/// The forms of these names; those that there are.
pub async fn find_forms(db: &mut PgConnection, names: &[String]) -> Result<Vec<Form>, Error> {
    let rows = sqlx::query!(r#"select sha256, body as "body: Json<Layout>" from form where sha256 = any($1)"#, names).fetch_all(db).await?;
    rows.into_iter().map(|row| Form::kept(row.body.0, &row.sha256)).collect()
}

/// The form that a model asks now, if one was published for it; and those of these names, if there are any.
pub async fn current_form(db: &mut PgConnection, model: ModelId, names: &[String]) -> Result<(Option<Form>, Vec<Form>), Error> {
    let rows = sqlx::query!(
        r#"with asked as (select form_sha256 from model_form where model_id = $1 order by version desc limit 1)
         select sha256, body as "body: Json<Layout>", sha256 in (select form_sha256 from asked) as "is_asked!"
         from form
         where sha256 in (select form_sha256 from asked) or sha256 = any($2)"#,
        model.uuid(),
        names,
    )
    .fetch_all(db)
    .await?;
    let (mut current, mut others) = (None, Vec::new());
    for row in rows {
        let form = Form::kept(row.body.0, &row.sha256)?;
        if names.contains(&row.sha256) {
            others.push(form.clone());
        }
        if row.is_asked {
            current = Some(form);
        }
    }
    Ok((current, others))
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

/// Every form that was published for a model, the newest first.
pub async fn form_versions(db: &mut PgConnection, model: ModelId) -> Result<Vec<FormVersion>, Error> {
    let versions = sqlx::query_as!(
        FormVersion,
        r#"select version, form_sha256, since, published_by as "published_by: AccountId"
         from model_form where model_id = $1
         order by version desc"#,
        model.uuid(),
    )
    .fetch_all(db)
    .await?;
    Ok(versions)
}

/// Lets a model ask a form from now on. Errors: `Conflict` if another was published at the same moment (model_form_pk).
pub async fn insert_form_version(tx: &mut PgConnection, model: ModelId, version: &FormVersion) -> Result<(), Error> {
    sqlx::query!(
        "insert into model_form (model_id, version, form_sha256, since, published_by) values ($1, $2, $3, $4, $5)",
        model.uuid(),
        version.version,
        version.form_sha256,
        version.since,
        version.published_by.uuid(),
    )
    .execute(tx)
    .await
    .on_constraint("model_form_pk", Error::Conflict("another form was published at the same moment; nothing was changed".into()))?;
    Ok(())
}
