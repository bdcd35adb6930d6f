//! A private PostgreSQL cluster in a folder, for a portal with nothing configured: found, made, started, waited for,
//! shared between commands, stopped, and recovered after anything.
//!
//! It is reached over a Unix socket by its owner and root alone: no port, no password. It ends when the process that
//! started it ends, however that happens. This room never reads the portal's tables and knows no setting by its name.

mod account;
mod attach;
mod binaries;
mod child;
mod cluster;
mod create;
mod error;
mod layout;
mod recover;
mod server;

pub use attach::{Attached, attach};
pub use cluster::{Cluster, Settings};
pub use error::ClusterError;
