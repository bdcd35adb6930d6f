//! What the database keeps of browsers that accounts have signed in with.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::AccountId;

/// What is known of a browser when somebody signs in with it.
pub struct Met {
    pub is_new: bool,
    pub has_others: bool,
}

impl Met {
    /// Whether its owner is to be told: others were known, and it was not.
    pub fn is_stranger(&self) -> bool {
        self.is_new && self.has_others
    }
}

/// Notes that an account signs in with a browser, and says what was known of it.
pub async fn meet_browser(tx: &mut PgConnection, account: AccountId, hash: &[u8], now: Timestamp) -> Result<Met, Error> {
    // A row that was there is written anew by a transaction, which then stands in its xmax.
    let met = sqlx::query_as!(
        Met,
        r#"with before as (select count(*) as known from known_browser where account_id = $1)
         insert into known_browser (account_id, secret_hash, first_at, last_at) values ($1, $2, $3, $3)
         on conflict (account_id, secret_hash) do update set last_at = excluded.last_at
         returning xmax = 0 as "is_new!", (select known > 0 from before) as "has_others!""#,
        account.uuid(),
        hash,
        now,
    )
    .fetch_one(tx)
    .await?;
    Ok(met)
}

/// Whether somebody has signed in to an account with a browser.
pub async fn knows_browser(db: &mut PgConnection, account: AccountId, hash: &[u8]) -> Result<bool, Error> {
    let known = sqlx::query_scalar!(
        r#"select exists (select 1 from known_browser where account_id = $1 and secret_hash = $2) as "known!""#,
        account.uuid(),
        hash,
    )
    .fetch_one(db)
    .await?;
    Ok(known)
}

/// Forgets all but those that an account used last.
pub async fn keep_browsers(tx: &mut PgConnection, account: AccountId, most: i64) -> Result<(), Error> {
    sqlx::query!(
        "delete from known_browser
         where account_id = $1 and secret_hash in (
             select secret_hash from known_browser where account_id = $1
             order by last_at desc, secret_hash
             offset $2)",
        account.uuid(),
        most,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets every browser of an account: the next one is its first.
pub async fn forget_browsers(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    sqlx::query!("delete from known_browser where account_id = $1", account.uuid()).execute(tx).await?;
    Ok(())
}

/// Forgets browsers that nobody has signed in with since.
pub async fn sweep_browsers(db: &mut PgConnection, since: Timestamp) -> Result<(), Error> {
    sqlx::query!("delete from known_browser where last_at <= $1", since).execute(db).await?;
    Ok(())
}
