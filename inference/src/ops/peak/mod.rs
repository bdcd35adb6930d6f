//! How fast the instructions that products are made of can be, with nothing to wait for: the limit of the arithmetic.

pub(crate) mod simd;

/// What a product is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// Fused multiplications and additions in f32.
    Singles,
    /// Dot products of two bfloats.
    Bfloats,
    /// Dot products of four bytes.
    Bytes,
}

impl Arithmetic {
    /// Multiplications and additions in one lane.
    pub(crate) fn operations(self) -> usize {
        match self {
            Arithmetic::Singles => 2,
            Arithmetic::Bfloats => 4,
            Arithmetic::Bytes => 8,
        }
    }
}
