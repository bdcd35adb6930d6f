//! What runs the portal looks at: people, models, the record, the outbox, usage. Reads through the faces of the rooms below
//! and changes through their verbs; keeps nothing of its own.

mod api;
mod erasure;
mod figures;
mod grants;
mod holdings;
mod jobs;
mod lists;
mod models;
mod outbox;
mod outbox_files;
mod overview;
mod people;
mod person;
mod policy;
mod record;
mod record_files;
mod releases;
mod routes;
mod statistics;
mod usage;

pub use api::Operations;
pub use routes::configure;
