//! `expire-grants FOLDER EMAIL`: lets the grants of one account have ended yesterday, in the private database of the portal that keeps
//! its data in FOLDER. No page can turn the clock, and the browser tests look at what a holder then sees.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use server::postgres::{Settings, attach};
use sqlx::{Connection, PgConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [folder, email] => run(Path::new(folder), email).await,
        _ => Err("usage: expire-grants FOLDER EMAIL".into()),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    // Nothing is left to do about a standard error that cannot be written.
    let _ = writeln!(std::io::stderr(), "expire-grants: {error}");
    ExitCode::FAILURE
}

async fn run(folder: &Path, email: &str) -> Result<(), Box<dyn Error>> {
    let postgres = attach(&folder.join("postgres"), &Settings::default()).await?;
    let mut db = PgConnection::connect_with(&postgres.connect_options()).await?;
    let ended = sqlx::query(
        "update access_grant g
         set granted_at = granted_at - interval '1 year', expires_at = now() - interval '1 day'
         from account a
         where a.id = g.account_id and a.email = $1 and g.revoked_at is null",
    )
    .bind(email)
    .execute(&mut db)
    .await?;
    db.close().await?;
    postgres.release().await?;
    if ended.rows_affected() == 0 { Err(format!("{email} holds no grant").into()) } else { Ok(()) }
}
