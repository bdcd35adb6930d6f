//! Runs the CUDA kernels of `inference` on the host, for tests where there is no card.
//!
//! The same sources are compiled by the host's C++ compiler (build.rs), with `host/emulator.h` for what a card gives them. A block's
//! threads are fibers that run one after the other, each up to where it meets the others: `sync_block`, a shuffle, a product of
//! matrices. Blocks run one after the other. Threads that wait for each other in vain, lanes that meet at different places and reads from
//! addresses that are no multiple of their size are told as errors. What it cannot tell: reads outside of what was allocated (as in any
//! C++), how long a card would take, more shared memory than a card has, and threads that wait for another by reading in a loop, which
//! never ends here.
mod cuda;

pub use cuda::{kernels, launch};
