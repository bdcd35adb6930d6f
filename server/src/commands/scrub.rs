//! `sluice scrub`: every object of the store read back and compared with its digest.

use clap::Args;

use super::{result, say};
use crate::catalog::{self, SCRUB_RATE_DEFAULT, human_bytes};
use crate::error::Error;
use crate::http::when;
use crate::portal::Portal;

/// `sluice scrub`
#[derive(Args)]
pub struct Scrub {
    /// Bytes read a second, on the whole; 0 for as fast as it goes
    #[arg(long, value_name = "BYTES/S", default_value_t = SCRUB_RATE_DEFAULT)]
    rate: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `sluice scrub`, and says whether every object is what it was.
pub async fn run(portal: &Portal, scrub: Scrub) -> Result<bool, Error> {
    let mut faults = Vec::new();
    let mut is_first = true;
    let round = catalog::scrub(portal, scrub.rate, |object, fault, round| {
        if std::mem::take(&mut is_first) && round.objects > 1 {
            say(&format!("Going on with the round of {}: {} objects were read before.", when::minute(round.started_at), round.objects - 1));
        }
        if let Some(fault) = fault {
            say(&format!("  {} {fault}", object.sha256));
            faults.push(serde_json::json!({ "sha256": object.sha256, "fault": fault }));
        }
    })
    .await?;
    let bytes = human_bytes(round.bytes.unsigned_abs());
    say(&format!("Read {} objects, {bytes}, since {}.", round.objects, when::minute(round.started_at)));
    if round.faults > 0 {
        say(&format!(
            "Not what it was: {} of them. /admin/store names the files; publish a good copy again, or restore these objects from a backup.",
            round.faults
        ));
    }
    if scrub.json {
        let body = serde_json::json!({ "objects": round.objects, "bytes": round.bytes, "faults": round.faults, "faulty": faults });
        result(&body.to_string());
    }
    Ok(round.faults == 0)
}
