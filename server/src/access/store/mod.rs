//! What the database keeps of applications, their threads, attestations, grants, blocks and the rules for them, and what the desk is told of
//! them: one file for each.

mod application;
mod application_row;
mod attestation;
mod block;
mod case;
mod consent;
mod desk;
mod digest;
mod erase;
mod export;
mod form;
mod form_draft;
mod grant;
mod kept_bar;
mod model_use;
mod notice;
mod overdue;
mod policy;
mod renewal;
mod standing;
mod statistics;
mod thread;

pub(super) use application::{
    count_waiting, find, find_all, insert_unless_open, is_applicant, latest, lock, lock_open, of_applicant, of_applicant_after, of_model,
    save,
};
pub(super) use attestation::replace_attestations;
pub(super) use block::{blocks, blocks_after, insert_block, lift_block, lock_block};
pub(super) use case::{OtherCase, case_file, sent_by, set_checked};
pub(super) use consent::{TermsDue, asking, consents_due, form_change, insert_change, insert_consent, last_change, terms_due};
pub(super) use desk::{ViewCounts, known, search, search_after, view, view_counts, waits};
pub(super) use digest::{WaitingCase, count_waiting_for, most_urgent_for};
pub(super) use erase::{
    claimed_ids, forget_applications, forget_blocks, forget_comments, forget_grants, forget_renewals, forget_sendings, grant_ids_in_force,
    lock_cases_of, lock_grants_of, open_application_ids, printed_ids,
};
pub use export::{application_rows, block_rows, grant_rows};
pub(super) use form::{FormVersion, current_form, find_forms, form_versions, insert_form, insert_form_version};
pub(super) use form_draft::{
    Affected, FormDraft, FormWork, affected_by_form, delete_form_draft, find_form_draft, form_work, insert_form_draft, lock_form_draft,
    update_form_draft, waiting_for_model,
};
pub(super) use grant::{
    GrantOrigin, count_held, counts_of_model, find_grants, grants, grants_after, in_force_for, insert_grant, is_holder, lock_grant,
    lock_unrevoked, revoke_grant, save_grant, suspended_grants,
};
pub use grant::{find_grant, grants_in_force, revocations_proposed};
pub(super) use kept_bar::{keep_bars, sweep_bars, take_bars};
pub(super) use model_use::used;
pub(super) use notice::{DueNotice, claim_consents_due, claim_ended, claim_notices};
pub(super) use overdue::claim_overdue;
pub(super) use policy::{find_rules, save_rules};
pub(super) use renewal::{
    find_renewal, insert_renewal, lock_renewal, move_end, newest_renewals, open_renewals, renewals_of, renewals_to_lapse, save_renewal,
};
pub(super) use standing::{footing, footings, standing};
pub(super) use statistics::{decided_by_model, declined_by_model, statistics};
pub(super) use thread::{
    as_sent, comment_counts, count_comments, insert_comment, insert_sending, left_alone, note_lapse_told, sent_last, unread_comment,
};
