//! What is offered: models, their immutable releases, and how a folder of weights becomes one.
//! Never decides who may have it; that is `access`.

mod ahead;
mod background;
mod card;
mod check;
mod copy;
mod demo;
mod derive;
mod draft;
mod gate;
mod gc;
mod keep;
mod meter;
mod model;
mod model_name;
mod offer;
mod prove;
mod publish;
mod report;
mod scrub;
mod size;
mod store;
mod survey;
mod yank;

pub use card::{SafeHtml, render as render_markdown};
pub use check::{CARD_FILE, Fault};
pub use demo::publish_if_empty as publish_demo_if_empty;
pub use draft::{discard_draft, publish_draft};
pub use gate::change_gate;
pub use gc::{KEEP_DAYS_DEFAULT as GC_KEEP_DAYS_DEFAULT, Sweep, Unneeded, collect};
pub use meter::{Meter, Phase};
pub use model::{Draft, Gate, Licence, MAIN, Model, NamedRelease, Release, ReleaseFile, ReleaseName, ReleaseState, parse_tag};
pub use model_name::{ModelName, RESERVED_ORGS};
pub use offer::Terms;
pub use prove::{prove_next, rotate_key, waiting_for_proof};
pub use publish::{Order, Outcome, Published, publish};
pub use report::tensors_json;
pub use scrub::{RATE_DEFAULT as SCRUB_RATE_DEFAULT, scrub};
pub use size::{human_bytes, human_files};
pub use store::{
    Bundle, Faulty, Holdings, Round, all_models_after, bundle, claim_news, draft, draft_of, drafts, faulty, file, file_proofs, files,
    find_any_model, find_model, find_model_by_id, find_models, holdings, licence, list_all_models, list_models, main_releases,
    models_after, named_release, names, names_of_revisions, release, releases, report, resolve, rounds, yanked_since,
};
pub use yank::{Changed, YANK_REASON_CHARS_MAX, restore, yank};
