//! cuBLASLt through cudarc's bindings. Each shape of matrix gets one algorithm, chosen once for the largest step, which adds up without
//! cutting the columns into parts: so a token's numbers do not depend on how many there are.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;

use super::{Finish, Gemm};
use crate::device::cuda::{Buffer, Card};
use crate::error::Error;

/// Of what the algorithms may use to work in.
const WORKSPACE_BYTES: usize = 64 << 20;
/// Steps are multiplied in whole multiples of so many tokens; rows behind the last are nobody's.
const TOKENS_STEP: usize = 64;

#[derive(Debug)]
pub(crate) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: Buffer,
    tokens_max: usize,
    algorithms: RefCell<HashMap<Shape, Option<sys::cublasLtMatmulAlgo_t>>>,
}

// SAFETY: a handle may be used from any one thread at a time.
unsafe impl Send for Blas {}

/// What an algorithm is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    by_column: bool,
    strides: [usize; 3],
    rows: usize,
    cols: usize,
    bfloat: bool,
    finish: u8,
}

fn failed(what: &str, error: CublasError) -> Error {
    Error::Internal { problem: format!("cuBLASLt could not {what}: {:?}", error.0) }
}

impl Blas {
    /// `None` where the library is not there.
    pub(crate) fn open(card: &Card, tokens_max: usize) -> Result<Option<Self>, Error> {
        // SAFETY: only looks whether the library can be found.
        if !unsafe { sys::is_culib_present() } {
            return Ok(None);
        }
        card.bind()?;
        let handle = result::create_handle().map_err(|error| failed("begin", error))?;
        let workspace = card.alloc(WORKSPACE_BYTES)?;
        let tokens_max = tokens_max.next_multiple_of(TOKENS_STEP);
        Ok(Some(Self { handle, workspace, tokens_max, algorithms: RefCell::default() }))
    }

    /// Its version, as a number.
    pub(crate) fn version(&self) -> usize {
        // SAFETY: the library is there.
        unsafe { sys::cublasLtGetVersion() }
    }

    /// Begins a product. False if the library cannot do this one; nothing was begun then.
    pub(crate) fn multiply(&self, card: &Card, gemm: &Gemm) -> Result<bool, Error> {
        card.bind()?;
        let finish = match gemm.finish {
            Finish::Narrow => 0,
            Finish::Relu { .. } => 1,
            Finish::Add { bias: 0 } => 2,
            Finish::Add { .. } => 3,
        };
        let strides = [gemm.w_stride, gemm.x_stride, gemm.y_stride];
        let shape = Shape { by_column: gemm.by_column, strides, rows: gemm.rows, cols: gemm.cols, bfloat: gemm.bfloat, finish };
        let known = self.algorithms.borrow().get(&shape).copied();
        let algorithm = match known {
            Some(algorithm) => algorithm,
            None => {
                let algorithm = Operation::new(gemm, self.tokens_max).and_then(|operation| operation.choose(self.handle)).ok();
                self.algorithms.borrow_mut().insert(shape, algorithm);
                algorithm
            }
        };
        let Some(algorithm) = algorithm else { return Ok(false) };
        let tokens = gemm.tokens.next_multiple_of(TOKENS_STEP);
        let operation = Operation::new(gemm, tokens).map_err(|error| failed("describe a product", error))?;
        let (one, zero) = (1f32, 0f32);
        let beta = if matches!(gemm.finish, Finish::Add { .. }) { &one } else { &zero };
        // SAFETY: the descriptors live until the call returns; the addresses are those of buffers whose owner keeps them until the stream
        // has been waited for, with room for whole multiples of `TOKENS_STEP` tokens.
        unsafe {
            result::matmul(
                self.handle,
                operation.description,
                (&raw const one).cast(),
                std::ptr::from_ref(beta).cast(),
                gemm.w as *const c_void,
                operation.w,
                gemm.x as *const c_void,
                operation.x,
                gemm.y as *const c_void,
                operation.y,
                gemm.y as *mut c_void,
                operation.y,
                &raw const algorithm,
                self.workspace.address() as *mut c_void,
                WORKSPACE_BYTES,
                card.stream().cast(),
            )
        }
        .map_err(|error| failed(&format!("multiply {} by {} for {tokens} tokens", gemm.rows, gemm.cols), error))?;
        Ok(true)
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once; the workspace waits for what is at work.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// The library's descriptions of a product. It counts columns first: what is (tokens, rows) to us is (rows, tokens) to it.
struct Operation {
    description: sys::cublasLtMatmulDesc_t,
    w: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
}

impl Operation {
    fn new(gemm: &Gemm, tokens: usize) -> Result<Self, CublasError> {
        let single = sys::cudaDataType_t::CUDA_R_32F;
        let narrow = if gemm.bfloat { sys::cudaDataType_t::CUDA_R_16BF } else { sys::cudaDataType_t::CUDA_R_16F };
        let written = if matches!(gemm.finish, Finish::Add { .. }) { single } else { narrow };
        let description = result::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, single)?;
        let mut operation = Self { description, w: std::ptr::null_mut(), x: std::ptr::null_mut(), y: std::ptr::null_mut() };
        let (rows, cols) = (gemm.rows as u64, gemm.cols as u64);
        let (height, width) = if gemm.by_column { (rows, cols) } else { (cols, rows) };
        operation.w = result::create_matrix_layout(narrow, height, width, gemm.w_stride as i64)?;
        operation.x = result::create_matrix_layout(narrow, cols, tokens as u64, gemm.x_stride as i64)?;
        operation.y = result::create_matrix_layout(written, rows, tokens as u64, gemm.y_stride as i64)?;
        // cublasOperation_t: N, T
        let turned = u32::from(!gemm.by_column);
        operation.set(sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA, &turned)?;
        let epilogue = match gemm.finish {
            Finish::Narrow | Finish::Add { bias: 0 } => None,
            Finish::Relu { bias } => Some((sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_RELU_BIAS, bias)),
            Finish::Add { bias } => Some((sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS, bias)),
        };
        if let Some((epilogue, bias)) = epilogue {
            operation.set(sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            operation.set(sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        }
        Ok(operation)
    }

    fn set<T>(&self, attribute: sys::cublasLtMatmulDescAttributes_t, value: &T) -> Result<(), CublasError> {
        // SAFETY: the description lives, and the library copies so many bytes.
        unsafe { result::set_matmul_desc_attribute(self.description, attribute, std::ptr::from_ref(value).cast(), size_of::<T>()) }
    }

    /// The algorithm that the library holds for the fastest, of those that add up every number in one place.
    fn choose(&self, handle: sys::cublasLtHandle_t) -> Result<sys::cublasLtMatmulAlgo_t, CublasError> {
        let preference = result::create_matmul_pref()?;
        let set = |attribute, value: *const c_void, bytes| {
            // SAFETY: the preference lives, and the library copies so many bytes.
            unsafe { result::set_matmul_pref_attribute(preference, attribute, value, bytes) }
        };
        let no_reduction = 0u32;
        let chosen = set(
            sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            (&raw const WORKSPACE).cast(),
            size_of::<usize>(),
        )
        .and_then(|()| {
            set(
                sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                (&raw const no_reduction).cast(),
                size_of::<u32>(),
            )
        })
        .and_then(|()| {
            // SAFETY: all descriptions live.
            unsafe { result::get_matmul_algo_heuristic(handle, self.description, self.w, self.x, self.y, self.y, preference) }
        });
        // SAFETY: made once, destroyed once.
        let _ = unsafe { result::destroy_matmul_pref(preference) };
        chosen.map(|chosen| chosen.algo)
    }
}

static WORKSPACE: usize = WORKSPACE_BYTES;

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: each was made once, or is null.
        unsafe {
            for layout in [self.w, self.x, self.y] {
                if !layout.is_null() {
                    let _ = result::destroy_matrix_layout(layout);
                }
            }
            let _ = result::destroy_matmul_desc(self.description);
        }
    }
}
