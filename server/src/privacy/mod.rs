//! What is kept of a person: given to them whole when they ask, and forgotten when they ask for that.
//! Keeps nothing of its own; each room below says what it has and clears it.

mod archive;
mod erase;
mod printed;
mod routes;

pub use archive::Archive;
pub use erase::{Asker, Erased, erase, forget_late};
pub use routes::{Operations, configure};
