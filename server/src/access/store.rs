//! What the database keeps of applications, attestations and grants.

use std::collections::HashMap;

use sqlx::PgConnection;
use sqlx::types::Json;

use super::answers::Answers;
use super::application::{Application, State};
use super::authorize::LatestApplication;
use super::check::Attestation;
use super::grant::{Grant, HeldGrant};
use crate::clock::Timestamp;
use crate::error::{Error, OnConstraint};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// The latest grant and the latest application of an account for one model.
pub(super) type Standings = (Option<Grant>, Option<LatestApplication>);

/// Where an account stands with a model.
pub(super) async fn standing(db: &mut PgConnection, account: AccountId, model: ModelId) -> Result<Standings, Error> {
    Ok(standings(db, account, vec![model]).await?.remove(&model).unwrap_or_default())
}

/// Where an account stands with each of these models, in one query.
pub(super) async fn standings(
    db: &mut PgConnection,
    account: AccountId,
    models: Vec<ModelId>,
) -> Result<HashMap<ModelId, Standings>, Error> {
    if models.is_empty() {
        return Ok(HashMap::new());
    }
    let models: Vec<uuid::Uuid> = models.into_iter().map(ModelId::uuid).collect();
    let rows = sqlx::query!(
        r#"select asked.model_id as "model_id!: ModelId",
                g.id as "grant_id?: GrantId", g.granted_at as "granted_at?", g.expires_at as "expires_at?", g.revoked_at, g.revoke_reason,
                a.id as "application_id?: ApplicationId", a.state as "state?"
         from unnest($2::uuid[]) asked(model_id)
         left join lateral (
             select id, granted_at, expires_at, revoked_at, revoke_reason
             from access_grant where account_id = $1 and model_id = asked.model_id
             order by (revoked_at is null) desc, granted_at desc, id desc limit 1) g on true
         left join lateral (
             select id, state from application where account_id = $1 and model_id = asked.model_id
             order by created_at desc, id desc limit 1) a on true"#,
        account.uuid(),
        &models,
    )
    .fetch_all(db)
    .await?;
    let standings = rows.into_iter().map(|row| {
        let grant = match (row.grant_id, row.granted_at, row.expires_at) {
            (Some(id), Some(granted_at), Some(expires_at)) => {
                Some(Grant { id, granted_at, expires_at, revoked_at: row.revoked_at, revoke_reason: row.revoke_reason })
            }
            _ => None,
        };
        let application = row.application_id.zip(row.state).map(|(id, state)| match state.as_str() {
            "draft" => LatestApplication::Draft,
            "submitted" => LatestApplication::Submitted(id),
            "declined" => LatestApplication::Declined(id),
            _ => LatestApplication::Closed,
        });
        (row.model_id, (grant, application))
    });
    Ok(standings.collect())
}

/// The columns of an application, as they lie in the table.
struct ApplicationRow {
    id: ApplicationId,
    account_id: AccountId,
    model_id: ModelId,
    answers: Json<Answers>,
    licence_sha256: Option<String>,
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
            created_at: self.created_at,
            updated_at: self.updated_at,
            state,
        })
    }
}

/// Begins an application unless one is open for this account and model (application_one_open_uq).
pub(super) async fn insert_unless_open(tx: &mut PgConnection, begun: &Application) -> Result<(), Error> {
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
pub(super) async fn lock_open(tx: &mut PgConnection, applicant: AccountId, model: ModelId) -> Result<Option<Application>, Error> {
    let row = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
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
pub(super) async fn lock(tx: &mut PgConnection, id: ApplicationId) -> Result<Application, Error> {
    let row = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where id = $1
         for update"#,
        id.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    row.map(ApplicationRow::application).transpose()?.ok_or(Error::NotFound("application"))
}

/// The application `id`.
pub(super) async fn find(db: &mut PgConnection, id: ApplicationId) -> Result<Application, Error> {
    let row = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where id = $1"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(ApplicationRow::application).transpose()?.ok_or(Error::NotFound("application"))
}

/// The newest applications of an account, newest first.
pub(super) async fn of_applicant(db: &mut PgConnection, account: AccountId, limit: i64) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
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
pub(super) async fn latest(db: &mut PgConnection, account: AccountId, model: ModelId) -> Result<Option<Application>, Error> {
    let row = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
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
pub(super) async fn waiting(db: &mut PgConnection, limit: i64) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
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
pub(super) async fn count_waiting(db: &mut PgConnection) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from application where state = 'submitted'"#).fetch_one(db).await?;
    Ok(count)
}

/// The applications decided last, the latest first.
pub(super) async fn decided(db: &mut PgConnection, limit: i64) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: ModelId", answers as "answers: Json<Answers>",
                licence_sha256, state, created_at, updated_at, submitted_at, closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text
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
pub(super) async fn sent_by(db: &mut PgConnection, accounts: &[AccountId]) -> Result<Vec<(AccountId, i64)>, Error> {
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
pub(super) async fn save(tx: &mut PgConnection, application: &Application) -> Result<(), Error> {
    let (closed_at, by, code, text) = match &application.state {
        State::Draft | State::Submitted { .. } => (None, None, None, None),
        State::Approved { by, at, note, .. } => (Some(*at), Some(*by), None, Some(note.as_str())),
        State::Declined { by, at, reason, text, .. } => (Some(*at), Some(*by), Some(reason.as_str()), Some(text.as_str())),
        State::Withdrawn { at, .. } => (Some(*at), None, None, None),
    };
    sqlx::query!(
        "update application
         set answers = $2, licence_sha256 = $3, state = $4, updated_at = $5, submitted_at = $6,
             closed_at = $7, decided_by = $8, decline_code = $9, decision_text = $10
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
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Adds what was attested, one record for each clause.
pub(super) async fn insert_attestations(tx: &mut PgConnection, id: ApplicationId, attestations: &[Attestation]) -> Result<(), Error> {
    let clauses: Vec<String> = attestations.iter().map(|attestation| attestation.clause.clone()).collect();
    let wordings: Vec<String> = attestations.iter().map(|attestation| attestation.wording.clone()).collect();
    let licences: Vec<Option<String>> = attestations.iter().map(|attestation| attestation.licence_sha256.clone()).collect();
    let times: Vec<Timestamp> = attestations.iter().map(|attestation| attestation.at).collect();
    sqlx::query!(
        "insert into attestation (application_id, clause, wording, licence_sha256, attested_at)
         select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[])",
        id.uuid(),
        &clauses,
        &wordings,
        &licences as _,
        &times,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What was attested with an application.
pub(super) async fn attestations(db: &mut PgConnection, id: ApplicationId) -> Result<Vec<Attestation>, Error> {
    let rows = sqlx::query_as!(
        Attestation,
        r#"select clause, wording, licence_sha256, attested_at as "at"
         from attestation where application_id = $1
         order by licence_sha256 is null, clause"#,
        id.uuid(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Who a grant is given to and why.
pub(super) struct GrantOrigin<'a> {
    pub(super) account: AccountId,
    pub(super) model: ModelId,
    pub(super) application: Option<ApplicationId>,
    pub(super) by: Option<AccountId>,
    pub(super) reason: &'a str,
}

/// Adds a grant. Errors: `Conflict` if the account has one for the model that was not closed (access_grant_one_live_uq).
pub(super) async fn insert_grant(tx: &mut PgConnection, grant: &Grant, origin: &GrantOrigin<'_>) -> Result<(), Error> {
    sqlx::query!(
        "insert into access_grant (id, account_id, model_id, application_id, granted_by, reason, granted_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        grant.id.uuid(),
        origin.account.uuid(),
        origin.model.uuid(),
        origin.application.map(ApplicationId::uuid),
        origin.by.map(AccountId::uuid),
        origin.reason,
        grant.granted_at,
        grant.expires_at,
    )
    .execute(tx)
    .await
    .on_constraint(
        "access_grant_one_live_uq",
        Error::Conflict("access to this model was granted at the same moment; nothing was changed".into()),
    )?;
    Ok(())
}

struct GrantRow {
    id: GrantId,
    account_id: AccountId,
    model_id: ModelId,
    application_id: Option<ApplicationId>,
    reason: String,
    granted_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
    revoke_reason: Option<String>,
}

impl GrantRow {
    fn held(self) -> HeldGrant {
        HeldGrant {
            grant: Grant {
                id: self.id,
                granted_at: self.granted_at,
                expires_at: self.expires_at,
                revoked_at: self.revoked_at,
                revoke_reason: self.revoke_reason,
            },
            account: self.account_id,
            model: self.model_id,
            application: self.application_id,
            reason: self.reason,
        }
    }
}

/// The grant `id`, locked until the end of the transaction.
pub(super) async fn lock_grant(tx: &mut PgConnection, id: GrantId) -> Result<HeldGrant, Error> {
    let row = sqlx::query_as!(
        GrantRow,
        r#"select id as "id: GrantId", account_id as "account_id: AccountId", model_id as "model_id: ModelId",
                application_id as "application_id: ApplicationId", reason, granted_at, expires_at, revoked_at, revoke_reason
         from access_grant where id = $1
         for update"#,
        id.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    row.map(GrantRow::held).ok_or(Error::NotFound("grant"))
}

/// The grant of an account for a model that was not closed or revoked, locked; it may have expired.
pub(super) async fn lock_unrevoked(tx: &mut PgConnection, holder: AccountId, model: ModelId) -> Result<Option<HeldGrant>, Error> {
    let row = sqlx::query_as!(
        GrantRow,
        r#"select id as "id: GrantId", account_id as "account_id: AccountId", model_id as "model_id: ModelId",
                application_id as "application_id: ApplicationId", reason, granted_at, expires_at, revoked_at, revoke_reason
         from access_grant where account_id = $1 and model_id = $2 and revoked_at is null
         for update"#,
        holder.uuid(),
        model.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(GrantRow::held))
}

/// Every grant an account ever had, the newest first.
pub(super) async fn grants(db: &mut PgConnection, account: AccountId, limit: i64) -> Result<Vec<HeldGrant>, Error> {
    let rows = sqlx::query_as!(
        GrantRow,
        r#"select id as "id: GrantId", account_id as "account_id: AccountId", model_id as "model_id: ModelId",
                application_id as "application_id: ApplicationId", reason, granted_at, expires_at, revoked_at, revoke_reason
         from access_grant where account_id = $1
         order by granted_at desc, id desc
         limit $2"#,
        account.uuid(),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(GrantRow::held).collect())
}

/// How many grants hold now.
pub(super) async fn count_held(db: &mut PgConnection, now: Timestamp) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from access_grant where revoked_at is null and expires_at > $1"#, now)
        .fetch_one(db)
        .await?;
    Ok(count)
}

/// Takes a grant back, or closes one that has expired.
pub(super) async fn revoke_grant(
    tx: &mut PgConnection,
    id: GrantId,
    by: Option<AccountId>,
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "update access_grant set revoked_at = $2, revoked_by = $3, revoke_reason = $4 where id = $1",
        id.uuid(),
        now,
        by.map(AccountId::uuid),
        reason,
    )
    .execute(tx)
    .await?;
    Ok(())
}
