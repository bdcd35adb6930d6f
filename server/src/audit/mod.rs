//! What is worth remembering, appended in the transaction of the change it tells of. Never updates, never deletes.

mod event;
mod store;

pub use event::Event;
pub use store::{Filter, Row, page, record};
