//! The same as plainly as can be, on an emulated card.

use half::{bf16, f16};

use super::{Finish, Gemm};
use crate::device::cuda::Card;
use crate::device::cuda::emulated::{read, write};
use crate::error::Error;

#[derive(Debug)]
pub(crate) struct Blas;

impl Blas {
    pub(crate) fn open(_: &Card, _tokens_max: usize) -> Result<Option<Self>, Error> {
        Ok(Some(Self))
    }

    pub(crate) fn version(&self) -> usize {
        0
    }

    pub(crate) fn multiply(&self, _: &Card, gemm: &Gemm) -> Result<bool, Error> {
        let number = |address: u64, at: usize| {
            let bits = read::<u16>(address, at);
            if gemm.bfloat { bf16::from_bits(bits).to_f32() } else { f16::from_bits(bits).to_f32() }
        };
        let narrow = |v: f32| if gemm.bfloat { bf16::from_f32(v).to_bits() } else { f16::from_f32(v).to_bits() };
        for token in 0..gemm.tokens {
            for row in 0..gemm.rows {
                let weight = |col| number(gemm.w, if gemm.by_column { col * gemm.w_stride + row } else { row * gemm.w_stride + col });
                let sum: f32 = (0..gemm.cols).map(|col| weight(col) * number(gemm.x, token * gemm.x_stride + col)).sum();
                let at = token * gemm.y_stride + row;
                match gemm.finish {
                    Finish::Narrow => write(gemm.y, at, narrow(sum)),
                    Finish::Relu { bias } => write(gemm.y, at, narrow((sum + number(bias, row)).max(0.0))),
                    Finish::Add { bias } => {
                        let bias = if bias == 0 { 0.0 } else { read::<f32>(bias, row) };
                        write(gemm.y, at, read::<f32>(gemm.y, at) + sum + bias);
                    }
                }
            }
        }
        Ok(true)
    }
}
