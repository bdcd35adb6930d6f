//! What the database keeps of accounts, sessions, tokens and one-time links.

use sqlx::PgConnection;

use super::account::{Account, Email, Role};
use super::session::Via;
use super::token::{Scope, Token};
use crate::clock::Timestamp;
use crate::error::{Error, OnConstraint};
use crate::ids::{AccountId, LinkId, SessionId, TokenId};

/// The columns of an account, as they lie in the table.
struct AccountRow {
    id: AccountId,
    email: String,
    name: String,
    role: String,
    email_verified_at: Option<Timestamp>,
    created_at: Timestamp,
    disabled_at: Option<Timestamp>,
}

impl AccountRow {
    fn account(self) -> Account {
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

fn scopes_of(stored: &[String]) -> Vec<Scope> {
    stored.iter().map(|scope| scope.parse().expect("token_scopes_ck allows only known scopes")).collect()
}

/// Adds an account. Errors: `Conflict` if the address has one.
pub(super) async fn insert_account(tx: &mut PgConnection, account: &Account, password_hash: Option<&str>) -> Result<(), Error> {
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

/// Accounts whose address or name contains `search`, newest first, `limit` of them before `before`.
pub async fn list(db: &mut PgConnection, search: &str, before: Option<AccountId>, limit: i64) -> Result<Vec<Account>, Error> {
    let rows = sqlx::query_as!(
        AccountRow,
        r#"select id as "id: AccountId", email, name, role, email_verified_at, created_at, disabled_at
         from account
         where ($1 = '' or strpos(email, lower($1)) > 0 or strpos(lower(name), lower($1)) > 0)
           and ($2::uuid is null or id < $2)
         order by id desc
         limit $3"#,
        search,
        before.map(AccountId::uuid),
        limit,
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
pub(super) async fn password_hash(db: &mut PgConnection, id: AccountId) -> Result<Option<String>, Error> {
    let row = sqlx::query_scalar!("select password_hash from account where id = $1", id.uuid()).fetch_optional(db).await?;
    Ok(row.flatten())
}

/// Sets a new password's hash.
pub(super) async fn set_password_hash(tx: &mut PgConnection, id: AccountId, hash: &str) -> Result<(), Error> {
    sqlx::query!("update account set password_hash = $2 where id = $1", id.uuid(), hash).execute(tx).await?;
    Ok(())
}

/// Notes that the address was proved; the first time counts.
pub(super) async fn set_verified(tx: &mut PgConnection, id: AccountId, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("update account set email_verified_at = coalesce(email_verified_at, $2) where id = $1", id.uuid(), now)
        .execute(tx)
        .await?;
    Ok(())
}

/// Changes the name.
pub(super) async fn set_name(tx: &mut PgConnection, id: AccountId, name: &str) -> Result<(), Error> {
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
         for update"#
    )
    .fetch_all(tx)
    .await?;
    Ok(admins)
}

/// A session as its owner sees it.
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) user_agent: String,
    pub(super) created_at: Timestamp,
    pub(super) last_seen_at: Timestamp,
}

/// Begins a session.
pub(super) async fn insert_session(
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
pub(super) async fn find_by_session(
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

/// Notes that a session was used.
pub(super) async fn touch_session(db: &mut PgConnection, id: SessionId, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("update session set last_seen_at = $2 where id = $1", id.uuid(), now).execute(db).await?;
    Ok(())
}

/// The sessions of an account that still live, the latest used first.
pub(super) async fn sessions(
    db: &mut PgConnection,
    account: AccountId,
    now: Timestamp,
    idle_since: Timestamp,
) -> Result<Vec<Session>, Error> {
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
pub(super) async fn end_session(tx: &mut PgConnection, account: AccountId, id: SessionId) -> Result<bool, Error> {
    let done = sqlx::query!("delete from session where account_id = $1 and id = $2", account.uuid(), id.uuid()).execute(tx).await?;
    Ok(done.rows_affected() > 0)
}

/// Ends every session of an account but `keep`.
pub(super) async fn end_other_sessions(tx: &mut PgConnection, account: AccountId, keep: Option<SessionId>) -> Result<(), Error> {
    sqlx::query!("delete from session where account_id = $1 and ($2::uuid is null or id <> $2)", account.uuid(), keep.map(SessionId::uuid))
        .execute(tx)
        .await?;
    Ok(())
}

/// Adds a token.
pub(super) async fn insert_token(tx: &mut PgConnection, account: AccountId, token: &Token, secret_hash: &[u8]) -> Result<(), Error> {
    let scopes: Vec<String> = token.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    sqlx::query!(
        "insert into token (id, account_id, name, secret_hash, hint, scopes, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        token.id.uuid(),
        account.uuid(),
        token.name,
        secret_hash,
        token.hint,
        &scopes,
        token.created_at,
        token.expires_at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// How many tokens of an account work now.
pub(super) async fn live_tokens(db: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from token where account_id = $1 and revoked_at is null and expires_at > $2"#,
        account.uuid(),
        now
    )
    .fetch_one(db)
    .await?;
    Ok(count)
}

/// Whose token this is, if it works now, and when it was used last.
pub(super) async fn find_by_token(
    db: &mut PgConnection,
    secret_hash: &[u8],
    now: Timestamp,
) -> Result<Option<(Account, Via, Option<Timestamp>)>, Error> {
    let row = sqlx::query!(
        r#"select t.id as "token_id: TokenId", t.name as token_name, t.scopes, t.created_at as token_created_at, t.expires_at, t.last_used_at,
                a.id as "id: AccountId", a.email, a.name, a.role, a.email_verified_at, a.created_at, a.disabled_at
         from token t join account a on a.id = t.account_id
         where t.secret_hash = $1 and t.revoked_at is null and t.expires_at > $2 and a.disabled_at is null"#,
        secret_hash,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        let via = Via::Token {
            id: row.token_id,
            name: row.token_name,
            scopes: scopes_of(&row.scopes),
            created_at: row.token_created_at,
            expires_at: row.expires_at,
        };
        let account = AccountRow {
            id: row.id,
            email: row.email,
            name: row.name,
            role: row.role,
            email_verified_at: row.email_verified_at,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
        };
        (account.account(), via, row.last_used_at)
    }))
}

/// Notes that a token was used.
pub(super) async fn touch_token(db: &mut PgConnection, id: TokenId, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("update token set last_used_at = $2 where id = $1", id.uuid(), now).execute(db).await?;
    Ok(())
}

/// The tokens of an account that were not revoked, newest first.
pub(super) async fn tokens(db: &mut PgConnection, account: AccountId) -> Result<Vec<Token>, Error> {
    let rows = sqlx::query!(
        r#"select id as "id: TokenId", name, hint, scopes, created_at, expires_at, last_used_at, revoked_at
         from token
         where account_id = $1 and revoked_at is null
         order by id desc"#,
        account.uuid(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Token {
            id: row.id,
            name: row.name,
            hint: row.hint,
            scopes: scopes_of(&row.scopes),
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        })
        .collect())
}

/// Revokes a token of an account; says whether there was one to revoke.
pub(super) async fn revoke_token(tx: &mut PgConnection, account: AccountId, id: TokenId, now: Timestamp) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update token set revoked_at = $3 where account_id = $1 and id = $2 and revoked_at is null",
        account.uuid(),
        id.uuid(),
        now
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Adds a one-time link; earlier ones of the same purpose stop working.
pub(super) async fn insert_link(
    tx: &mut PgConnection,
    account: AccountId,
    purpose: &str,
    secret_hash: &[u8],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "update one_time_link set used_at = $3 where account_id = $1 and purpose = $2 and used_at is null",
        account.uuid(),
        purpose,
        now
    )
    .execute(&mut *tx)
    .await?;
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

/// Whose link this is, if it can still be used; does not use it.
pub(super) async fn peek_link(
    db: &mut PgConnection,
    purpose: &str,
    secret_hash: &[u8],
    now: Timestamp,
) -> Result<Option<AccountId>, Error> {
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
pub(super) async fn use_link(tx: &mut PgConnection, purpose: &str, secret_hash: &[u8], now: Timestamp) -> Result<Option<AccountId>, Error> {
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

/// Removes what cannot be used any more: sessions and links past their end.
pub async fn sweep(db: &mut PgConnection, now: Timestamp, idle_since: Timestamp) -> Result<(), Error> {
    sqlx::query!("delete from session where expires_at <= $1 or last_seen_at <= $2", now, idle_since).execute(&mut *db).await?;
    sqlx::query!("delete from one_time_link where expires_at <= $1", now).execute(db).await?;
    Ok(())
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
