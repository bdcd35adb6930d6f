//! What the database keeps of bars whose accounts were erased.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ModelId};

/// A bar that waits for its address.
pub struct KeptBar {
    pub model: Option<ModelId>,
    pub why: String,
    pub expires_at: Timestamp,
}

/// Keeps every bar that stands against an account. Where nobody has set rules for a model, `reapply_days` is its cool-down.
pub async fn keep_bars(
    tx: &mut PgConnection,
    account: AccountId,
    address_hash: &[u8],
    reapply_days: i32,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "with bar as (
             select model_id, 'blocked' as why, expires_at as since, 0 as days from block
             where account_id = $1 and lifted_at is null
             union all
             select d.model_id, 'declined', d.declined_at, coalesce(p.reapply_days, $3)
             from standing_decline d left join access_policy p on p.model_id = d.model_id
             where d.account_id = $1
             union all
             select g.model_id, 'stopped', coalesce(g.revoked_at, $4), coalesce(p.reapply_days, $3)
             from access_grant g left join access_policy p on p.model_id = g.model_id
             where g.account_id = $1 and not exists (select from undone_grant u where u.id = g.id)
               and case when g.revoked_at is null
                   then g.expires_at > $4 and (g.suspended_at is not null or g.revocation_proposed_at is not null)
                   else g.revoked_at < g.expires_at and g.attestation is null end
         )
         insert into kept_bar (address_hash, model_id, why, expires_at)
         select $2, model_id, why, max(since + make_interval(hours => 24 * days)) from bar
         where since + make_interval(hours => 24 * days) > $4
         group by model_id, why",
        account.uuid(),
        address_hash,
        reapply_days,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes every bar of an address that stands now out of what is kept.
pub async fn take_bars(tx: &mut PgConnection, address_hash: &[u8], now: Timestamp) -> Result<Vec<KeptBar>, Error> {
    let bars = sqlx::query_as!(
        KeptBar,
        r#"delete from kept_bar where address_hash = $1 and expires_at > $2
         returning model_id as "model: ModelId", why, expires_at"#,
        address_hash,
        now,
    )
    .fetch_all(tx)
    .await?;
    Ok(bars)
}

/// Forgets bars that have ended.
pub async fn sweep_bars(db: &mut PgConnection, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("delete from kept_bar where expires_at <= $1", now).execute(db).await?;
    Ok(())
}
