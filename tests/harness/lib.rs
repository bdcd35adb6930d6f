//! The real thing, started small: a real server on a random port, a real Postgres with a database of its own,
//! a folder as object store, a toy OPT through the real engine, a clock in the test's hand.
#![allow(clippy::unwrap_used, missing_docs, reason = "in tests a failure is a panic, and gestures are named for what they do")]

mod large;
mod line;
mod mail_server;
mod offers;
mod page;
mod people;
mod portal;
mod process;
mod puller;
mod small_disk;
mod statements;
mod store;
mod weather;
mod weights;

pub use large::{LargeRelease, journal_says_done};
pub use line::Line;
pub use mail_server::{Arrived, MailServer, Security};
pub use offers::Offer;
pub use page::Page;
pub use people::Person;
pub use portal::TestPortal;
pub use process::{Installation, Serving};
pub use puller::{Ended, Puller};
pub use small_disk::{as_seen_by, on_small_disk, quoted};
pub use statements::Statements;
pub use store::{ObjectStore, bucket};
pub use weather::{Asked, Trouble, Weather};
pub use weights::{Weights, noise};

/// Chooses the provider of TLS that everything of ours uses; reqwest makes no client before that is done. Again does nothing.
fn choose_tls() {
    drop(rustls::crypto::ring::default_provider().install_default());
}
