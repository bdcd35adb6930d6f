//! Where the weights lie. Objects are stored once, under the digest of their content, and never change.

mod copies;
mod folder;
mod key;
mod objects;
mod probe;
mod problem;
mod read;
mod s3;
mod signed;
mod staging;
mod store_time;
mod upload;

pub use folder::Folder;
pub use key::ObjectKey;
pub use objects::{Bytestream, Objects};
pub use problem::Problem;
pub use s3::S3;
pub use signed::Shown;
pub use staging::{Staged, StagedFolder, Staging};
pub use upload::{PART_BYTES, Whole};
