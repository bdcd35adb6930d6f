//! What the database keeps of applications, attestations, grants and the rules for them: one file for each.

mod application;
mod attestation;
mod form;
mod grant;
mod policy;
mod standing;

pub(super) use application::{
    count_waiting, decided, find, insert_unless_open, is_applicant, latest, lock, lock_open, of_applicant, of_model, save, sent_by, waiting,
};
pub(super) use attestation::{attestations, insert_attestations};
pub(super) use form::{current_form, find_forms, insert_form};
pub(super) use grant::{GrantOrigin, count_held, grants, in_force_for, insert_grant, is_holder, lock_grant, lock_unrevoked, revoke_grant};
pub use grant::{find_grant, grants_in_force};
pub(super) use policy::{find_policy, save_policy};
pub(super) use standing::{standing, standings};
