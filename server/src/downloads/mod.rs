//! Bytes to those who may have them, in the way the clients of the Hugging Face Hub ask for them, and the ledger of who fetched what.
//! Never decides who may (`access` does) nor what is offered (`catalog` does); never changes a byte and never hashes one.
//!
//! What is open: a model's card, licence, file list, sizes and digests are readable by everybody, gated or not, because the portal's
//! pages show the same. The gate is on bytes: of a gated model only the card and the licence at its root are given without a grant.

mod api;
mod ascii;
mod at_once;
mod describe;
mod filter;
mod headers;
mod hub;
mod instead;
mod ledger;
mod ledger_file;
mod lookup;
mod news;
mod query;
mod quota;
mod range;
mod routes;
mod send;
mod store;
mod tree;
mod watch;
mod yank;

pub use api::{DownloadLine, DownloadTotals, Operations};
pub use filter::{Asked, Filter, PAGE_ROWS, Totals, cut};
pub use ledger::{Before, Counts, Download, Ledger};
pub use ledger_file::export;
pub use routes::configure;
pub use store::{Volume, forget, page, rows_of, totals, volumes};
pub use watch::ASK_EVERY;
pub use yank::{Yanked, fetched_by, restore, yank};

/// Tells those who downloaded something that it was yanked since, or has a new release.
pub async fn sweep(portal: &crate::portal::Portal) -> Result<(), crate::error::Error> {
    yank::tell_late(portal).await?;
    while news::tell(portal).await? {}
    Ok(())
}
