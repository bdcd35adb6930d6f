//! SHA-256 and BLAKE3 of a content and of each 16 MiB of it, in one pass over the bytes.
//!
//! Each byte belongs to two contents: the whole, and the chunk it lies in. Four digests are four times the work for a program that takes
//! one after the other; but two states of SHA-256 that see the same bytes share their message schedule, and the instructions of one wait
//! while those of the other and of BLAKE3 work. `turn/` has the kernels, `state.rs` one content's two digests, `twin.rs` both contents.
//!
//! A crate of its own because it has to be compiled optimised wherever it is used, in tests as well.

mod state;
mod turn;
mod twin;

pub use state::Pair;
pub use twin::{CHUNK_BYTES, Twin, Twins};
