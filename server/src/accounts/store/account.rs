//! What the database keeps of accounts.

use sqlx::PgConnection;

use super::super::account::{Account, Email, Role};
use crate::clock::Timestamp;
use crate::error::{Error, OnConstraint};
use crate::http::search::words_query;
use crate::ids::AccountId;

/// The columns of an account, as they lie in the table.
pub(super) struct AccountRow {
    pub(super) id: AccountId,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) role: String,
    pub(super) email_verified_at: Option<Timestamp>,
    pub(super) created_at: Timestamp,
    pub(super) disabled_at: Option<Timestamp>,
}

impl AccountRow {
    pub(super) fn account(self) -> Account {
        Account {
            id: self.id,
            email: Email::trusted(self.email),
            name: self.name,
            role: self.role.parse().expect("account_role_ck allows only known roles"),
            email_verified_at: self.email_verified_at,
            created_at: self.created_at,
            disabled_at: self.disabled_at,
        }
    }
}

/// Adds an account. Errors: `Conflict` if the address has one.
pub async fn insert_account(tx: &mut PgConnection, account: &Account, password_hash: Option<&str>) -> Result<(), Error> {
    sqlx::query!(
        "insert into account (id, email, name, role, password_hash, email_verified_at, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        account.id.uuid(),
        account.email.as_str(),
        account.name,
        account.role.as_str(),
        password_hash,
        account.email_verified_at,
        account.created_at,
    )
    .execute(tx)
    .await
    .on_constraint("account_email_uq", Error::Conflict("this address already has an account".into()))?;
    Ok(())
}

/// The account `id`.
pub async fn find(db: &mut PgConnection, id: AccountId) -> Result<Account, Error> {
    let row = sqlx::query_as!(
        AccountRow,
        r#"select id as "id: AccountId", email, name, role, email_verified_at, created_at, disabled_at
         from account where id = $1"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(AccountRow::account).ok_or(Error::NotFound("account"))
}

/// The account of an address.
pub async fn find_by_email(db: &mut PgConnection, email: &Email) -> Result<Option<Account>, Error> {
    let row = sqlx::query_as!(
        AccountRow,
        r#"select id as "id: AccountId", email, name, role, email_verified_at, created_at, disabled_at
         from account where email = $1"#,
        email.as_str(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(AccountRow::account))
}

/// The accounts of these ids, in no order.
pub async fn find_all(db: &mut PgConnection, ids: &[AccountId]) -> Result<Vec<Account>, Error> {
    let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query_as!(
        AccountRow,
        r#"select id as "id: AccountId", email, name, role, email_verified_at, created_at, disabled_at
         from account where id = any($1)"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(AccountRow::account).collect())
}

/// Among how many of the newest a search looks before it asks the index on words.
const NEWEST: i64 = 2_000;

/// Accounts, the newest first, from behind `before` on. `search`: words of which each begins one of the name or the address; empty for
/// everybody. Bounded for every word: one that stands in many is found among the newest, one that stands in few by the index.
pub async fn list(db: &mut PgConnection, search: &str, before: Option<AccountId>, limit: i64) -> Result<Vec<Account>, Error> {
    let words = words_query(search);
    if words.is_none() && !search.is_empty() {
        return Ok(vec![]);
    }
    let rows = sqlx::query_as!(
        AccountRow,
        r#"select id as "id: AccountId", email, name, role, email_verified_at, created_at, disabled_at
         from account where id in (
             with newest as (
                 select id from (
                     select id, found_by from account where $2::uuid is null or id < $2 order by id desc limit $4) late
                 where $1::text is null or found_by @@ to_tsquery('simple', $1) order by id desc limit $3
             )
             select id from newest
             union
             select older.id from (select count(*) as found from newest) enough cross join lateral (
                 select id from account
                 where enough.found < $3 and found_by @@ to_tsquery('simple', $1) and ($2::uuid is null or id < $2)
                 order by id desc limit $3) older)
         order by id desc limit $3"#,
        words,
        before.map(AccountId::uuid),
        limit,
        NEWEST,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(AccountRow::account).collect())
}

/// How many accounts there are.
pub async fn count(db: &mut PgConnection) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from account"#).fetch_one(db).await?;
    Ok(count)
}

/// Everybody who decides on applications.
pub async fn reviewers(db: &mut PgConnection) -> Result<Vec<Account>, Error> {
    let rows = sqlx::query_as!(
        AccountRow,
        r#"select id as "id: AccountId", email, name, role, email_verified_at, created_at, disabled_at
         from account
         where role in ('reviewer', 'admin') and disabled_at is null and email_verified_at is not null
         order by id"#,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(AccountRow::account).collect())
}

/// Whether anybody runs the portal yet.
pub async fn any_admin(db: &mut PgConnection) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(r#"select exists (select 1 from account where role = 'admin' and disabled_at is null) as "found!""#)
        .fetch_one(db)
        .await?;
    Ok(found)
}

/// The stored hash of the password, if there is one.
pub async fn password_hash(db: &mut PgConnection, id: AccountId) -> Result<Option<String>, Error> {
    let row = sqlx::query_scalar!("select password_hash from account where id = $1", id.uuid()).fetch_optional(db).await?;
    Ok(row.flatten())
}

/// Sets a new password's hash.
pub async fn set_password_hash(tx: &mut PgConnection, id: AccountId, hash: &str) -> Result<(), Error> {
    sqlx::query!("update account set password_hash = $2 where id = $1", id.uuid(), hash).execute(tx).await?;
    Ok(())
}

/// Notes that the address was proved; the first time counts.
pub async fn set_verified(tx: &mut PgConnection, id: AccountId, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("update account set email_verified_at = coalesce(email_verified_at, $2) where id = $1", id.uuid(), now)
        .execute(tx)
        .await?;
    Ok(())
}

/// Changes the name.
pub async fn set_name(tx: &mut PgConnection, id: AccountId, name: &str) -> Result<(), Error> {
    sqlx::query!("update account set name = $2 where id = $1", id.uuid(), name).execute(tx).await?;
    Ok(())
}

/// Changes what somebody may do here.
pub async fn set_role(tx: &mut PgConnection, id: AccountId, role: Role) -> Result<(), Error> {
    sqlx::query!("update account set role = $2 where id = $1", id.uuid(), role.as_str()).execute(tx).await?;
    Ok(())
}

/// Closes an account (with the moment) or opens it again. Its sessions and tokens stop counting while it is closed.
pub async fn set_disabled(tx: &mut PgConnection, id: AccountId, at: Option<Timestamp>) -> Result<(), Error> {
    sqlx::query!("update account set disabled_at = $2 where id = $1", id.uuid(), at).execute(tx).await?;
    Ok(())
}

/// Everybody who runs the portal, locked until the end of the transaction, so that the last two cannot remove each other.
pub async fn lock_admins(tx: &mut PgConnection) -> Result<Vec<AccountId>, Error> {
    let admins = sqlx::query_scalar!(
        r#"select id as "id: AccountId" from account
         where role = 'admin' and disabled_at is null
         order by id
         for no key update"#
    )
    .fetch_all(tx)
    .await?;
    Ok(admins)
}

/// An admin without a password and without a live session: the one that the first start made, until somebody moves in.
pub async fn never_entered_admin(db: &mut PgConnection) -> Result<Option<AccountId>, Error> {
    let found = sqlx::query_scalar!(
        r#"select id as "id: AccountId" from account a
         where role = 'admin' and password_hash is null and disabled_at is null
           and not exists (select 1 from session s where s.account_id = a.id)
         order by id limit 1"#
    )
    .fetch_optional(db)
    .await?;
    Ok(found)
}
