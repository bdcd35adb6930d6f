//! Where the weights lie. Objects are stored once, under the digest of their content, and never change.

mod folder;
mod key;

pub use folder::{Folder, Staged, StagedFolder};
pub use key::ObjectKey;
