//! Products of many tokens: cuBLASLt's, which is at the limit of the tensor cores. It is looked for when a model is loaded; without it
//! prompts are read by the kernels for few tokens.

#[cfg(not(test))]
mod cuda;
#[cfg(test)]
mod plain;

#[cfg(not(test))]
pub(crate) use cuda::Blas;
#[cfg(test)]
pub(crate) use plain::Blas;

/// y (tokens, rows) = x (tokens, cols) · wᵀ, all of 16 bits but for a `y` that is added to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gemm {
    /// (rows, cols), or (cols, rows) if it lies by column.
    pub(crate) w: u64,
    /// Numbers from one row, or column, to the next.
    pub(crate) w_stride: usize,
    pub(crate) by_column: bool,
    pub(crate) x: u64,
    pub(crate) x_stride: usize,
    pub(crate) y: u64,
    pub(crate) y_stride: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) tokens: usize,
    pub(crate) bfloat: bool,
    pub(crate) finish: Finish,
}

/// What becomes of the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Finish {
    /// Written as 16 bits.
    Narrow,
    /// A bias of 16 bits added, then max(·, 0), written as 16 bits.
    Relu { bias: u64 },
    /// Added to singles, and a bias in singles besides, if it is not 0.
    Add { bias: u64 },
}
