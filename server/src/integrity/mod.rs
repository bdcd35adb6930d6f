//! What the bytes must be: digests, the manifest of a release, and signatures over it. Knows no database and no HTTP.

mod address_key;
mod digest;
mod key;
mod keyring;
mod manifest;
mod safe_path;
pub mod signature;
mod statement;
mod succession;
mod sums;

pub use address_key::AddressKey;
pub use digest::{CHUNK_BYTES, ChunkDigests, Digests, GIT_BYTES_MAX, Hasher, digest, sha256_hex};
pub use key::{ALGORITHM, KeyFault, PublicKey, SigningKey};
pub use keyring::{KeyRecord, Keyring};
pub use manifest::{Entry, FileProof, Kind, Manifest, ManifestHasher, manifest_page, manifest_sha256};
pub use safe_path::{Clash, Clashes, OURS, PARTIAL, RELEASE_NAME_BYTES_MAX, check_path, check_release_name, check_release_path};
pub use signature::{BUNDLE_BYTES_MAX, SignatureFault, Signed};
pub use statement::{Method, NEVER_SIGNED, Release as SignedRelease, Resource, Statement};
pub use succession::vouched_for;
pub use sums::{blake3_sums, metalink, sha256_sums};
