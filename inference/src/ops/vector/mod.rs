//! A vector of f32 or i32 lanes, and the few things the kernels do with it: one trait, and one type for each tier.

pub(in crate::ops) mod simd;
#[cfg(target_arch = "x86_64")]
mod x86;
