//! Numbers made into the words of activations that need no scale: as a product gives them, strip after strip, or all of a tile at once.

pub(super) mod simd;
