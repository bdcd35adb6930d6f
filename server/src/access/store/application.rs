//! What the database keeps of applications.

use sqlx::PgConnection;
use sqlx::types::Json;

use super::super::answers::Answers;
use super::super::application::Application;
use super::super::state::State;
use super::application_row::ApplicationRow;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, ModelId};

/// Begins an application unless one is open for this account and model (application_one_open_uq).
pub async fn insert_unless_open(tx: &mut PgConnection, begun: &Application) -> Result<(), Error> {
    sqlx::query!(
        "insert into application (id, account_id, model_id, answers, state, created_at, updated_at)
         values ($1, $2, $3, $4, 'draft', $5, $5)
         on conflict (account_id, model_id) where state in ('draft', 'submitted', 'changes_requested') do nothing",
        begun.id.uuid(),
        begun.applicant.uuid(),
        begun.model.uuid(),
        Json(&begun.answers) as _,
        begun.created_at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The open application of an account for a model, locked.
pub async fn lock_open(tx: &mut PgConnection, applicant: AccountId, model: ModelId) -> Result<Option<Application>, Error> {
    let row = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", version,
                answers as "answers: Json<Answers>", licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at,
                claimed_by as "claimed_by: AccountId", claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text,
                changes_fields, appealed_at, appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at,
                decided_by as "decided_by: AccountId", decline_code, decision_text
         from application
         where account_id = $1 and model_id = $2 and state in ('draft', 'submitted', 'changes_requested')
         for update"#,
        applicant.uuid(),
        model.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    row.map(ApplicationRow::application).transpose()
}

/// The application `id`, locked until the end of the transaction.
pub async fn lock(tx: &mut PgConnection, id: ApplicationId) -> Result<Application, Error> {
    let row = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", version,
                answers as "answers: Json<Answers>", licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at,
                claimed_by as "claimed_by: AccountId", claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text,
                changes_fields, appealed_at, appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at,
                decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where id = $1
         for update"#,
        id.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    row.map(ApplicationRow::application).transpose()?.ok_or(Error::NotFound("application"))
}

/// The application `id`.
pub async fn find(db: &mut PgConnection, id: ApplicationId) -> Result<Application, Error> {
    let row = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", version,
                answers as "answers: Json<Answers>", licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at,
                claimed_by as "claimed_by: AccountId", claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text,
                changes_fields, appealed_at, appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at,
                decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where id = $1"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(ApplicationRow::application).transpose()?.ok_or(Error::NotFound("application"))
}

/// The applications of these ids, in the order of the ids.
pub async fn find_all(db: &mut PgConnection, ids: &[ApplicationId]) -> Result<Vec<Application>, Error> {
    let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", version,
                answers as "answers: Json<Answers>", licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at,
                claimed_by as "claimed_by: AccountId", claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text,
                changes_fields, appealed_at, appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at,
                decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where id = any($1)
         order by array_position($1, id)"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ApplicationRow::application).collect()
}

/// The newest applications of an account, newest first.
pub async fn of_applicant(db: &mut PgConnection, account: AccountId, limit: i64) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", version,
                answers as "answers: Json<Answers>", licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at,
                claimed_by as "claimed_by: AccountId", claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text,
                changes_fields, appealed_at, appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at,
                decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where account_id = $1
         order by created_at desc, id desc
         limit $2"#,
        account.uuid(),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ApplicationRow::application).collect()
}

/// The applications of an account, newest first, from behind `after` on.
pub async fn of_applicant_after(
    db: &mut PgConnection,
    account: AccountId,
    after: Option<ApplicationId>,
    limit: i64,
) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", version,
                answers as "answers: Json<Answers>", licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at,
                claimed_by as "claimed_by: AccountId", claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text,
                changes_fields, appealed_at, appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at,
                decided_by as "decided_by: AccountId", decline_code, decision_text
         from application
         where account_id = $1
           and ($2::uuid is null or (created_at, id) < ((select created_at from application where id = $2 and account_id = $1), $2))
         order by created_at desc, id desc
         limit $3"#,
        account.uuid(),
        after.map(ApplicationId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ApplicationRow::application).collect()
}

/// The application of an account for a model that is open, or else the newest.
pub async fn latest(db: &mut PgConnection, account: AccountId, model: ModelId) -> Result<Option<Application>, Error> {
    let row = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", version,
                answers as "answers: Json<Answers>", licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at,
                claimed_by as "claimed_by: AccountId", claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text,
                changes_fields, appealed_at, appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at,
                decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where account_id = $1 and model_id = $2
         order by (state in ('draft', 'submitted', 'changes_requested')) desc, created_at desc, id desc
         limit 1"#,
        account.uuid(),
        model.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(ApplicationRow::application).transpose()
}

/// How many applications wait for a reviewer.
pub async fn count_waiting(db: &mut PgConnection) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from application where state = 'submitted'"#).fetch_one(db).await?;
    Ok(count)
}

/// Writes what may change about an application.
pub async fn save(tx: &mut PgConnection, application: &Application) -> Result<(), Error> {
    let sent = application.state.sent();
    let claim = sent.and_then(|sent| sent.claim);
    let appeal = sent.and_then(|sent| sent.appeal.as_ref());
    let changes = match &application.state {
        State::ChangesRequested { changes, .. } => Some(changes),
        _ => None,
    };
    let (closed_at, by, code, text) = match &application.state {
        State::Draft | State::Submitted(_) | State::ChangesRequested { .. } => (None, None, None, None),
        State::Approved { by, at, note, .. } => (Some(*at), Some(*by), None, Some(note.as_str())),
        State::Declined { by, at, reason, text, .. } => (Some(*at), Some(*by), Some(reason.as_str()), Some(text.as_str())),
        State::Withdrawn { at, .. } | State::Lapsed { at, .. } => (Some(*at), None, None, None),
    };
    sqlx::query!(
        "update application
         set version = $2, answers = $3, licence_sha256 = $4, state = $5, updated_at = $6, submitted_at = $7, due_at = $8,
             claimed_by = $9, claimed_at = $10, changes_by = $11, changes_at = $12, changes_text = $13, changes_fields = $14,
             appealed_at = $15, appeal_text = $16, appeal_against = $17, closed_at = $18, decided_by = $19, decline_code = $20,
             decision_text = $21, form_sha256 = $22, appealed_decline_at = $23, lapse_told_at = case when state = $5 then lapse_told_at end
         where id = $1",
        application.id.uuid(),
        application.version,
        Json(&application.answers) as _,
        application.licence_sha256,
        application.state.as_str(),
        application.updated_at,
        sent.map(|sent| sent.at),
        sent.map(|sent| sent.due_at),
        claim.map(|claim| claim.by.uuid()),
        claim.map(|claim| claim.at),
        changes.map(|changes| changes.by.uuid()),
        changes.map(|changes| changes.at),
        changes.map(|changes| changes.text.as_str()),
        changes.map(|changes| changes.fields.as_slice()),
        appeal.map(|appeal| appeal.at),
        appeal.map(|appeal| appeal.text.as_str()),
        appeal.map(|appeal| appeal.against.uuid()),
        closed_at,
        by.map(AccountId::uuid),
        code,
        text,
        application.form_sha256,
        appeal.map(|appeal| appeal.declined_at),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether it is this account's application.
pub async fn is_applicant(db: &mut PgConnection, account: AccountId, id: ApplicationId) -> Result<bool, Error> {
    let is = sqlx::query_scalar!(
        r#"select exists (select from application where id = $1 and account_id = $2) as "is!""#,
        id.uuid(),
        account.uuid()
    );
    Ok(is.fetch_one(db).await?)
}

/// The applications for a model that are in this state, in the order they were begun, from behind `after` on.
pub async fn of_model(
    db: &mut PgConnection,
    model: ModelId,
    state: &str,
    after: Option<ApplicationId>,
    limit: i64,
) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", version,
                answers as "answers: Json<Answers>", licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at,
                claimed_by as "claimed_by: AccountId", claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text,
                changes_fields, appealed_at, appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at,
                decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where model_id = $1 and state = $2 and ($3::uuid is null or id > $3)
         order by id
         limit $4"#,
        model.uuid(),
        state,
        after.map(ApplicationId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ApplicationRow::application).collect()
}
