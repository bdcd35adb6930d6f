//! What kernels may rely on, tried with kernels of our own (tests/kernels).

mod cuda;
mod matrices;
mod meetings;
mod numbers;
mod tiles;
