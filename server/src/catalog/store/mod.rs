//! What the database keeps of models, releases, files and objects.

mod draft;
mod model;
mod object;
mod proof;
mod release;
mod scrub;

pub(super) use draft::{delete_draft, insert_draft, set_draft_notes, set_published, spoilt_file};
pub use draft::{draft, draft_of, drafts};
pub use model::{
    all_models_after, find_any_model, find_model, find_model_by_id, find_models, licence, list_all_models, list_models, models_after,
};
pub(super) use model::{await_publication, insert_licence, insert_model, lock_publication, only_these_models, save_model, set_gate};
pub(super) use object::{any_object_of_size, insert_object, note_object_read, object_verified_at};
pub use proof::{Bundle, bundle, file_proofs, report};
pub(super) use proof::{Bundles, Undigested, Unproven, insert_chunks, insert_report, save_bundles, signed_by, undigested, unproven};
pub use release::{
    claim_news, file, files, main_releases, named_release, names, names_of_revisions, release, releases, resolve, yanked_since,
};
pub(super) use release::{insert_files, main_of, newest_good_release, point, point_by_yank, set_yanked};

pub use scrub::{Faulty, Holdings, Round, faulty, holdings, rounds};
pub(super) use scrub::{
    Stored, begin_round, claim_objects, claim_scrub, finish_round, forget_object, hold_objects, let_go, next_to_check, note_checked,
    object_names, open_round, unneeded_objects,
};

/// Whether the database can be asked for these: its texts hold no zero byte, addresses may.
fn is_text<const N: usize>(parts: [&str; N]) -> bool {
    parts.iter().all(|part| !part.contains('\0'))
}
