//! `sluice gc`: which objects of the store no release needs; with `--delete`, gone.

use clap::Args;
use time::Duration;

use super::{result, say};
use crate::catalog::{self, GC_KEEP_DAYS_DEFAULT, Sweep, human_bytes};
use crate::error::Error;
use crate::portal::Portal;

/// `sluice gc`
#[derive(Args)]
pub struct Gc {
    /// Remove them; without this they are only listed
    #[arg(long)]
    delete: bool,
    /// Keep objects that are younger: an interrupted publication may go on with them
    #[arg(long, value_name = "DAYS", default_value_t = GC_KEEP_DAYS_DEFAULT)]
    keep_days: u32,
    /// Remove also what is in the store and not on record. Not in a bucket that another portal uses too
    #[arg(long, requires = "delete")]
    unrecorded: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs `sluice gc`. `Conflict` while a publication runs.
pub async fn run(portal: &Portal, gc: Gc) -> Result<(), Error> {
    let sweep = Sweep { keep: Duration::days(gc.keep_days.into()), delete: gc.delete, unrecorded: gc.unrecorded };
    let found = catalog::collect(portal, sweep).await?;
    for object in &found {
        if gc.json {
            let (sha256, size_bytes, recorded) = (&object.sha256, object.size_bytes, object.is_on_record);
            result(
                &serde_json::json!({ "sha256": sha256, "size_bytes": size_bytes, "on_record": recorded, "removed": gc.delete }).to_string(),
            );
        } else {
            let note = if object.is_on_record { "" } else { "  not on record" };
            result(&format!("{}  {}{note}", object.sha256, human_bytes(object.size_bytes)));
        }
    }
    let bytes = human_bytes(found.iter().map(|object| object.size_bytes).sum());
    let objects = if found.len() == 1 { "1 object".to_owned() } else { format!("{} objects", found.len()) };
    let unrecorded = found.iter().any(|object| !object.is_on_record);
    match (gc.delete, found.is_empty()) {
        (_, true) => say("Nothing to remove: every object is needed, or younger than the days to keep."),
        (true, false) => say(&format!("Removed {objects}, {bytes}.")),
        (false, false) if unrecorded => {
            say(&format!(
                "{objects}, {bytes}, are in no release. Nothing was removed: --delete removes those on record, --unrecorded also the others."
            ));
        }
        (false, false) => say(&format!("{objects}, {bytes}, are in no release. Nothing was removed: --delete does.")),
    }
    Ok(())
}
