//! The forward pass of OPT on an NVIDIA card. The same steps as `opt/on_cpu.rs`, in other pieces: few launches, each doing all that can be
//! done while the numbers are at hand, and those of a step of answers recorded once and begun as one.
//!
//! Tokens of prompts and tokens of answers are computed in two ways: many together by cuBLASLt, or few by kernels that read each weight
//! once. Which of the two depends on what a token is, never on what is beside it, so that its numbers do not either.

mod buffers;
mod forward;
#[cfg(test)]
mod kernel_stories;
mod layout;
mod pass;
mod prompt;
mod step;
#[cfg(test)]
mod stories;
mod upload;
mod weights;

pub(crate) use forward::OnCard;
