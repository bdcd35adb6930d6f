//! What the database keeps of notices: which of them was sent last stands with the grant.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, GrantId, ModelId};

/// A grant whose holder is to be told that it ends, or rests.
pub struct DueNotice {
    pub grant: GrantId,
    pub account: AccountId,
    pub model: ModelId,
    pub expires_at: Timestamp,
}

/// Takes grants whose end is so many days away, and notes for each the most urgent notice that is due, so that nobody else takes it, nor
/// anything less urgent. Not those that somebody has stopped: they are told when it goes on.
pub async fn claim_notices(tx: &mut PgConnection, days: &[i16], now: Timestamp, limit: i64) -> Result<Vec<DueNotice>, Error> {
    let due = sqlx::query_as!(
        DueNotice,
        r#"update access_grant g
         set noticed_days = due.days
         from (
             select s.id, min(d) as days
             from access_grant s, unnest($1::smallint[]) d
             where s.revoked_at is null and s.suspended_at is null and s.revocation_proposed_at is null
               and s.expires_at > $2 and s.expires_at <= $2 + make_interval(hours => 24 * d)
               and s.expires_at - coalesce(s.renewed_at, s.granted_at) >= make_interval(hours => 48 * d)
               and (s.noticed_days is null or s.noticed_days > d)
               and not exists (
                   select from block b
                   where b.account_id = s.account_id and (b.model_id is null or b.model_id = s.model_id)
                     and b.lifted_at is null and b.expires_at > $2)
             group by s.id
             order by min(s.expires_at)
             limit $3) due
         where g.id = due.id and (g.noticed_days is null or g.noticed_days > due.days)
         returning g.id as "grant: GrantId", g.account_id as "account: AccountId", g.model_id as "model: ModelId", g.expires_at"#,
        days,
        now,
        limit,
    )
    .fetch_all(tx)
    .await?;
    Ok(due)
}

/// Takes grants that ended after `since` and whose holder has not been told, and notes that they are. Not those that somebody has stopped.
pub async fn claim_ended(tx: &mut PgConnection, since: Timestamp, now: Timestamp, limit: i64) -> Result<Vec<DueNotice>, Error> {
    let ended = sqlx::query_as!(
        DueNotice,
        r#"update access_grant
         set noticed_days = 0
         where id in (
             select s.id from access_grant s
             where s.revoked_at is null and s.suspended_at is null and s.revocation_proposed_at is null
               and s.expires_at <= $2 and s.expires_at > $1 and s.noticed_days is distinct from 0
             order by s.expires_at
             limit $3
             for update skip locked)
         returning id as "grant: GrantId", account_id as "account: AccountId", model_id as "model: ModelId", expires_at"#,
        since,
        now,
        limit,
    )
    .fetch_all(tx)
    .await?;
    Ok(ended)
}

/// Takes grants whose holder has not agreed to what has changed, whose access rests within so many days (`expires_at` is that moment), and
/// who had twice as long; and notes that they are reminded of it. Not those that somebody has stopped.
pub async fn claim_consents_due(tx: &mut PgConnection, days: i32, now: Timestamp, limit: i64) -> Result<Vec<DueNotice>, Error> {
    let due = sqlx::query_as!(
        DueNotice,
        r#"update access_grant g
         set consent_told_at = $2
         from (
             select s.id, s.consent_told_at as told_at, min(d.due_at) as due_at
             from licence_change c
             join access_grant s on s.model_id = c.model_id
             join consent_due d on d.grant_id = s.id and (d.licence_sha256 = c.licence_sha256 or d.form_sha256 = c.form_sha256)
             where c.grace_until - c.announced_at >= make_interval(days => 2 * $1)
               and greatest(c.grace_until, s.granted_at + (c.grace_until - c.announced_at)) > $2
               and greatest(c.grace_until, s.granted_at + (c.grace_until - c.announced_at)) <= $2 + make_interval(days => $1)
               and d.due_at > $2 and d.due_at <= $2 + make_interval(days => $1)
               and (s.consent_told_at is null or s.consent_told_at < c.announced_at)
               and s.revoked_at is null and s.suspended_at is null and s.revocation_proposed_at is null and s.expires_at > $2
             group by s.id, s.consent_told_at
             order by min(d.due_at)
             limit $3) due
         where g.id = due.id and g.consent_told_at is not distinct from due.told_at
         returning g.id as "grant: GrantId", g.account_id as "account: AccountId", g.model_id as "model: ModelId", due.due_at as "expires_at!""#,
        days,
        now,
        limit,
    )
    .fetch_all(tx)
    .await?;
    Ok(due)
}
