//! Where the numbers lie and who computes: threads, buffers and the choice of kernels. Each operation is one line into `ops`.
//! Two devices: the CPU, and NVIDIA cards. What they are asked for differs too much for a face in common, which is the model's (`opt`).

mod cpu;
pub(crate) mod cuda;
mod kv;
mod shares;
mod threads;

pub(crate) use cpu::{After, Cpu};
pub(crate) use kv::{KvStore, kept_bits};
pub(crate) use shares::{Chunks, Parts};
pub(crate) use threads::Threads;
