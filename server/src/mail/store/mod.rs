//! What the database keeps of mails beside the outbox's own work: looking through them, and bounces.

mod bounce;
mod list;

pub(super) use bounce::mark_bounced;
pub use bounce::unreachable;
pub use list::{Counts, Filter, Mail, State, counts, find, page, retry, retry_all};
