//! What is kept of an account, for its owner: every column, those that come later among them, but for secrets and their hashes.

use serde_json::Value;
use sqlx::PgConnection;

use crate::error::Error;
use crate::ids::AccountId;

/// The account itself.
pub async fn account_row(db: &mut PgConnection, id: AccountId) -> Result<Value, Error> {
    let row = sqlx::query_scalar!(
        r#"select to_jsonb(a) - 'password_hash' || jsonb_build_object('has_password', a.password_hash is not null) as "row!"
         from account a where id = $1"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.ok_or(Error::NotFound("account"))
}

/// Its sessions.
pub async fn session_rows(db: &mut PgConnection, id: AccountId) -> Result<Vec<Value>, Error> {
    let rows =
        sqlx::query_scalar!(r#"select to_jsonb(s) - 'secret_hash' as "row!" from session s where account_id = $1 order by id"#, id.uuid());
    Ok(rows.fetch_all(db).await?)
}

/// The browsers it has signed in with.
pub async fn browser_rows(db: &mut PgConnection, id: AccountId) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query_scalar!(
        r#"select to_jsonb(b) - 'secret_hash' as "row!" from known_browser b where account_id = $1 order by first_at"#,
        id.uuid(),
    );
    Ok(rows.fetch_all(db).await?)
}

/// Its tokens.
pub async fn token_rows(db: &mut PgConnection, id: AccountId) -> Result<Vec<Value>, Error> {
    let rows =
        sqlx::query_scalar!(r#"select to_jsonb(t) - 'secret_hash' as "row!" from token t where account_id = $1 order by id"#, id.uuid());
    Ok(rows.fetch_all(db).await?)
}

/// Its one-time links.
pub async fn link_rows(db: &mut PgConnection, id: AccountId) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query_scalar!(
        r#"select to_jsonb(l) - 'secret_hash' as "row!" from one_time_link l where account_id = $1 order by id"#,
        id.uuid()
    );
    Ok(rows.fetch_all(db).await?)
}

/// The programs it let in, or did not.
pub async fn device_rows(db: &mut PgConnection, id: AccountId) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query_scalar!(
        r#"select to_jsonb(d) - 'device_hash' - 'user_code_hash' as "row!" from device_sign_in d where account_id = $1 order by id"#,
        id.uuid(),
    );
    Ok(rows.fetch_all(db).await?)
}
