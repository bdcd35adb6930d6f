//! NVIDIA cards: what the driver is asked for, and the kernels. What is computed on a card, and in which order, is `opt/on_card`'s.
//!
//! Nothing of CUDA is needed to build, and nothing to run on a machine without a card. The library's own tests compute on an emulated
//! card; those in `tests/card.rs` on a real one, where there is one.

mod blas;
#[cfg(not(test))]
mod card;
#[cfg(test)]
mod emulated;
mod kernels;
mod tables;

pub(crate) use blas::{Blas, Finish, Gemm};
#[cfg(not(test))]
pub(crate) use card::{Buffer, Card, Mark, Pinned, Recording};
#[cfg(test)]
pub(crate) use emulated::{Buffer, Card, Mark, Pinned, Recording, fail_from_now_on};
pub(crate) use kernels::digest as kernels_digest;
pub(crate) use tables::*;
