//! Where accounts stand with models, read for `authorize`.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::super::authorize::LatestApplication;
use super::super::grant::Grant;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// The latest grant and the latest application of an account for one model.
pub type Standings = (Option<Grant>, Option<LatestApplication>);

/// Where an account stands with a model.
pub async fn standing(db: &mut PgConnection, account: AccountId, model: ModelId) -> Result<Standings, Error> {
    Ok(standings(db, account, vec![model]).await?.remove(&model).unwrap_or_default())
}

/// Where an account stands with each of these models, in one query.
pub async fn standings(db: &mut PgConnection, account: AccountId, models: Vec<ModelId>) -> Result<HashMap<ModelId, Standings>, Error> {
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
            "changes_requested" => LatestApplication::ChangesRequested(id),
            "declined" => LatestApplication::Declined(id),
            _ => LatestApplication::Closed,
        });
        (row.model_id, (grant, application))
    });
    Ok(standings.collect())
}
