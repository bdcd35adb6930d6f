//! `sluice grant add` and `sluice grant revoke`: access given and taken back by the operator, on the record.

use clap::{Args, Subcommand};
use sqlx::PgConnection;

use super::say;
use crate::access::{self, Gift, GrantScope, Revoked};
use crate::accounts::{self, Account, Email};
use crate::catalog::{self, Gate, Model};
use crate::error::{Error, FieldError};
use crate::http::when;
use crate::portal::Portal;

/// `sluice grant …`
#[derive(Subcommand)]
pub enum GrantCommand {
    /// Gives an account access to a gated model, without an application
    #[command(
        after_help = "Example:\n  sluice grant add ada@university.edu lab/opt-175b --reason 'replication of table 3, agreed by mail' --days 30"
    )]
    Add(Add),
    /// Takes access back; it holds nowhere from the next request on
    ///
    /// Where the model's rules ask for two people, this is the first of them: access is suspended at once, and a reviewer or an admin
    /// confirms or rejects in the portal.
    #[command(after_help = "Example:\n  sluice grant revoke ada@university.edu lab/opt-175b --reason 'the weights were passed on'")]
    Revoke(Revoke),
}

/// `sluice grant add EMAIL ORG/NAME`
#[derive(Args)]
pub struct Add {
    /// Whose access
    email: String,
    /// To which model
    #[arg(value_name = "ORG/NAME")]
    model: String,
    /// Why; kept on record
    #[arg(long)]
    reason: String,
    /// Days until it ends, 366 at most; the holder gets a mail 60, 30, 7 and 1 days before, but none in the first half of the time
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
    /// For which uses: download, playground, api; all of them unless said
    #[arg(long = "for", value_name = "USE", value_delimiter = ',')]
    uses: Vec<String>,
}

/// `sluice grant revoke EMAIL ORG/NAME`
#[derive(Args)]
pub struct Revoke {
    /// Whose access
    email: String,
    /// To which model
    #[arg(value_name = "ORG/NAME")]
    model: String,
    /// Why; kept on record and sent to the holder
    #[arg(long)]
    reason: String,
}

/// Runs `sluice grant …`
pub async fn run(portal: &Portal, command: GrantCommand) -> Result<(), Error> {
    match command {
        GrantCommand::Add(add) => {
            let (account, model) = find(portal, &add.email, &add.model).await?;
            let uses = add.uses.iter().map(|named| named.parse()).collect::<Result<Vec<GrantScope>, FieldError>>()?;
            let scopes = if uses.is_empty() { &GrantScope::ALL } else { uses.as_slice() };
            let gift = Gift { scopes, reason: &add.reason, days: add.days };
            let grant = access::give_for(portal, None, &account, &model, &gift).await?;
            say(&format!("{} has access to {} until {}.", account.email, model.full_name(), when::minute(grant.expires_at)));
            if model.gate == Gate::Open {
                say("The model is open just now; the grant counts once it is gated.");
            }
        }
        GrantCommand::Revoke(revoke) => {
            let (account, model) = find(portal, &revoke.email, &revoke.model).await?;
            let revoked = access::take_back(portal, &account, &model, &revoke.reason).await.map_err(|error| match error {
                Error::NotFound(_) => {
                    Error::Conflict(format!("{} has no access to {} that could be revoked", account.email, model.full_name()).into())
                }
                other => other,
            })?;
            say(&format!("{} has no access to {} any more.", account.email, model.full_name()));
            if let Revoked::Proposed(held) = revoked {
                let page = portal.config.url_of(&format!("/admin/grants/{}", held.grant.id));
                say("Revoking access to this model takes two people, so it is suspended for now, and proposed to be revoked.");
                say(&format!("Reviewers were told by mail; one of them, or an admin, confirms or rejects: {page}"));
            }
        }
    }
    Ok(())
}

/// The most models among which near names are sought.
const MODELS_MAX: i64 = 10_000;
/// How many near names are told.
const NEAR_NAMES: usize = 5;

async fn find(portal: &Portal, email: &str, model: &str) -> Result<(Account, Model), Error> {
    let email = Email::parse(email)?;
    let mut db = portal.db.acquire().await?;
    let account = accounts::find_by_email(&mut db, &email)
        .await?
        .ok_or_else(|| Error::Conflict(format!("{email} has no account; make one with: sluice user add {email}").into()))?;
    Ok((account, find_model(&mut db, model).await?))
}

/// The model an operator typed. Errors: `Conflict` with the nearest names there are.
pub(super) async fn find_model(db: &mut PgConnection, model: &str) -> Result<Model, Error> {
    let (org, name) = model
        .split_once('/')
        .ok_or_else(|| FieldError::new("ORG/NAME", format!("{model:?} is no such name; it looks like lab/opt-125m")))?;
    if let Some(found) = catalog::find_any_model(db, org, name).await? {
        return Ok(found);
    }
    let mut known: Vec<String> = catalog::list_all_models(db, MODELS_MAX).await?.iter().map(Model::full_name).collect();
    if known.is_empty() {
        return Err(Error::Conflict("there are no models yet; publish one with: sluice publish DIR ORG/NAME".into()));
    }
    known.sort_by_key(|known| distance(&known.to_lowercase(), &model.to_lowercase()));
    known.truncate(NEAR_NAMES);
    Err(Error::Conflict(format!("there is no model {model}; the nearest names are: {}", known.join(", ")).into()))
}

/// How many letters have to be added, removed or changed to get from `a` to `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_letters_added_removed_and_changed() {
        for (a, b, letters) in [("", "", 0), ("opt", "opt", 0), ("opt", "", 3), ("lab/opt-1b", "lab/opt-13b", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), letters, "{a} → {b}");
            assert_eq!(distance(b, a), letters, "{b} → {a}");
        }
    }
}
