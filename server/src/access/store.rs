//! What the database keeps of applications, attestations and grants.

use sqlx::PgConnection;

use super::authorize::LatestApplication;
use super::grant::Grant;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// The latest grant and the latest application of an account for a model, in one query.
pub(super) async fn standing(
    db: &mut PgConnection,
    account: AccountId,
    model: ModelId,
) -> Result<(Option<Grant>, Option<LatestApplication>), Error> {
    let row = sqlx::query!(
        r#"select g.id as "grant_id?: GrantId", g.granted_at as "granted_at?", g.expires_at as "expires_at?", g.revoked_at, g.revoke_reason,
                a.id as "application_id?: ApplicationId", a.state as "state?"
         from (select 1) one
         left join lateral (
             select id, granted_at, expires_at, revoked_at, revoke_reason
             from access_grant where account_id = $1 and model_id = $2
             order by (revoked_at is null) desc, granted_at desc limit 1) g on true
         left join lateral (
             select id, state from application where account_id = $1 and model_id = $2
             order by created_at desc limit 1) a on true"#,
        account.uuid(),
        model.uuid(),
    )
    .fetch_one(db)
    .await?;
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
    Ok((grant, application))
}
