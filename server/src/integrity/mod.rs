//! What the bytes must be: digests, the manifest of a release, and signatures over it. Knows no database and no HTTP.

mod digest;
mod key;
mod manifest;
mod safe_path;
pub mod signature;
mod statement;

pub use digest::{Digests, digest, sha256_hex};
pub use key::{ALGORITHM, KeyFault, PublicKey, SigningKey};
pub use manifest::{Entry, Manifest};
pub use safe_path::{Clashes, check_path};
pub use signature::{SignatureFault, Signed};
pub use statement::{Method, Release as SignedRelease, Resource, Statement};
