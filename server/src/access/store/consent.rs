//! What the database keeps of licences that changed, and of who has agreed to them.

use sqlx::PgConnection;

use super::super::clause::Clause;
use super::super::consent::LicenceChange;
use super::super::grant::HeldGrant;
use super::grant::GrantRow;
use crate::clock::Timestamp;
use crate::error::{Error, OnConstraint};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// Adds a change. Errors: `Conflict` if it was announced already (licence_change_pk).
pub async fn insert_change(tx: &mut PgConnection, model: ModelId, change: &LicenceChange, by: AccountId) -> Result<(), Error> {
    sqlx::query!(
        "insert into licence_change (model_id, licence_sha256, announced_by, announced_at, grace_until) values ($1, $2, $3, $4, $5)",
        model.uuid(),
        change.licence_sha256,
        by.uuid(),
        change.announced_at,
        change.grace_until,
    )
    .execute(tx)
    .await
    .on_constraint("licence_change_pk", Error::Conflict("holders were asked to agree to this text already; nothing was changed".into()))?;
    Ok(())
}

/// The last change of a model's licence.
pub async fn last_change(db: &mut PgConnection, model: ModelId) -> Result<Option<LicenceChange>, Error> {
    let change = sqlx::query_as!(
        LicenceChange,
        "select licence_sha256, announced_at, grace_until
         from licence_change where model_id = $1
         order by announced_at desc
         limit 1",
        model.uuid(),
    )
    .fetch_optional(db)
    .await?;
    Ok(change)
}

/// The grants of a model in force whose holders have to agree to its licence.
pub async fn consents_due(db: &mut PgConnection, model: ModelId, now: Timestamp) -> Result<Vec<HeldGrant>, Error> {
    let rows = sqlx::query_as!(
        GrantRow,
        r#"select id as "id!: GrantId", account_id as "account_id!: AccountId", model_id as "model_id!: ModelId",
                application_id as "application_id: ApplicationId", reason as "reason!", granted_at as "granted_at!", expires_at as "expires_at!",
                scopes as "scopes!", suspended_at, suspended_by as "suspended_by: AccountId", suspend_reason,
                revocation_proposed_at, revocation_proposed_by as "revocation_proposed_by: AccountId", revocation_reason,
                revoked_at, revoke_reason, attestation, blocked_until, consent_due_at
         from grant_standing
         where model_id = $1 and revoked_at is null and expires_at > $2 and consent_due_at is not null
         order by id"#,
        model.uuid(),
        now,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(GrantRow::held).collect())
}

/// Adds what was agreed to, one record for each clause.
pub async fn insert_consent(tx: &mut PgConnection, grant: GrantId, licence: &str, clauses: &[Clause], now: Timestamp) -> Result<(), Error> {
    let ids: Vec<String> = clauses.iter().map(|clause| clause.id.clone()).collect();
    let wordings: Vec<String> = clauses.iter().map(|clause| clause.wording.clone()).collect();
    sqlx::query!(
        "insert into consent (grant_id, licence_sha256, clause, wording, consented_at)
         select $1, $2, clause, wording, $5 from unnest($3::text[], $4::text[]) as c (clause, wording)",
        grant.uuid(),
        licence,
        &ids,
        &wordings,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}
