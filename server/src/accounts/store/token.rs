//! What the database keeps of access tokens.

use sqlx::PgConnection;

use super::super::token::{Parent, Scope, Token, TokenHolder, scopes_of};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, TokenId};

/// Adds a token.
pub async fn insert_token(tx: &mut PgConnection, account: AccountId, token: &Token, secret_hash: &[u8]) -> Result<(), Error> {
    let scopes: Vec<String> = token.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    sqlx::query!(
        "insert into token (id, account_id, name, secret_hash, hint, scopes, created_at, expires_at, made_with)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        token.id.uuid(),
        account.uuid(),
        token.name,
        secret_hash,
        token.hint,
        &scopes,
        token.created_at,
        token.expires_at,
        token.made_with.map(TokenId::uuid),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Lets nobody else make a token of an account before the transaction ends, so that they can be counted. Not the account's row is locked:
/// who changes the password holds that, and then asks for tokens and programs that whoever makes one holds.
pub async fn lock_tokens(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('tokens ' || $1::text, 0))", account.to_string()).execute(tx).await?;
    Ok(())
}

/// How many tokens of an account work now.
pub async fn live_tokens(db: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from token where account_id = $1 and revoked_at is null and expires_at > $2"#,
        account.uuid(),
        now
    )
    .fetch_one(db)
    .await?;
    Ok(count)
}

/// Whose token this is, if it works now.
pub async fn find_by_token(db: &mut PgConnection, secret_hash: &[u8], now: Timestamp) -> Result<Option<TokenHolder>, Error> {
    let holder = sqlx::query_as!(
        TokenHolder,
        r#"select t.id as "token: TokenId", t.name as token_name, t.scopes, t.created_at as token_created_at,
                t.expires_at as token_expires_at, t.last_used_at,
                a.id as "account: AccountId", a.email, a.name, a.role, a.email_verified_at, a.created_at
         from token t join account a on a.id = t.account_id
         where t.secret_hash = $1 and t.revoked_at is null and t.expires_at > $2 and a.disabled_at is null"#,
        secret_hash,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(holder)
}

/// Whether the token works now.
pub async fn token_works(db: &mut PgConnection, id: TokenId, now: Timestamp) -> Result<bool, Error> {
    let works = sqlx::query_scalar!(
        r#"select exists (
             select 1 from token t join account a on a.id = t.account_id
             where t.id = $1 and t.revoked_at is null and t.expires_at > $2 and a.disabled_at is null) as "works!""#,
        id.uuid(),
        now,
    )
    .fetch_one(db)
    .await?;
    Ok(works)
}

/// Notes that a token was used.
pub async fn touch_token(db: &mut PgConnection, id: TokenId, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("update token set last_used_at = $2 where id = $1", id.uuid(), now).execute(db).await?;
    Ok(())
}

/// The tokens of an account that were not revoked, newest first.
pub async fn tokens(db: &mut PgConnection, account: AccountId) -> Result<Vec<Token>, Error> {
    let rows = sqlx::query!(
        r#"select id as "id: TokenId", name, hint, scopes, created_at, expires_at, last_used_at, revoked_at,
                made_with as "made_with: TokenId"
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
            made_with: row.made_with,
        })
        .collect())
}

/// What a working token of an account may, which nobody revokes before the transaction ends.
pub async fn lock_parent(tx: &mut PgConnection, account: AccountId, id: TokenId, now: Timestamp) -> Result<Option<Parent>, Error> {
    let row = sqlx::query!(
        r#"select scopes, expires_at, made_with as "made_with: TokenId" from token
         where account_id = $1 and id = $2 and revoked_at is null and expires_at > $3
         for share"#,
        account.uuid(),
        id.uuid(),
        now,
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| Parent { scopes: scopes_of(&row.scopes), expires_at: row.expires_at, made_with: row.made_with }))
}

/// Locks a token of an account that was not revoked; says what it may, and with which token it was made.
pub async fn lock_token(tx: &mut PgConnection, account: AccountId, id: TokenId) -> Result<Option<(Vec<Scope>, Option<TokenId>)>, Error> {
    let found = sqlx::query!(
        r#"select scopes, made_with as "made_with: TokenId" from token
         where account_id = $1 and id = $2 and revoked_at is null
         for update"#,
        account.uuid(),
        id.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.map(|row| (scopes_of(&row.scopes), row.made_with)))
}

/// Locks the token with this secret, whosever it is; says which it was, if there was one to revoke.
pub async fn lock_by_secret(tx: &mut PgConnection, secret_hash: &[u8]) -> Result<Option<(AccountId, TokenId)>, Error> {
    let found = sqlx::query!(
        r#"select account_id as "account: AccountId", id as "id: TokenId" from token where secret_hash = $1 and revoked_at is null for update"#,
        secret_hash,
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.map(|row| (row.account, row.id)))
}

/// Revokes a token and those that were made with it, and says which.
pub async fn revoke_token(tx: &mut PgConnection, id: TokenId, now: Timestamp) -> Result<Vec<TokenId>, Error> {
    let revoked = sqlx::query_scalar!(
        r#"update token set revoked_at = $2 where (id = $1 or made_with = $1) and revoked_at is null returning id as "id: TokenId""#,
        id.uuid(),
        now,
    )
    .fetch_all(tx)
    .await?;
    Ok(revoked)
}

/// A token that was reported as leaked, and whose it is.
pub struct LeakedToken {
    pub id: TokenId,
    pub account: AccountId,
    pub name: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// Revokes the tokens with these secrets that work now, whosever they are, and says which. Two who have found the same do not
/// wait for each other in a ring: both take them in one order.
pub async fn revoke_leaked(tx: &mut PgConnection, hashes: &[Vec<u8>], now: Timestamp) -> Result<Vec<LeakedToken>, Error> {
    let leaked = sqlx::query_as!(
        LeakedToken,
        r#"update token set revoked_at = $2
         where id in (
             select id from token
             where secret_hash = any($1) and revoked_at is null and expires_at > $2
             order by id
             for update)
         returning id as "id: TokenId", account_id as "account: AccountId", name, created_at, last_used_at"#,
        hashes,
        now,
    )
    .fetch_all(tx)
    .await?;
    Ok(leaked)
}

/// Revokes every token of an account that works now, and says which.
pub async fn revoke_all_tokens(tx: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<Vec<TokenId>, Error> {
    let revoked = sqlx::query_scalar!(
        r#"update token set revoked_at = $2
         where account_id = $1 and revoked_at is null and expires_at > $2
         returning id as "id: TokenId""#,
        account.uuid(),
        now
    )
    .fetch_all(tx)
    .await?;
    Ok(revoked)
}

/// A token whose owner is to be told that it ends.
pub struct EndingToken {
    pub account: AccountId,
    pub name: String,
    pub expires_at: Timestamp,
}

/// Takes tokens whose end is so many days away, and notes for each the most urgent notice that is due, so that nobody else takes it, nor
/// anything less urgent. Not those in whose place another of the same name has come, nor those of accounts that are closed.
pub async fn claim_token_notices(tx: &mut PgConnection, days: &[i16], now: Timestamp, limit: i64) -> Result<Vec<EndingToken>, Error> {
    let due = sqlx::query_as!(
        EndingToken,
        r#"update token t
         set noticed_days = due.days
         from (
             select s.id, min(d) as days
             from token s join account a on a.id = s.account_id, unnest($1::smallint[]) d
             where s.revoked_at is null and a.disabled_at is null
               and s.expires_at > $2 and s.expires_at <= $2 + make_interval(hours => 24 * d)
               and s.expires_at - s.created_at >= make_interval(hours => 48 * d)
               and (s.noticed_days is null or s.noticed_days > d)
               and not exists (
                   select from token later
                   where later.account_id = s.account_id and later.name = s.name
                     and later.revoked_at is null and later.expires_at > s.expires_at)
             group by s.id
             order by min(s.expires_at)
             limit $3) due
         where t.id = due.id and (t.noticed_days is null or t.noticed_days > due.days)
         returning t.account_id as "account: AccountId", t.name, t.expires_at"#,
        days,
        now,
        limit,
    )
    .fetch_all(tx)
    .await?;
    Ok(due)
}
