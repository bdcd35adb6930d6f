//! `sluice key …`: the keys that sign releases.

use clap::{Args, Subcommand};
use time::Duration;

use super::{result, say};
use crate::catalog;
use crate::error::{Error, FieldError};
use crate::portal::Portal;

/// How long an overlap may be: two years.
const OVERLAP_DAYS_MAX: i64 = 731;

/// `sluice key …`
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Makes a new signing key and signs every release with it; prints its id
    #[command(
        after_help = "Example:\n  sluice key rotate --overlap-days 90\n\nThe key before stays listed at /.well-known/sluice-keys.json until it retires, so that what was fetched before can still be verified, and vouches for the new one, so that those who know it follow by themselves. If it may have been stolen, let it retire at once: --overlap-days 0. Then it vouches for nothing, and who knows it has to be told of the new one. Nothing is hashed again."
    )]
    Rotate(Rotate),
    /// Lists the keys, the one that signs first
    List,
}

/// `sluice key rotate`
#[derive(Args)]
pub struct Rotate {
    /// Days for which the key before stays trusted
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    overlap_days: i64,
}

/// Runs `sluice key …`
pub async fn run(portal: &Portal, command: KeyCommand) -> Result<(), Error> {
    match command {
        KeyCommand::Rotate(rotate) => rotate_key(portal, rotate.overlap_days).await,
        KeyCommand::List => list(portal),
    }
}

async fn rotate_key(portal: &Portal, overlap_days: i64) -> Result<(), Error> {
    if !(0..=OVERLAP_DAYS_MAX).contains(&overlap_days) {
        return Err(FieldError::new("--overlap-days", format!("is between 0 and {OVERLAP_DAYS_MAX}")).into());
    }
    let (made, signed) = catalog::rotate_key(portal, Duration::days(overlap_days)).await?;
    let before = match made.succession {
        Some(_) => {
            format!("The one before is trusted for {overlap_days} days more and has vouched for it: `sluice pull` follows by itself.")
        }
        None => {
            "The one before is trusted no longer and vouches for nothing: tell everybody the new key, for `sluice pull --key FILE`.".into()
        }
    };
    say(&format!("A new key signs from now on; {signed} releases were signed with it. {before}"));
    result(&made.id);
    Ok(())
}

fn list(portal: &Portal) -> Result<(), Error> {
    let keys = portal.keys.list()?;
    for (at, key) in keys.iter().enumerate() {
        let until = key.retires_at.map_or_else(|| "signs".to_owned(), |at| format!("trusted until {}", at.date()));
        let vouched = match (keys.get(at + 1), &key.succession) {
            (None, _) => "the first",
            (Some(_), Some(_)) => "vouched for by the one before",
            (Some(_), None) => "vouched for by nobody",
        };
        result(&format!("{}  made {}  {until}  {vouched}", key.id, key.created_at.date()));
    }
    Ok(())
}
