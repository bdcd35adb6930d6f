//! What is removed of somebody who is to be forgotten.

use sqlx::PgConnection;

use super::super::account::{Account, Email};
use super::account::AccountRow;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, TokenId};

/// The account `id`, which nobody else changes meanwhile; others may go on to refer to it.
pub async fn lock_account(tx: &mut PgConnection, id: AccountId) -> Result<Account, Error> {
    let row = sqlx::query_as!(
        AccountRow,
        r#"select id as "id: AccountId", email, name, role, email_verified_at, created_at, disabled_at
         from account where id = $1
         for no key update"#,
        id.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    row.map(AccountRow::account).ok_or(Error::NotFound("account"))
}

/// Every token an account ever had.
pub async fn token_ids(db: &mut PgConnection, id: AccountId) -> Result<Vec<TokenId>, Error> {
    let tokens = sqlx::query_scalar!(r#"select id as "id: TokenId" from token where account_id = $1"#, id.uuid()).fetch_all(db).await?;
    Ok(tokens)
}

/// Removes every way in, with what it tells of browsers and programs.
pub async fn forget_ways_in(tx: &mut PgConnection, id: AccountId) -> Result<(), Error> {
    sqlx::query!("delete from session where account_id = $1", id.uuid()).execute(&mut *tx).await?;
    sqlx::query!("delete from known_browser where account_id = $1", id.uuid()).execute(&mut *tx).await?;
    sqlx::query!("delete from token where account_id = $1", id.uuid()).execute(&mut *tx).await?;
    sqlx::query!("delete from one_time_link where account_id = $1", id.uuid()).execute(&mut *tx).await?;
    sqlx::query!("delete from device_sign_in where account_id = $1", id.uuid()).execute(tx).await?;
    Ok(())
}

/// Leaves a pseudonym where somebody was.
pub async fn set_erased(tx: &mut PgConnection, id: AccountId, email: &Email, name: &str, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update account
         set email = $2, name = $3, password_hash = null, role = 'researcher', disabled_at = coalesce(disabled_at, $4), erased_at = $4
         where id = $1",
        id.uuid(),
        email.as_str(),
        name,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Who was erased at `since` or later.
pub async fn erased_since(db: &mut PgConnection, since: Timestamp) -> Result<Vec<AccountId>, Error> {
    let ids = sqlx::query_scalar!(r#"select id as "id: AccountId" from account where erased_at >= $1"#, since).fetch_all(db).await?;
    Ok(ids)
}
