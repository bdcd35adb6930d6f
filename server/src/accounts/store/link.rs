//! What the database keeps of one-time links.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, LinkId};

/// Adds a one-time link.
pub async fn insert_link(
    tx: &mut PgConnection,
    account: AccountId,
    purpose: &str,
    secret_hash: &[u8],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into one_time_link (id, account_id, purpose, secret_hash, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6)",
        LinkId::fresh().uuid(),
        account.uuid(),
        purpose,
        secret_hash,
        now,
        expires_at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends the links of an account that were not used: those of one purpose, or all.
pub async fn end_links(tx: &mut PgConnection, account: AccountId, purpose: Option<&str>, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update one_time_link set used_at = $3
         where account_id = $1 and ($2::text is null or purpose = $2) and used_at is null",
        account.uuid(),
        purpose,
        now
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whose link this is, if it can still be used; does not use it.
pub async fn peek_link(db: &mut PgConnection, purpose: &str, secret_hash: &[u8], now: Timestamp) -> Result<Option<AccountId>, Error> {
    let found = sqlx::query_scalar!(
        r#"select l.account_id as "account_id: AccountId" from one_time_link l join account a on a.id = l.account_id
         where l.purpose = $1 and l.secret_hash = $2 and l.used_at is null and l.expires_at > $3 and a.disabled_at is null"#,
        purpose,
        secret_hash,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(found)
}

/// Uses a link: of two at once, one gets the account and the other nothing.
pub async fn use_link(tx: &mut PgConnection, purpose: &str, secret_hash: &[u8], now: Timestamp) -> Result<Option<AccountId>, Error> {
    let found = sqlx::query_scalar!(
        r#"update one_time_link l set used_at = $3
         from account a
         where a.id = l.account_id and a.disabled_at is null
           and l.purpose = $1 and l.secret_hash = $2 and l.used_at is null and l.expires_at > $3
         returning l.account_id as "account_id: AccountId""#,
        purpose,
        secret_hash,
        now,
    )
    .fetch_optional(tx)
    .await?;
    Ok(found)
}
