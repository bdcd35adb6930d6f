//! The operations OPT needs on a CPU, each in a room of its own: contract and reference in `mod.rs`, fast versions beside it.
//! They take slices and sizes and import nothing of ours; whoever calls them owns threads and buffers.

pub(crate) mod aligned;
pub(crate) mod attention;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod peak;
pub(crate) mod pointwise;
pub(crate) mod simd;
mod tier;
mod vector;

pub use tier::Tier;
