//! What the database keeps of sessions.

use sqlx::PgConnection;

use super::super::account::Account;
use super::account::AccountRow;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, SessionId};

/// A session as its owner sees it.
pub struct Session {
    pub id: SessionId,
    pub user_agent: String,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
}

/// Begins a session.
pub async fn insert_session(
    tx: &mut PgConnection,
    id: SessionId,
    account: AccountId,
    secret_hash: &[u8],
    user_agent: &str,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into session (id, account_id, secret_hash, user_agent, created_at, last_seen_at, expires_at)
         values ($1, $2, $3, $4, $5, $5, $6)",
        id.uuid(),
        account.uuid(),
        secret_hash,
        user_agent,
        now,
        expires_at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whose session this is, if it still lives.
pub async fn find_by_session(
    db: &mut PgConnection,
    secret_hash: &[u8],
    now: Timestamp,
    idle_since: Timestamp,
) -> Result<Option<(Account, SessionId, Timestamp)>, Error> {
    let row = sqlx::query!(
        r#"select s.id as "session_id: SessionId", s.last_seen_at,
                a.id as "id: AccountId", a.email, a.name, a.role, a.email_verified_at, a.created_at, a.disabled_at
         from session s join account a on a.id = s.account_id
         where s.secret_hash = $1 and s.expires_at > $2 and s.last_seen_at > $3 and a.disabled_at is null"#,
        secret_hash,
        now,
        idle_since,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        let account = AccountRow {
            id: row.id,
            email: row.email,
            name: row.name,
            role: row.role,
            email_verified_at: row.email_verified_at,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
        };
        (account.account(), row.session_id, row.last_seen_at)
    }))
}

/// Whether the session lives, used or not.
pub async fn session_lives(db: &mut PgConnection, id: SessionId, now: Timestamp) -> Result<bool, Error> {
    let lives = sqlx::query_scalar!(
        r#"select exists (
             select 1 from session s join account a on a.id = s.account_id
             where s.id = $1 and s.expires_at > $2 and a.disabled_at is null) as "lives!""#,
        id.uuid(),
        now,
    )
    .fetch_one(db)
    .await?;
    Ok(lives)
}

/// Notes that a session was used.
pub async fn touch_session(db: &mut PgConnection, id: SessionId, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("update session set last_seen_at = $2 where id = $1", id.uuid(), now).execute(db).await?;
    Ok(())
}

/// The sessions of an account that still live, the latest used first.
pub async fn sessions(db: &mut PgConnection, account: AccountId, now: Timestamp, idle_since: Timestamp) -> Result<Vec<Session>, Error> {
    let rows = sqlx::query_as!(
        Session,
        r#"select id as "id: SessionId", user_agent, created_at, last_seen_at
         from session
         where account_id = $1 and expires_at > $2 and last_seen_at > $3
         order by last_seen_at desc"#,
        account.uuid(),
        now,
        idle_since,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Ends one session of an account; says whether there was one.
pub async fn end_session(tx: &mut PgConnection, account: AccountId, id: SessionId) -> Result<bool, Error> {
    let done = sqlx::query!("delete from session where account_id = $1 and id = $2", account.uuid(), id.uuid()).execute(tx).await?;
    Ok(done.rows_affected() > 0)
}

/// Ends every session of an account but `keep`.
pub async fn end_other_sessions(tx: &mut PgConnection, account: AccountId, keep: Option<SessionId>) -> Result<(), Error> {
    sqlx::query!("delete from session where account_id = $1 and ($2::uuid is null or id <> $2)", account.uuid(), keep.map(SessionId::uuid))
        .execute(tx)
        .await?;
    Ok(())
}

/// Removes what cannot be used any more: sessions and links past their end, and codes of programs that were told of theirs.
pub async fn sweep(db: &mut PgConnection, now: Timestamp, idle_since: Timestamp) -> Result<(), Error> {
    sqlx::query!("delete from session where expires_at <= $1 or last_seen_at <= $2", now, idle_since).execute(&mut *db).await?;
    sqlx::query!("delete from one_time_link where expires_at <= $1", now).execute(&mut *db).await?;
    sqlx::query!("delete from device_sign_in where expires_at <= $1", now - super::super::device::KEPT).execute(db).await?;
    Ok(())
}
