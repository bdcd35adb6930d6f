//! What the database keeps of licences and clauses that changed, and of who has agreed to them.

use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::super::clause::Clause;
use super::super::consent::{Asking, Change, Terms};
use super::super::grant::HeldGrant;
use crate::clock::Timestamp;
use crate::error::{Error, OnConstraint};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// Adds a change. Errors: `Conflict` if a text was announced already (licence_change_licence_uq).
pub async fn insert_change(tx: &mut PgConnection, model: ModelId, change: &Change, by: AccountId) -> Result<(), Error> {
    sqlx::query!(
        "insert into licence_change (model_id, licence_sha256, form_sha256, announced_by, announced_at, grace_until)
         values ($1, $2, $3, $4, $5, $6)",
        model.uuid(),
        change.terms.licence(),
        change.terms.form(),
        by.uuid(),
        change.announced_at,
        change.grace_until,
    )
    .execute(tx)
    .await
    .on_constraint(
        "licence_change_licence_uq",
        Error::Conflict("holders were asked to agree to this text already; nothing was changed".into()),
    )?;
    Ok(())
}

/// The last change of a model's licence.
pub async fn last_change(db: &mut PgConnection, model: ModelId) -> Result<Option<Change>, Error> {
    let row = sqlx::query!(
        r#"select licence_sha256 as "licence_sha256!", announced_at, grace_until
         from licence_change where model_id = $1 and licence_sha256 is not null
         order by seq desc
         limit 1"#,
        model.uuid(),
    )
    .fetch_optional(db)
    .await?;
    let change = |licence, announced_at, grace_until| Change { terms: Terms::Licence(licence), announced_at, grace_until };
    Ok(row.map(|row| change(row.licence_sha256, row.announced_at, row.grace_until)))
}

/// The last change of a model's licence, and whom this text would be asked of now.
pub async fn asking(db: &mut PgConnection, model: ModelId, licence_sha256: Option<&str>, now: Timestamp) -> Result<Asking, Error> {
    let row = sqlx::query!(
        r#"select last.licence_sha256 as "licence_sha256?", last.announced_at as "announced_at?", last.grace_until as "grace_until?",
             (select count(*) from access_grant g left join application p on p.id = g.application_id
              where g.model_id = $1 and g.revoked_at is null and g.expires_at > $3 and p.licence_sha256 is distinct from $2
                and not exists (select from consent c where c.grant_id = g.id and c.licence_sha256 = $2)) as "holders!",
             (select count(*) from application
              where model_id = $1 and state in ('submitted', 'changes_requested') and licence_sha256 is distinct from $2) as "applicants!"
         from (select 1) one
         left join lateral (
             select licence_sha256, announced_at, grace_until from licence_change
             where model_id = $1 and licence_sha256 is not null
             order by seq desc limit 1) last on true"#,
        model.uuid(),
        licence_sha256,
        now,
    )
    .fetch_one(db)
    .await?;
    let last = match (row.licence_sha256, row.announced_at, row.grace_until) {
        (Some(licence), Some(announced_at), Some(grace_until)) => {
            Some(Change { terms: Terms::Licence(licence), announced_at, grace_until })
        }
        _ => None,
    };
    Ok(Asking { last, holders: row.holders, applicants: row.applicants })
}

/// When the change of a model's clauses that brought this form was announced last, if it was, and until when access goes on.
pub async fn form_change(db: &mut PgConnection, model: ModelId, form: &str) -> Result<Option<(Timestamp, Timestamp)>, Error> {
    let change = sqlx::query!(
        "select announced_at, grace_until
         from licence_change where model_id = $1 and form_sha256 = $2
         order by seq desc
         limit 1",
        model.uuid(),
        form,
    )
    .fetch_optional(db)
    .await?;
    Ok(change.map(|change| (change.announced_at, change.grace_until)))
}

/// The grants of a model in force whose holders have to agree to these terms.
pub async fn consents_due(
    db: &mut PgConnection,
    model: ModelId,
    terms: &Terms,
    now: Timestamp,
) -> Result<Vec<(GrantId, AccountId)>, Error> {
    let rows = sqlx::query!(
        r#"select g.id as "id: GrantId", g.account_id as "account: AccountId"
         from access_grant g
         join consent_due d on d.grant_id = g.id
         where g.model_id = $1 and g.revoked_at is null and g.expires_at > $2 and (d.licence_sha256 = $3 or d.form_sha256 = $4)
         order by g.id"#,
        model.uuid(),
        now,
        terms.licence(),
        terms.form(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.account)).collect())
}

/// What the holder of a grant has to agree to, and what they have agreed to.
pub struct TermsDue {
    /// The texts that have changed, a licence first.
    pub terms: Vec<Terms>,
    /// Each clause that was agreed to, in the words that it had last.
    pub agreed: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
struct TermsJson {
    licence_sha256: Option<String>,
    form_sha256: Option<String>,
}

/// See [`TermsDue`].
pub async fn terms_due(db: &mut PgConnection, held: &HeldGrant) -> Result<TermsDue, Error> {
    let row = sqlx::query!(
        r#"with agreed as (
             select distinct on (clause) clause, wording
             from (
                 select clause, wording, attested_at as at from attestation where application_id = $1
                 union all
                 select clause, wording, consented_at from consent where grant_id = $2) each
             order by clause, at desc)
         select (select coalesce(jsonb_agg(jsonb_build_object('licence_sha256', licence_sha256, 'form_sha256', form_sha256)
                     order by licence_sha256 nulls last), '[]')
                 from consent_due where grant_id = $2
             ) as "terms!: Json<Vec<TermsJson>>",
             (select coalesce(jsonb_agg(jsonb_build_array(clause, wording) order by clause), '[]') from agreed
             ) as "agreed!: Json<Vec<(String, String)>>""#,
        held.application.map(ApplicationId::uuid),
        held.grant.id.uuid(),
    )
    .fetch_one(db)
    .await?;
    let terms = row.terms.0.into_iter().filter_map(|json| json.licence_sha256.map(Terms::Licence).or(json.form_sha256.map(Terms::Form)));
    Ok(TermsDue { terms: terms.collect(), agreed: row.agreed.0 })
}

/// Adds what was agreed to, one record for each clause.
pub async fn insert_consent(tx: &mut PgConnection, grant: GrantId, terms: &Terms, clauses: &[Clause], now: Timestamp) -> Result<(), Error> {
    let ids: Vec<String> = clauses.iter().map(|clause| clause.id.clone()).collect();
    let wordings: Vec<String> = clauses.iter().map(|clause| clause.wording.clone()).collect();
    sqlx::query!(
        "insert into consent (grant_id, licence_sha256, form_sha256, clause, wording, consented_at)
         select $1, $2, $3, clause, wording, $6 from unnest($4::text[], $5::text[]) as c (clause, wording)",
        grant.uuid(),
        terms.licence(),
        terms.form(),
        &ids,
        &wordings,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}
