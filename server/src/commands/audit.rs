//! `sluice audit …`: proves the record whole, and checks receipts.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{result, say};
use crate::audit::{self, Checkpoint, LogKey, NotBelieved, Verdict};
use crate::error::{Error, FieldError};
use crate::portal::Portal;

/// `sluice audit …`
#[derive(Subcommand)]
pub enum AuditCommand {
    /// Builds the log anew from the database and compares it with its tiles and with what was signed; names the first bad entry
    #[command(
        after_help = "Examples:\n  sluice audit verify\n  curl -s https://weights.example.org/audit/checkpoint > kept-elsewhere\n  sluice audit verify --against kept-elsewhere\n\nEnds with 3 if an event was changed, moved, removed or inserted, or an older copy of the database restored. A checkpoint that was kept elsewhere also shows if all of the portal's data was replaced."
    )]
    Verify(Verify),
    /// Checks a receipt, offline: what it says was recorded then, or was changed since
    #[command(
        after_help = "Example:\n  sluice audit check application.approved-17.tlog-proof --key log.vkey\n\nAsks nobody. Ends with 3 if the receipt proves nothing."
    )]
    Check(Check),
}

/// `sluice audit verify`
#[derive(Args)]
pub struct Verify {
    /// A checkpoint that was kept elsewhere: the log must have grown from it. May be given several times
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// `sluice audit check`
#[derive(Args)]
pub struct Check {
    /// The receipt
    file: PathBuf,
    /// The key of the log that you trust, or a file with it: what the portal gave at /audit/key when you had no reason to doubt it
    #[arg(long)]
    key: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `sluice audit verify`; says whether everything is as it was.
pub async fn verify(portal: &Portal, command: Verify) -> Result<bool, Error> {
    let mut others = Vec::new();
    for file in &command.against {
        let not_believed = |fault: NotBelieved| FieldError::new("--against", format!("{}: {fault}", file.display()));
        others.push(Checkpoint::open(&read(file, "--against")?, portal.audit.key()).map_err(not_believed)?);
    }
    let verdict = audit::verify(&portal.db, &portal.audit, &others).await?;
    if command.json {
        result(&as_json(&verdict).to_string());
    } else if let Some(fault) = &verdict.fault {
        result(&fault.to_string());
        say("The record is not what it was. Keep the data as it is, and compare it with a backup from before.");
    } else {
        result(&format!(
            "{} entries are whole, {} of them signed; {} events wait for their place.",
            verdict.entries, verdict.signed, verdict.waiting
        ));
        if verdict.erased > 0 {
            say(&format!("The detail of {} was erased; that they happened, when and by whom is proven without it.", verdict.erased));
        }
    }
    Ok(verdict.fault.is_none())
}

fn as_json(verdict: &Verdict) -> Value {
    let fault = verdict.fault.as_ref().map(|fault| json!({ "index": fault.index, "what": fault.what }));
    json!({ "entries": verdict.entries, "signed": verdict.signed, "waiting": verdict.waiting, "erased": verdict.erased, "fault": fault })
}

/// Runs `sluice audit check`; says whether the receipt can be believed. Asks nobody.
pub fn check(command: &Check) -> Result<bool, Error> {
    let key = if Path::new(&command.key).exists() { read(Path::new(&command.key), "--key")? } else { command.key.clone() };
    let key = LogKey::parse(&key).map_err(|fault| FieldError::new("--key", fault.to_string()))?;
    let proven = match audit::check(&read(&command.file, "FILE")?, &key) {
        Ok(proven) => proven,
        Err(fault) => {
            say(&format!("sluice: {}: {fault}", command.file.display()));
            return Ok(false);
        }
    };
    let (entry, detail) = (value_of(&proven.entry), proven.detail.as_deref().map(value_of));
    let (index, checkpoint) = (proven.index, &proven.checkpoint);
    if command.json {
        let log = json!({ "origin": checkpoint.origin, "size": checkpoint.size, "index": index });
        result(&json!({ "entry": entry, "detail": detail, "log": log }).to_string());
        return Ok(true);
    }
    let nobody = audit::without_account(entry["kind"].as_str().unwrap_or_default());
    for (name, field) in [("What", "kind"), ("About", "subject"), ("When", "at"), ("By", "actor")] {
        result(&format!("{name:<7}{}", entry[field].as_str().unwrap_or(nobody)));
    }
    for (key, value) in detail.as_ref().and_then(Value::as_object).into_iter().flatten() {
        result(&format!("       {}: {}", key.replace('_', " "), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    say(&format!("Proven: entry {index} of the {} that {} has signed.", checkpoint.size, checkpoint.origin));
    Ok(true)
}

fn value_of(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn read(path: &Path, field: &'static str) -> Result<String, FieldError> {
    std::fs::read_to_string(path).map_err(|cause| FieldError::new(field, format!("{}: {cause}", path.display())))
}
