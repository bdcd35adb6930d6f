//! What is seen to while a block is multiplied, a little beside each step: memory is asked for, and weights are taken out of a band.
//!
//! Taken before a block is multiplied, weights are waited for, from the second cache or from memory; taken beside the multiplication of the
//! block before, they are there when they are wanted.

pub(super) mod simd;
