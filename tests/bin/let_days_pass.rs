//! `let-days-pass FOLDER EMAIL DAYS`: lets everything that one account has applied for, holds and has asked for lie so many days further
//! back, in the private database of the portal that keeps its data in FOLDER. No page can turn the clock, and the browser tests look at
//! what people see when time has passed.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use server::postgres::{Settings, attach};
use sqlx::{Connection, PgConnection};

/// What lies further back: `$1` is the address, `$2` the days.
const SHIFTS: [&str; 3] = [
    "update renewal r set asked_at = asked_at - make_interval(days => $2), closed_at = closed_at - make_interval(days => $2)
     from access_grant g, account a
     where r.grant_id = g.id and g.account_id = a.id and a.email = $1",
    "update access_grant g
     set granted_at = granted_at - make_interval(days => $2), expires_at = expires_at - make_interval(days => $2)
     from account a
     where g.account_id = a.id and a.email = $1 and g.revoked_at is null",
    "update application p
     set created_at = p.created_at - make_interval(days => $2), updated_at = p.updated_at - make_interval(days => $2),
         submitted_at = p.submitted_at - make_interval(days => $2), due_at = p.due_at - make_interval(days => $2),
         claimed_at = p.claimed_at - make_interval(days => $2), changes_at = p.changes_at - make_interval(days => $2),
         appealed_at = p.appealed_at - make_interval(days => $2), appealed_decline_at = p.appealed_decline_at - make_interval(days => $2),
         closed_at = p.closed_at - make_interval(days => $2)
     from account a
     where p.account_id = a.id and a.email = $1",
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [folder, email, days] => run(Path::new(folder), email, days).await,
        _ => Err("usage: let-days-pass FOLDER EMAIL DAYS".into()),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    // Nothing is left to do about a standard error that cannot be written.
    let _ = writeln!(std::io::stderr(), "let-days-pass: {error}");
    ExitCode::FAILURE
}

async fn run(folder: &Path, email: &str, days: &str) -> Result<(), Box<dyn Error>> {
    let days: i32 = days.parse()?;
    let postgres = attach(&folder.join("postgres"), &Settings::default()).await?;
    let mut db = PgConnection::connect_with(&postgres.connect_options()).await?;
    let mut moved = 0;
    for shift in SHIFTS {
        moved += sqlx::query(shift).bind(email).bind(days).execute(&mut db).await?.rows_affected();
    }
    db.close().await?;
    postgres.release().await?;
    if moved == 0 { Err(format!("{email} has nothing that could lie further back").into()) } else { Ok(()) }
}
