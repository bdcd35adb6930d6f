//! `sluice verify`: is a folder still what was published? Offline; prints a line for everything that is not.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::pull::watched;
use super::{plain, result, say};
use crate::catalog::{human_bytes, human_files};
use crate::client::{self, Fault, Findings, Meter};
use crate::config::ClientConfig;

/// `sluice verify DIR`
#[derive(Args)]
pub struct Verify {
    /// A folder that `sluice pull` has made, or any other with a signature and a key
    dir: PathBuf,
    /// An OpenSSF model signature to check the folder against, with --key; may be given again for more files [default: model.sig and
    /// documents.sig in a folder that `sluice pull` has not made]
    #[arg(long, value_name = "FILE", requires = "key")]
    signature: Vec<PathBuf>,
    /// The publisher's public key (PEM), or, for what `sluice pull` has made, one that has vouched for it [default: the keys remembered for the portal]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `sluice verify`. Anything that differs, is missing or is too much is a mismatch, after everything was named.
pub async fn run(config: ClientConfig, verify: Verify) -> Result<(), Fault> {
    let meter = Arc::new(Meter::default());
    let found = {
        let (meter, dir, key) = (meter.clone(), verify.dir.clone(), verify.key.clone());
        let named = verify.signature.clone();
        tokio::task::spawn_blocking(move || match (&key, named) {
            (Some(key), named) if !named.is_empty() => client::verify_signed(&dir, &named, key, &meter),
            (Some(key), _) if client::is_of_others(&dir) => client::verify_by_what_lies_there(&dir, key, &meter),
            _ => client::verify(&dir, key.as_deref(), &config.config_dir, &meter),
        })
    };
    let found = watched(&meter, found).await.map_err(|cause| Fault::Failed(cause.to_string()))??;
    if verify.json {
        result(&serde_json::to_string(&found).expect("what was found is JSON"));
    } else {
        found.lines().iter().for_each(|line| result(&plain(line)));
    }
    let Findings { model, revision, files, bytes, left_out, unsigned, .. } = &found;
    let left = if *left_out == 0 { String::new() } else { format!("; {} never wanted (--include)", human_files(*left_out)) };
    let at = revision.as_ref().map(|revision| format!(" at {revision}")).unwrap_or_default();
    let left = match unsigned.as_slice() {
        [] => left,
        unsigned => format!("{left}; these signatures do not speak of {}", unsigned.join(", ")),
    };
    let right = format!("{model}{at}: {}, {}, as signed{left}", human_files(*files), human_bytes(*bytes));
    if found.is_clean() {
        say(&format!("{right}."));
        return Ok(());
    }
    let dir = verify.dir.display();
    let count = [found.differing.len(), found.missing.len() + found.partial.len(), found.extra.len()];
    let mend = match revision {
        Some(revision) if model.contains('/') => format!("\nMend it: sluice pull {model} {dir} --revision {revision} --repair"),
        _ => String::new(),
    };
    Err(Fault::Mismatch(format!(
        "{dir} is not what was published: {}, {} missing, {} extra; {right}.{mend}",
        if count[0] == 1 { "1 file differs".to_owned() } else { format!("{} files differ", count[0]) },
        count[1],
        count[2]
    )))
}
