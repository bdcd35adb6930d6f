//! What the database keeps of programs that wait to be signed in.

use sqlx::PgConnection;

use super::super::device::{DeviceSignIn, Program, State};
use super::super::token::scopes_of;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, DeviceSignInId};

struct Row {
    id: DeviceSignInId,
    program: String,
    user_agent: String,
    address: String,
    scopes: Vec<String>,
    state: String,
    account_id: Option<AccountId>,
    created_at: Timestamp,
    expires_at: Timestamp,
    polled_at: Option<Timestamp>,
    interval_s: i32,
}

impl Row {
    fn sign_in(self) -> DeviceSignIn {
        let state = match (self.state.as_str(), self.account_id) {
            ("approved", Some(account)) => State::Approved(account),
            ("denied", _) => State::Denied,
            ("used", _) => State::Used,
            (_, _) => State::Waiting,
        };
        DeviceSignIn {
            id: self.id,
            program: Program::stored(&self.program).expect("device_sign_in_program_ck allows only known programs"),
            user_agent: self.user_agent,
            address: self.address,
            scopes: scopes_of(&self.scopes),
            state,
            created_at: self.created_at,
            expires_at: self.expires_at,
            polled_at: self.polled_at,
            interval_s: self.interval_s,
        }
    }
}

/// Adds a program that waits.
pub async fn insert_device_sign_in(
    db: &mut PgConnection,
    waiting: &DeviceSignIn,
    device_hash: &[u8],
    user_code_hash: &[u8],
) -> Result<(), Error> {
    let scopes: Vec<String> = waiting.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    sqlx::query!(
        "insert into device_sign_in (id, device_hash, user_code_hash, program, user_agent, address, scopes, created_at, expires_at, interval_s)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        waiting.id.uuid(),
        device_hash,
        user_code_hash,
        waiting.program.as_str(),
        waiting.user_agent,
        waiting.address,
        &scopes,
        waiting.created_at,
        waiting.expires_at,
        waiting.interval_s,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The program that waits with this code for somebody to decide.
pub async fn waiting_with_code(db: &mut PgConnection, user_code_hash: &[u8], now: Timestamp) -> Result<Option<DeviceSignIn>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select id as "id: DeviceSignInId", program, user_agent, address, scopes, state, account_id as "account_id: AccountId", created_at,
                expires_at, polled_at, interval_s
         from device_sign_in where user_code_hash = $1 and state = 'waiting' and expires_at > $2"#,
        user_code_hash,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Row::sign_in))
}

/// Notes what somebody decided; says whether it was still theirs to decide.
pub async fn decide(
    tx: &mut PgConnection,
    id: DeviceSignInId,
    account: AccountId,
    state: &'static str,
    now: Timestamp,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update device_sign_in set state = $3, account_id = $2 where id = $1 and state = 'waiting' and expires_at > $4",
        id.uuid(),
        account.uuid(),
        state,
        now,
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The program with this long code, which no other question touches meanwhile.
pub async fn lock_device_sign_in(tx: &mut PgConnection, device_hash: &[u8]) -> Result<Option<DeviceSignIn>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select id as "id: DeviceSignInId", program, user_agent, address, scopes, state, account_id as "account_id: AccountId", created_at,
                expires_at, polled_at, interval_s
         from device_sign_in where device_hash = $1
         for update"#,
        device_hash,
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(Row::sign_in))
}

/// Notes that a program asked, and how long it has to wait from now on.
pub async fn note_poll(tx: &mut PgConnection, id: DeviceSignInId, now: Timestamp, interval_s: i32) -> Result<(), Error> {
    sqlx::query!("update device_sign_in set polled_at = $2, interval_s = $3 where id = $1", id.uuid(), now, interval_s).execute(tx).await?;
    Ok(())
}

/// Notes that the token was given out.
pub async fn use_device_sign_in(tx: &mut PgConnection, id: DeviceSignInId) -> Result<(), Error> {
    sqlx::query!("update device_sign_in set state = 'used' where id = $1", id.uuid()).execute(tx).await?;
    Ok(())
}

/// Takes back what an account approved and no program has come for yet.
pub async fn end_device_sign_ins(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    sqlx::query!("update device_sign_in set state = 'denied' where account_id = $1 and state = 'approved'", account.uuid())
        .execute(tx)
        .await?;
    Ok(())
}
