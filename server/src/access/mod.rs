//! Who may have what: applications, decisions, grants, and the one question `authorize` that every path asks.

mod authorize;
mod grant;
mod store;

pub use authorize::{Action, Permit, Verdict, authorize};
pub use grant::Grant;
