//! Where accounts stand with models, read for `authorize`.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::super::authorize::{Footing, LatestApplication, Trial};
use super::super::block::Bar;
use super::super::grant::Grant;
use super::super::policy::cool_down;
use super::grant::GrantRow;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// The latest grant and the latest application of an account for one model.
pub type Standings = (Option<Grant>, Option<LatestApplication>);

/// Where an account stands with a model.
pub async fn standing(db: &mut PgConnection, account: AccountId, model: ModelId) -> Result<Standings, Error> {
    let footing = footing(db, account, model).await?;
    Ok((footing.grant, footing.application))
}

/// Where an account stands with a model, with what stands against it.
pub async fn footing(db: &mut PgConnection, account: AccountId, model: ModelId) -> Result<Footing, Error> {
    Ok(footings(db, account, vec![model]).await?.remove(&model).unwrap_or_default())
}

/// Where an account stands with each of these models, in one query.
pub async fn footings(db: &mut PgConnection, account: AccountId, models: Vec<ModelId>) -> Result<HashMap<ModelId, Footing>, Error> {
    if models.is_empty() {
        return Ok(HashMap::new());
    }
    let models: Vec<uuid::Uuid> = models.into_iter().map(ModelId::uuid).collect();
    let rows = sqlx::query!(
        r#"select asked.model_id as "model_id!: ModelId",
                g.id as "grant_id?: GrantId", g.application_id as "grant_application: ApplicationId", g.reason as "reason?",
                g.granted_at as "granted_at?", g.expires_at as "expires_at?",
                g.scopes as "scopes?", g.suspended_at, g.suspended_by as "suspended_by: AccountId", g.suspend_reason,
                g.revocation_proposed_at, g.revocation_proposed_by as "revocation_proposed_by: AccountId", g.revocation_reason,
                g.revoked_at, g.revoke_reason, g.attestation, g.blocked_until, g.consent_due_at,
                a.id as "application_id?: ApplicationId", a.state as "state?",
                b.expires_at as "bar_until?", b.reason as "bar_reason?", b.model_id as "bar_model?: ModelId",
                t.tokens_left as "tokens_left?", t.set_aside as "set_aside?",
                d.declined_at as "declined_at?", p.reapply_days as "reapply_days?",
                exists (select from renewal where grant_id = g.id and state = 'open') as "renewal_waits!"
         from unnest($2::uuid[]) asked(model_id)
         left join lateral (
             select * from grant_standing s
             where account_id = $1 and model_id = asked.model_id and not exists (select from undone_grant u where u.id = s.id)
             order by (revoked_at is null) desc, granted_at desc, id desc limit 1) g on true
         left join lateral (
             select id, state from application where account_id = $1 and model_id = asked.model_id
             order by (state in ('draft', 'submitted', 'changes_requested')) desc, created_at desc, id desc limit 1) a on true
         left join lateral (
             select expires_at, reason, model_id from block
             where account_id = $1 and (model_id is null or model_id = asked.model_id) and lifted_at is null
             order by expires_at desc limit 1) b on true
         left join lateral (
             select p.trial_tokens - coalesce(sum(u.tokens), 0)::bigint as tokens_left,
                 coalesce(sum(u.reserved_tokens), 0)::bigint as set_aside
             from access_policy p
             left join model_use u on u.account_id = $1 and u.model_id = p.model_id and u.kind = 'generation'
             where p.model_id = asked.model_id and p.trial_tokens > 0 and a.state in ('submitted', 'changes_requested')
             group by p.trial_tokens) t on true
         left join standing_decline d on d.account_id = $1 and d.model_id = asked.model_id
         left join access_policy p on p.model_id = asked.model_id"#,
        account.uuid(),
        &models,
    )
    .fetch_all(db)
    .await?;
    let footings = rows.into_iter().map(|row| {
        let grant = match (row.grant_id, row.granted_at, row.expires_at, row.scopes) {
            (Some(id), Some(granted_at), Some(expires_at), Some(scopes)) => Some(GrantRow {
                id,
                account_id: account,
                model_id: row.model_id,
                application_id: row.grant_application,
                reason: row.reason.unwrap_or_default(),
                granted_at,
                expires_at,
                scopes,
                suspended_at: row.suspended_at,
                suspended_by: row.suspended_by,
                suspend_reason: row.suspend_reason,
                revocation_proposed_at: row.revocation_proposed_at,
                revocation_proposed_by: row.revocation_proposed_by,
                revocation_reason: row.revocation_reason,
                revoked_at: row.revoked_at,
                revoke_reason: row.revoke_reason,
                attestation: row.attestation,
                blocked_until: row.blocked_until,
                consent_due_at: row.consent_due_at,
            }),
            _ => None,
        };
        let application = row.application_id.zip(row.state).map(|(id, state)| match state.as_str() {
            "draft" => LatestApplication::Draft,
            "submitted" => LatestApplication::Submitted(id),
            "changes_requested" => LatestApplication::ChangesRequested(id),
            "declined" => LatestApplication::Declined(id),
            _ => LatestApplication::Closed,
        });
        let trial = row.application_id.zip(row.tokens_left).zip(row.set_aside);
        let trial = trial.map(|((application, tokens_left), set_aside)| Trial { application, tokens_left, set_aside });
        let bar = row.bar_until.zip(row.bar_reason).map(|(until, reason)| Bar { until, reason, model: row.bar_model });
        let cools_until = row.declined_at.map(|at| at + cool_down(row.reapply_days));
        (
            row.model_id,
            Footing { grant: grant.map(|row| row.held().grant), application, bar, trial, cools_until, renewal_waits: row.renewal_waits },
        )
    });
    Ok(footings.collect())
}
