//! The vectors of x86-64, of which each CPU has some.

pub(super) mod simd;
