//! Where the numbers lie and who computes: threads, buffers and the choice of kernels. Each operation is one line into `ops`.
//! One device today, the CPU; a second one gets a file beside it and the trait both then share.

mod cpu;
mod kv;
mod threads;

pub(crate) use cpu::{After, Cpu};
pub(crate) use kv::{KvStore, kept_bits};
pub(crate) use threads::{Chunks, Parts, Threads};
