//! What the database keeps of grants.

use sqlx::PgConnection;

use super::super::grant::{Grant, HeldGrant};
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
pub async fn lock_grant(tx: &mut PgConnection, id: GrantId) -> Result<HeldGrant, Error> {
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
pub async fn lock_unrevoked(tx: &mut PgConnection, holder: AccountId, model: ModelId) -> Result<Option<HeldGrant>, Error> {
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
pub async fn grants(db: &mut PgConnection, account: AccountId, limit: i64) -> Result<Vec<HeldGrant>, Error> {
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

/// The grant `id`.
pub async fn find_grant(db: &mut PgConnection, id: GrantId) -> Result<HeldGrant, Error> {
    let row = sqlx::query_as!(
        GrantRow,
        r#"select id as "id: GrantId", account_id as "account_id: AccountId", model_id as "model_id: ModelId",
                application_id as "application_id: ApplicationId", reason, granted_at, expires_at, revoked_at, revoke_reason
         from access_grant where id = $1"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(GrantRow::held).ok_or(Error::NotFound("grant"))
}

/// The grants that hold now, the newest first, `limit` of them before `before`.
pub async fn grants_in_force(db: &mut PgConnection, now: Timestamp, before: Option<GrantId>, limit: i64) -> Result<Vec<HeldGrant>, Error> {
    let rows = sqlx::query_as!(
        GrantRow,
        r#"select id as "id: GrantId", account_id as "account_id: AccountId", model_id as "model_id: ModelId",
                application_id as "application_id: ApplicationId", reason, granted_at, expires_at, revoked_at, revoke_reason
         from access_grant
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
        r#"select id as "id: GrantId", account_id as "account_id: AccountId", model_id as "model_id: ModelId",
                application_id as "application_id: ApplicationId", reason, granted_at, expires_at, revoked_at, revoke_reason
         from access_grant
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
