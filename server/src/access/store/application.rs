//! What the database keeps of applications.

use sqlx::PgConnection;
use sqlx::types::Json;

use super::super::answers::Answers;
use super::super::application::{Application, State};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, ModelId};

/// The columns of an application, as they lie in the table.
struct ApplicationRow {
    id: ApplicationId,
    account_id: AccountId,
    model_id: ModelId,
    answers: Json<Answers>,
    licence_sha256: Option<String>,
    form_sha256: Option<String>,
    state: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    submitted_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    decided_by: Option<AccountId>,
    decline_code: Option<String>,
    decision_text: Option<String>,
}

impl ApplicationRow {
    fn application(self) -> Result<Application, Error> {
        let (submitted_at, text) = (self.submitted_at, self.decision_text.unwrap_or_default());
        let state = match (self.state.as_str(), submitted_at, self.closed_at, self.decided_by, self.decline_code) {
            ("draft", None, None, None, None) => State::Draft,
            ("submitted", Some(at), None, None, None) => State::Submitted { at },
            ("approved", Some(submitted_at), Some(at), Some(by), None) => State::Approved { submitted_at, by, at, note: text },
            ("declined", Some(submitted_at), Some(at), Some(by), Some(code)) => {
                let reason =
                    code.parse().map_err(|_| Error::internal(format!("{} was declined for the unknown reason {code}", self.id)))?;
                State::Declined { submitted_at, by, at, reason, text }
            }
            ("withdrawn", submitted_at, Some(at), None, None) => State::Withdrawn { submitted_at, at },
            (state, ..) => return Err(Error::internal(format!("{} is {state:?}, and its columns do not agree", self.id))),
        };
        Ok(Application {
            id: self.id,
            applicant: self.account_id,
            model: self.model_id,
            answers: self.answers.0,
            licence_sha256: self.licence_sha256,
            form_sha256: self.form_sha256,
            created_at: self.created_at,
            updated_at: self.updated_at,
            state,
        })
    }
}

/// Begins an application unless one is open for this account and model (application_one_open_uq).
pub async fn insert_unless_open(tx: &mut PgConnection, begun: &Application) -> Result<(), Error> {
    sqlx::query!(
        "insert into application (id, account_id, model_id, answers, state, created_at, updated_at)
         values ($1, $2, $3, $4, 'draft', $5, $5)
         on conflict (account_id, model_id) where state in ('draft', 'submitted') do nothing",
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
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
         from application
         where account_id = $1 and model_id = $2 and state in ('draft', 'submitted')
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
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
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
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where id = $1"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(ApplicationRow::application).transpose()?.ok_or(Error::NotFound("application"))
}

/// The newest applications of an account, newest first.
pub async fn of_applicant(db: &mut PgConnection, account: AccountId, limit: i64) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
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

/// The newest application of an account for a model.
pub async fn latest(db: &mut PgConnection, account: AccountId, model: ModelId) -> Result<Option<Application>, Error> {
    let row = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where account_id = $1 and model_id = $2
         order by created_at desc, id desc
         limit 1"#,
        account.uuid(),
        model.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(ApplicationRow::application).transpose()
}

/// The applications that wait for a reviewer, the longest waiting first.
pub async fn waiting(db: &mut PgConnection, limit: i64) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where state = 'submitted'
         order by submitted_at, id
         limit $1"#,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ApplicationRow::application).collect()
}

/// How many applications wait for a reviewer.
pub async fn count_waiting(db: &mut PgConnection) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from application where state = 'submitted'"#).fetch_one(db).await?;
    Ok(count)
}

/// The applications decided last, the latest first.
pub async fn decided(db: &mut PgConnection, limit: i64) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where state in ('approved', 'declined')
         order by closed_at desc, id
         limit $1"#,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ApplicationRow::application).collect()
}

/// How many applications each of these accounts has sent, ever.
pub async fn sent_by(db: &mut PgConnection, accounts: &[AccountId]) -> Result<Vec<(AccountId, i64)>, Error> {
    let accounts: Vec<uuid::Uuid> = accounts.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"select account_id as "account_id: AccountId", count(*) as "count!"
         from application
         where account_id = any($1) and submitted_at is not null
         group by account_id"#,
        &accounts,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.count)).collect())
}

/// Writes what may change about an application.
pub async fn save(tx: &mut PgConnection, application: &Application) -> Result<(), Error> {
    let (closed_at, by, code, text) = match &application.state {
        State::Draft | State::Submitted { .. } => (None, None, None, None),
        State::Approved { by, at, note, .. } => (Some(*at), Some(*by), None, Some(note.as_str())),
        State::Declined { by, at, reason, text, .. } => (Some(*at), Some(*by), Some(reason.as_str()), Some(text.as_str())),
        State::Withdrawn { at, .. } => (Some(*at), None, None, None),
    };
    sqlx::query!(
        "update application
         set answers = $2, licence_sha256 = $3, state = $4, updated_at = $5, submitted_at = $6,
             closed_at = $7, decided_by = $8, decline_code = $9, decision_text = $10, form_sha256 = $11
         where id = $1",
        application.id.uuid(),
        Json(&application.answers) as _,
        application.licence_sha256,
        application.state.as_str(),
        application.updated_at,
        application.state.submitted_at(),
        closed_at,
        by.map(AccountId::uuid),
        code,
        text,
        application.form_sha256,
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
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
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
