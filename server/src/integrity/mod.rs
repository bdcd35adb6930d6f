//! What the bytes must be: digests and the manifest of a release. Knows no database and no HTTP.

mod digest;
mod manifest;

pub use digest::{Digests, digest, sha256_hex};
pub use manifest::{Entry, Manifest};
