//! The record as the outside sees it: the signed log, for whoever watches it, and receipts, for whomever it speaks of. It only reads.

mod api;
mod routes;

pub use api::Operations;
pub use routes::configure;
