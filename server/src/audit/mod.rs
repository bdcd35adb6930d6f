//! What is worth remembering, appended in the transaction of the change it tells of, and integrated within a second into a Merkle log
//! that is signed at every step (RFC 6962; c2sp.org/tlog-tiles). Never updates; deletes nothing but details that have to be forgotten.

mod event;
mod leaf;
mod log;
mod merkle;
mod note;
mod receipt;
mod store;
mod tiles;
mod verify;

pub use event::{Event, without_account};
pub use log::{Log, Standing};
pub use note::{Checkpoint, LogKey, NotBelieved};
pub use receipt::{Proven, check, receipt};
pub use store::{Filter, Row, about, entries, find, forget, page, pending, record};
pub use tiles::{TILE_HASHES, parse_name};
pub use verify::{Checked, Fault, Verdict, look_through, verify};
