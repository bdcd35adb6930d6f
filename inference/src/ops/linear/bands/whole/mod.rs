//! The kernels on bands that sum in whole numbers: eight and four bits.

pub(super) mod simd;
