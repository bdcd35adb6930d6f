//! `sluice user add`: makes an account. `sluice user link`: a way in for one that exists. `sluice user export` and `erase`: what is kept of
//! somebody, and forgetting it.

use std::io::Read;

use clap::{Args, Subcommand};

use super::{result, say};
use crate::accounts::{self, Account, Email, Password, Role};
use crate::error::{Error, FieldError};
use crate::portal::Portal;
use crate::privacy::{self, Archive, Asker, Erased};

/// `sluice user …`
#[derive(Subcommand)]
pub enum UserCommand {
    /// Makes an account; without a password it prints a one-time sign-in link
    #[command(after_help = "Example:\n  sluice user add grace@lab.example --name 'Grace Hopper' --role reviewer")]
    Add(Add),
    /// Prints a one-time sign-in link for an account that exists; its earlier links stop working
    #[command(after_help = "Example:\n  sluice user link admin@localhost")]
    Link {
        /// Their e-mail address
        email: String,
    },
    /// Prints everything that is kept of a person, as JSON
    #[command(after_help = "Example:\n  sluice user export ada@university.edu > ada.json")]
    Export {
        /// Their e-mail address, or the id of their account
        who: String,
    },
    /// Forgets a person, who cannot come back: access, words, name and address go, a pseudonym stays
    #[command(after_help = "Example:\n  sluice user erase ada@university.edu --yes")]
    Erase {
        /// Their e-mail address, or the id of their account
        who: String,
        /// Do it; without this it says what it would do
        #[arg(long)]
        yes: bool,
    },
}

/// `sluice user add EMAIL`
#[derive(Args)]
pub struct Add {
    /// Their e-mail address; you vouch that it is theirs
    email: String,
    /// Their name; the part before the @ unless told
    #[arg(long)]
    name: Option<String>,
    /// What they may do: researcher, reviewer or admin
    #[arg(long, default_value = "researcher")]
    role: String,
    /// Read the password from stdin (its first line)
    #[arg(long)]
    password_stdin: bool,
}

/// Runs `sluice user …`
pub async fn run(portal: &Portal, command: UserCommand) -> Result<(), Error> {
    match command {
        UserCommand::Add(add) => self::add(portal, add).await,
        UserCommand::Link { email } => link(portal, &Email::parse(&email)?).await,
        UserCommand::Export { who } => export(portal, &who).await,
        UserCommand::Erase { who, yes } => erase(portal, &who, yes).await,
    }
}

async fn add(portal: &Portal, add: Add) -> Result<(), Error> {
    let email = Email::parse(&add.email)?;
    let role: Role = add.role.parse()?;
    let name = add.name.unwrap_or_else(|| email.as_str().split('@').next().unwrap_or_default().to_owned());
    let password = if add.password_stdin { Some(read_password(&email, &name)?) } else { None };
    let has_password = password.is_some();
    let account = accounts::add_account(portal, &email, &name, role, password).await?;
    if has_password {
        say(&format!("{email} has an account ({}).", role.as_str()));
        return Ok(());
    }
    let link = accounts::sign_in_link(portal, account.id).await?;
    say(&format!(
        "{email} has an account ({}). This link signs them in, once, within {} hours:",
        role.as_str(),
        accounts::SIGN_IN_LINK_HOURS
    ));
    result(&link);
    Ok(())
}

async fn link(portal: &Portal, email: &Email) -> Result<(), Error> {
    let found = accounts::find_by_email(&mut *portal.db.acquire().await?, email).await?;
    let account = found.ok_or(Error::NotFound("account with this address"))?;
    if account.disabled_at.is_some() {
        return Err(Error::Conflict(format!("the account of {email} is closed; an admin opens it again under /admin/people").into()));
    }
    let link = accounts::sign_in_link(portal, account.id).await?;
    say(&format!("This link signs {email} in, once, within {} hours; a new password can be chosen there:", accounts::SIGN_IN_LINK_HOURS));
    result(&link);
    Ok(())
}

async fn export(portal: &Portal, who: &str) -> Result<(), Error> {
    let mut archive = Archive::of(named(portal, who).await?.id);
    while let Some(part) = archive.next(portal).await? {
        result(&part);
    }
    Ok(())
}

async fn erase(portal: &Portal, who: &str, yes: bool) -> Result<(), Error> {
    let account = named(portal, who).await?;
    if !yes {
        say(&format!(
            "This would erase {} ({}), once and for all: access, answers, comments, mails, name and address go, and open applications are \
             withdrawn. What was decided, when and by whom stays, and so do places in the audit log; what keeps \
             them out follows their address until it ends. To do it, add --yes.",
            account.email, account.id
        ));
        return Ok(());
    }
    match privacy::erase(portal, account.id, Asker::Operator).await? {
        Erased::Now => say(&format!("{} is erased; {} stands for whoever it was.", account.email, account.id)),
        Erased::Before => say(&format!("{} was erased before; nothing is left to erase.", account.id)),
    }
    Ok(())
}

/// The account of an address, or of an id.
async fn named(portal: &Portal, who: &str) -> Result<Account, Error> {
    let mut db = portal.db.acquire().await?;
    if let Ok(id) = who.parse() {
        return accounts::find_account(&mut db, id).await;
    }
    accounts::find_by_email(&mut db, &Email::parse(who)?).await?.ok_or(Error::NotFound("account with this address"))
}

/// More than any password; a wrong file on stdin is not read to its end.
const STDIN_BYTES_MAX: u64 = 4096;

fn read_password(email: &Email, name: &str) -> Result<Password, Error> {
    let mut text = String::new();
    std::io::stdin()
        .take(STDIN_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|cause| FieldError::new("--password-stdin", cause.to_string()))?;
    Ok(Password::parse_new(text.lines().next().unwrap_or_default(), email, name)?)
}
