//! What the database keeps of mails beside the outbox's own work: looking through them.

mod bounce;
mod list;

pub use bounce::unreachable;
pub use list::{Counts, Filter, Mail, State, counts, find, page, retry, retry_all};
