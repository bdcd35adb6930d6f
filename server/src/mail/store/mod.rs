//! What the database keeps of mails beside the outbox's own work: looking through them, bounces, preferences, digests.

mod bounce;
mod digest;
mod list;
mod person;
mod preference;
mod retention;

pub(super) use bounce::mark_bounced;
pub use bounce::unreachable;
pub use digest::{begin_digest, readers_without_digest};
pub use list::{Counts, Filter, Mail, State, counts, find, page, retry_all};
pub(super) use list::{insert_again, retry};
pub use person::{choice_rows, forget, rows_to};
pub(super) use preference::chosen;
pub use preference::{paces, set_pace};
pub(super) use retention::{remove_words, with_words};
