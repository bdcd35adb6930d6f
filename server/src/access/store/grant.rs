//! What the database keeps of grants.

use sqlx::PgConnection;

use super::super::grant::{Ended, Grant, HeldGrant, Note};
use super::super::held::Counts;
use super::super::scope::GrantScope;
use crate::clock::Timestamp;
use crate::error::{Error, OnConstraint};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// Who a grant is given to and why.
pub struct GrantOrigin<'a> {
    pub account: AccountId,
    pub model: ModelId,
    pub application: Option<ApplicationId>,
    pub by: Option<AccountId>,
    pub reason: &'a str,
}

/// Adds a grant. Errors: `Conflict` if the account has one for the model that was not closed (access_grant_one_live_uq).
pub async fn insert_grant(tx: &mut PgConnection, grant: &Grant, origin: &GrantOrigin<'_>) -> Result<(), Error> {
    sqlx::query!(
        "insert into access_grant (id, account_id, model_id, application_id, granted_by, reason, granted_at, expires_at, scopes)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        grant.id.uuid(),
        origin.account.uuid(),
        origin.model.uuid(),
        origin.application.map(ApplicationId::uuid),
        origin.by.map(AccountId::uuid),
        origin.reason,
        grant.granted_at,
        grant.expires_at,
        &GrantScope::written(&grant.scopes),
    )
    .execute(tx)
    .await
    .on_constraint(
        "access_grant_one_live_uq",
        Error::Conflict("access to this model was granted at the same moment; nothing was changed".into()),
    )?;
    Ok(())
}

/// A row of `grant_standing`: a grant with all that may stop it.
pub struct GrantRow {
    pub id: GrantId,
    pub account_id: AccountId,
    pub model_id: ModelId,
    pub application_id: Option<ApplicationId>,
    pub reason: String,
    pub granted_at: Timestamp,
    pub expires_at: Timestamp,
    pub scopes: Vec<String>,
    pub suspended_at: Option<Timestamp>,
    pub suspended_by: Option<AccountId>,
    pub suspend_reason: Option<String>,
    pub revocation_proposed_at: Option<Timestamp>,
    pub revocation_proposed_by: Option<AccountId>,
    pub revocation_reason: Option<String>,
    pub revoked_at: Option<Timestamp>,
    pub revoke_reason: Option<String>,
    pub attestation: Option<String>,
    pub blocked_until: Option<Timestamp>,
    pub consent_due_at: Option<Timestamp>,
}

impl GrantRow {
    pub fn held(self) -> HeldGrant {
        let note = |at: Option<Timestamp>, by, reason: Option<String>| at.zip(reason).map(|(at, reason)| Note { at, by, reason });
        let ended = match (self.revoked_at, self.attestation) {
            (None, _) => None,
            (Some(at), Some(attestation)) => Some(Ended::Closed { at, attestation }),
            (Some(at), None) => Some(Ended::Revoked { at, reason: self.revoke_reason.unwrap_or_default() }),
        };
        HeldGrant {
            grant: Grant {
                id: self.id,
                scopes: GrantScope::read(&self.scopes),
                granted_at: self.granted_at,
                expires_at: self.expires_at,
                suspended: note(self.suspended_at, self.suspended_by, self.suspend_reason),
                proposed: note(self.revocation_proposed_at, self.revocation_proposed_by, self.revocation_reason),
                ended,
                blocked_until: self.blocked_until,
                consent_due_at: self.consent_due_at,
            },
            account: self.account_id,
            model: self.model_id,
            application: self.application_id,
            reason: self.reason,
        }
    }
}

/// The grant `id`, locked until the end of the transaction.
pub async fn lock_grant(tx: &mut PgConnection, id: GrantId) -> Result<HeldGrant, Error> {
    let row = sqlx::query_as!(
        GrantRow,
        r#"select id as "id!: GrantId", account_id as "account_id!: AccountId", model_id as "model_id!: ModelId",
                application_id as "application_id: ApplicationId", reason as "reason!", granted_at as "granted_at!", expires_at as "expires_at!",
                scopes as "scopes!", suspended_at, suspended_by as "suspended_by: AccountId", suspend_reason,
                revocation_proposed_at, revocation_proposed_by as "revocation_proposed_by: AccountId", revocation_reason,
                revoked_at, revoke_reason, attestation, blocked_until, consent_due_at
         from grant_standing where id = $1
         for update"#,
        id.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    row.map(GrantRow::held).ok_or(Error::NotFound("grant"))
}

/// The grant of an account for a model that was not closed or revoked, locked; it may have expired.
pub async fn lock_unrevoked(tx: &mut PgConnection, holder: AccountId, model: ModelId) -> Result<Option<HeldGrant>, Error> {
    let row = sqlx::query_as!(
        GrantRow,
        r#"select id as "id!: GrantId", account_id as "account_id!: AccountId", model_id as "model_id!: ModelId",
                application_id as "application_id: ApplicationId", reason as "reason!", granted_at as "granted_at!", expires_at as "expires_at!",
                scopes as "scopes!", suspended_at, suspended_by as "suspended_by: AccountId", suspend_reason,
                revocation_proposed_at, revocation_proposed_by as "revocation_proposed_by: AccountId", revocation_reason,
                revoked_at, revoke_reason, attestation, blocked_until, consent_due_at
         from grant_standing where account_id = $1 and model_id = $2 and revoked_at is null
         for update"#,
        holder.uuid(),
        model.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(GrantRow::held))
}

/// Every grant an account ever had, but for those that were undone, the newest first.
pub async fn grants(db: &mut PgConnection, account: AccountId, limit: i64) -> Result<Vec<HeldGrant>, Error> {
    let rows = sqlx::query_as!(
        GrantRow,
        r#"select id as "id!: GrantId", account_id as "account_id!: AccountId", model_id as "model_id!: ModelId",
                application_id as "application_id: ApplicationId", reason as "reason!", granted_at as "granted_at!", expires_at as "expires_at!",
                scopes as "scopes!", suspended_at, suspended_by as "suspended_by: AccountId", suspend_reason,
                revocation_proposed_at, revocation_proposed_by as "revocation_proposed_by: AccountId", revocation_reason,
                revoked_at, revoke_reason, attestation, blocked_until, consent_due_at
         from grant_standing g
         where account_id = $1 and not exists (select from undone_grant u where u.id = g.id)
         order by granted_at desc, id desc
         limit $2"#,
        account.uuid(),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(GrantRow::held).collect())
}

/// Grants of whoever is meant and for whichever model, of everybody and all unless said; the newest first, from behind `after` on;
/// none that was undone.
pub async fn grants_after(
    db: &mut PgConnection,
    account: Option<AccountId>,
    model: Option<ModelId>,
    after: Option<GrantId>,
    limit: i64,
) -> Result<Vec<HeldGrant>, Error> {
    let rows = sqlx::query_as!(
        GrantRow,
        r#"select id as "id!: GrantId", account_id as "account_id!: AccountId", model_id as "model_id!: ModelId",
                application_id as "application_id: ApplicationId", reason as "reason!", granted_at as "granted_at!", expires_at as "expires_at!",
                scopes as "scopes!", suspended_at, suspended_by as "suspended_by: AccountId", suspend_reason,
                revocation_proposed_at, revocation_proposed_by as "revocation_proposed_by: AccountId", revocation_reason,
                revoked_at, revoke_reason, attestation, blocked_until, consent_due_at
         from grant_standing g
         where ($1::uuid is null or account_id = $1) and ($2::uuid is null or model_id = $2) and ($3::uuid is null or id < $3)
           and not exists (select from undone_grant u where u.id = g.id)
         order by id desc
         limit $4"#,
        account.map(AccountId::uuid),
        model.map(ModelId::uuid),
        after.map(GrantId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(GrantRow::held).collect())
}

/// The grant `id`. Errors: `NotFound` if there is none, or it was undone.
pub async fn find_grant(db: &mut PgConnection, id: GrantId) -> Result<HeldGrant, Error> {
    let row = sqlx::query_as!(
        GrantRow,
        r#"select id as "id!: GrantId", account_id as "account_id!: AccountId", model_id as "model_id!: ModelId",
                application_id as "application_id: ApplicationId", reason as "reason!", granted_at as "granted_at!", expires_at as "expires_at!",
                scopes as "scopes!", suspended_at, suspended_by as "suspended_by: AccountId", suspend_reason,
                revocation_proposed_at, revocation_proposed_by as "revocation_proposed_by: AccountId", revocation_reason,
                revoked_at, revoke_reason, attestation, blocked_until, consent_due_at
         from grant_standing g
         where id = $1 and not exists (select from undone_grant u where u.id = g.id)"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(GrantRow::held).ok_or(Error::NotFound("grant"))
}

/// These grants, in any order.
pub async fn find_grants(db: &mut PgConnection, ids: &[GrantId]) -> Result<Vec<HeldGrant>, Error> {
    let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query_as!(
        GrantRow,
        r#"select id as "id!: GrantId", account_id as "account_id!: AccountId", model_id as "model_id!: ModelId",
                application_id as "application_id: ApplicationId", reason as "reason!", granted_at as "granted_at!", expires_at as "expires_at!",
                scopes as "scopes!", suspended_at, suspended_by as "suspended_by: AccountId", suspend_reason,
                revocation_proposed_at, revocation_proposed_by as "revocation_proposed_by: AccountId", revocation_reason,
                revoked_at, revoke_reason, attestation, blocked_until, consent_due_at
         from grant_standing where id = any($1)"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(GrantRow::held).collect())
}

/// The grants that hold now, the newest first, `limit` of them before `before`.
pub async fn grants_in_force(db: &mut PgConnection, now: Timestamp, before: Option<GrantId>, limit: i64) -> Result<Vec<HeldGrant>, Error> {
    let rows = sqlx::query_as!(
        GrantRow,
        r#"select id as "id!: GrantId", account_id as "account_id!: AccountId", model_id as "model_id!: ModelId",
                application_id as "application_id: ApplicationId", reason as "reason!", granted_at as "granted_at!", expires_at as "expires_at!",
                scopes as "scopes!", suspended_at, suspended_by as "suspended_by: AccountId", suspend_reason,
                revocation_proposed_at, revocation_proposed_by as "revocation_proposed_by: AccountId", revocation_reason,
                revoked_at, revoke_reason, attestation, blocked_until, consent_due_at
         from grant_standing
         where revoked_at is null and expires_at > $1 and ($2::uuid is null or id < $2)
         order by id desc
         limit $3"#,
        now,
        before.map(GrantId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(GrantRow::held).collect())
}

/// How many grants hold now.
pub async fn count_held(db: &mut PgConnection, now: Timestamp) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from access_grant where revoked_at is null and expires_at > $1"#, now)
        .fetch_one(db)
        .await?;
    Ok(count)
}

/// How many grants of a model hold now, and how many applications for it wait.
pub async fn counts_of_model(db: &mut PgConnection, model: ModelId, now: Timestamp) -> Result<Counts, Error> {
    let counts = sqlx::query_as!(
        Counts,
        r#"select (select count(*) from application where model_id = $1 and state = 'submitted') as "applications_waiting!",
             (select count(*) from access_grant where model_id = $1 and revoked_at is null and expires_at > $2) as "grants_held!""#,
        model.uuid(),
        now,
    )
    .fetch_one(db)
    .await?;
    Ok(counts)
}

/// Takes a grant back, or closes one that has expired.
pub async fn revoke_grant(tx: &mut PgConnection, id: GrantId, by: Option<AccountId>, reason: &str, now: Timestamp) -> Result<(), Error> {
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

/// Writes what may change about a grant. `by`: who ends it, if that is what changes.
pub async fn save_grant(tx: &mut PgConnection, grant: &Grant, by: Option<AccountId>) -> Result<(), Error> {
    let (ended_at, end_reason, attestation) = match &grant.ended {
        None => (None, None, None),
        Some(Ended::Revoked { at, reason }) => (Some(*at), Some(reason.as_str()), None),
        Some(Ended::Closed { at, attestation }) => (Some(*at), Some("closed by its holder"), Some(attestation.as_str())),
    };
    let (suspended, proposed) = (grant.suspended.as_ref(), grant.proposed.as_ref());
    sqlx::query!(
        "update access_grant
         set expires_at = $2, suspended_at = $3, suspended_by = $4, suspend_reason = $5,
             revocation_proposed_at = $6, revocation_proposed_by = $7, revocation_reason = $8,
             revoked_at = $9, revoke_reason = $10, attestation = $11, revoked_by = case when $9::timestamptz is null then null else $12::uuid end
         where id = $1",
        grant.id.uuid(),
        grant.expires_at,
        suspended.map(|note| note.at),
        suspended.and_then(|note| note.by).map(AccountId::uuid),
        suspended.map(|note| note.reason.as_str()),
        proposed.map(|note| note.at),
        proposed.and_then(|note| note.by).map(AccountId::uuid),
        proposed.map(|note| note.reason.as_str()),
        ended_at,
        end_reason,
        attestation,
        by.map(AccountId::uuid),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The grants that somebody has proposed to revoke and nobody has answered, the longest waiting first.
pub async fn revocations_proposed(db: &mut PgConnection, now: Timestamp, limit: i64) -> Result<Vec<HeldGrant>, Error> {
    let rows = sqlx::query_as!(
        GrantRow,
        r#"select id as "id!: GrantId", account_id as "account_id!: AccountId", model_id as "model_id!: ModelId",
                application_id as "application_id: ApplicationId", reason as "reason!", granted_at as "granted_at!", expires_at as "expires_at!",
                scopes as "scopes!", suspended_at, suspended_by as "suspended_by: AccountId", suspend_reason,
                revocation_proposed_at, revocation_proposed_by as "revocation_proposed_by: AccountId", revocation_reason,
                revoked_at, revoke_reason, attestation, blocked_until, consent_due_at
         from grant_standing
         where revocation_proposed_at is not null and revoked_at is null and expires_at > $1
         order by revocation_proposed_at, id
         limit $2"#,
        now,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(GrantRow::held).collect())
}

/// The grants that are suspended, the latest first.
pub async fn suspended_grants(db: &mut PgConnection, now: Timestamp, limit: i64) -> Result<Vec<HeldGrant>, Error> {
    let rows = sqlx::query_as!(
        GrantRow,
        r#"select id as "id!: GrantId", account_id as "account_id!: AccountId", model_id as "model_id!: ModelId",
                application_id as "application_id: ApplicationId", reason as "reason!", granted_at as "granted_at!", expires_at as "expires_at!",
                scopes as "scopes!", suspended_at, suspended_by as "suspended_by: AccountId", suspend_reason,
                revocation_proposed_at, revocation_proposed_by as "revocation_proposed_by: AccountId", revocation_reason,
                revoked_at, revoke_reason, attestation, blocked_until, consent_due_at
         from grant_standing
         where suspended_at is not null and revoked_at is null and expires_at > $1
         order by suspended_at desc, id
         limit $2"#,
        now,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(GrantRow::held).collect())
}

/// Whether it is this account's grant.
pub async fn is_holder(db: &mut PgConnection, account: AccountId, id: GrantId) -> Result<bool, Error> {
    let is = sqlx::query_scalar!(
        r#"select exists (select from access_grant where id = $1 and account_id = $2) as "is!""#,
        id.uuid(),
        account.uuid()
    );
    Ok(is.fetch_one(db).await?)
}

/// The grants of a model that hold, in the order they were given, from behind `after` on.
pub async fn in_force_for(
    db: &mut PgConnection,
    model: ModelId,
    now: Timestamp,
    after: Option<GrantId>,
    limit: i64,
) -> Result<Vec<HeldGrant>, Error> {
    let rows = sqlx::query_as!(
        GrantRow,
        r#"select id as "id!: GrantId", account_id as "account_id!: AccountId", model_id as "model_id!: ModelId",
                application_id as "application_id: ApplicationId", reason as "reason!", granted_at as "granted_at!", expires_at as "expires_at!",
                scopes as "scopes!", suspended_at, suspended_by as "suspended_by: AccountId", suspend_reason,
                revocation_proposed_at, revocation_proposed_by as "revocation_proposed_by: AccountId", revocation_reason,
                revoked_at, revoke_reason, attestation, blocked_until, consent_due_at
         from grant_standing
         where model_id = $1 and revoked_at is null and expires_at > $2 and ($3::uuid is null or id > $3)
         order by id
         limit $4"#,
        model.uuid(),
        now,
        after.map(GrantId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(GrantRow::held).collect())
}
