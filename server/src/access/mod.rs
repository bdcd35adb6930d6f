//! Who may have what: applications, decisions, grants, and the one question [`authorize`] that every path asks.
//! Never moves bytes and never sends a mail from inside a request.

#[cfg(test)]
#[macro_use]
mod each;
mod answers;
mod answers_view;
mod api;
mod application;
mod application_page;
#[cfg(test)]
mod application_tests;
mod apply;
mod apply_page;
mod authorize;
pub mod block;
mod bulk;
mod case_actions;
mod case_history;
mod case_page;
mod check;
mod checklist;
mod clause;
mod close;
mod comment;
pub mod consent;
mod consent_page;
mod country;
mod decline;
mod difference;
mod digest;
mod editor;
mod erase;
mod evidence;
mod form;
mod form_parts;
mod form_rules;
mod form_view;
pub mod forms;
mod grant;
mod grant_routes;
mod held;
mod holder;
mod hub_requests;
mod issue;
mod kept_bar;
mod lapse;
mod lists;
mod notice;
mod operate;
mod overdue;
mod people;
mod person;
pub mod policy;
mod queue_page;
mod recorded;
mod renew;
mod renewal;
mod renewals;
mod review;
mod revoke;
mod routes;
mod scope;
mod state;
mod state_view;
pub mod statistics;
mod stopped;
mod store;
mod suspend;
mod thread;
mod thread_view;
mod turnaround;
mod turnaround_page;
mod view;
mod waits;

pub use answers::Answers;
pub use api::Operations;
pub use application::{Application, Approval};
pub use apply::{Sent, appeal, save_draft, submit, withdraw};
pub use authorize::{Action, Permit, Trial, Verdict, authorize, authorize_actions, authorize_each, bad_token, lock_trial, permit_with};
pub use block::{BLOCK_LIFE_MAX, Block};
pub use check::Attestation;
pub use close::{DELETED, close};
pub use decline::DeclineReason;
pub use digest::send_digests;
pub use erase::{close_all, forget, lock_all, subjects_of};
pub use form::Form;
pub use grant::{Ended, Grant, HeldGrant, Note, Standing};
pub use held::{Counts, concerns, counts, counts_of_model, grants_of};
pub use kept_bar::{follow_address, keep_bars};
pub use lapse::sweep_applications;
pub use operate::{Gift, give, give_for, take_back};
pub use person::{KnownPerson, SentApplication, known_person};
pub use policy::Policy;
pub use review::{Seen, approve, claim, decline, release, request_changes, undo};
pub use revoke::{Revoked, confirm_revocation, reject_revocation, revoke};
pub use routes::configure;
pub use scope::GrantScope;
pub use state::State;
pub use state_view::{StandingWords, standing_words};
pub use store::{application_rows, block_rows, find_grant, grant_rows, grants_in_force, revocations_proposed};
pub use suspend::{reinstate, suspend};

/// Tells holders whose access ends soon and applicants whose answer is late, closes requests for a renewal that nobody can decide
/// any more, and forgets bars of erased accounts that have ended.
pub async fn sweep(portal: &crate::portal::Portal) -> Result<(), crate::error::Error> {
    while notice::tell(portal).await? {}
    while overdue::tell(portal).await? {}
    while renew::lapse(portal).await? {}
    store::sweep_bars(&mut *portal.db.acquire().await?, portal.clock.now()).await
}
