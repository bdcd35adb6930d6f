//! `sluice token add`: prints a new access token, and nothing else, on stdout.

use clap::{Args, Subcommand};

use super::{result, say};
use crate::accounts::{self, Email, Scope, TOKEN_DAYS_DEFAULT};
use crate::error::Error;
use crate::mail::TokenMaker;
use crate::portal::Portal;

/// `sluice token …`
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Prints a new access token on stdout; it is not shown again
    #[command(after_help = "Example:\n  export HF_TOKEN=$(sluice token add ada@university.edu --scope download --days 30)")]
    Add(Add),
}

/// `sluice token add EMAIL`
#[derive(Args)]
pub struct Add {
    /// Whose token
    email: String,
    /// What it is called in their list
    #[arg(long, default_value = "made by the operator")]
    name: String,
    /// What it may be used for: download, api, apply, review, admin
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', default_value = "download,api")]
    scopes: Vec<String>,
    /// Days until it expires
    #[arg(long, default_value_t = TOKEN_DAYS_DEFAULT)]
    days: i64,
}

/// Runs `sluice token …`
pub async fn run(portal: &Portal, command: TokenCommand) -> Result<(), Error> {
    let TokenCommand::Add(add) = command;
    let email = Email::parse(&add.email)?;
    let mut scopes = add.scopes.iter().map(|scope| scope.parse()).collect::<Result<Vec<Scope>, _>>()?;
    scopes.sort();
    scopes.dedup();
    let mut tx = portal.db.begin().await?;
    let account = accounts::find_by_email(&mut tx, &email)
        .await?
        .ok_or_else(|| Error::Conflict(format!("{email} has no account; make one with: sluice user add {email}").into()))?;
    let secret = accounts::make_token(&mut tx, portal, TokenMaker::Operator, &account, &add.name, &scopes, add.days).await?;
    tx.commit().await?;
    say(&format!("A token for {email}, for {} days:", add.days));
    result(&secret);
    Ok(())
}
