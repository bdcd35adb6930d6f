//! Who may have what: applications, decisions, grants, and the one question [`authorize`] that every path asks.
//! Never moves bytes and never sends a mail from inside a request.

mod answers;
mod answers_view;
mod application;
mod apply;
mod authorize;
mod check;
mod clause;
mod country;
mod decline;
mod desk;
mod form;
mod form_parts;
mod form_rules;
mod form_view;
pub mod forms;
mod grant;
mod held;
mod hub_requests;
mod issue;
mod operate;
pub mod policy;
mod review;
mod revoke;
mod routes;
mod state_view;
mod store;

pub use answers::Answers;
pub use application::{Application, State};
pub use apply::{Sent, save_draft, submit, withdraw};
pub use authorize::{Action, Permit, Verdict, authorize, authorize_each, bad_token, permit_with};
pub use check::Attestation;
pub use decline::DeclineReason;
pub use form::Form;
pub use grant::{Grant, HeldGrant, Standing};
pub use held::{Counts, concerns, counts, grants_of};
pub use operate::{give, take_back};
pub use policy::Policy;
pub use review::{approve, decline};
pub use revoke::revoke;
pub use routes::configure;
pub use store::{find_grant, grants_in_force};
