//! What a pickle can hold here: values that live in arenas and refer to each other by number.

use crate::checkpoint::tensor::Dtype;

/// A value on the stack: small, and never the owner of another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Read and dropped: no float matters to a state dict.
    Float,
    Str(usize),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
    Global(Global),
    /// Something that is not understood, and need not be: what a checkpoint of training keeps beside its weights. The string says what
    /// it was made by.
    Opaque(usize),
}

/// All that a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    StorageType(Dtype),
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Global::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Global::RebuildTensor),
            ("torch", "FloatStorage") => Some(Global::StorageType(Dtype::F32)),
            ("torch", "HalfStorage") => Some(Global::StorageType(Dtype::F16)),
            ("torch", "BFloat16Storage") => Some(Global::StorageType(Dtype::Bf16)),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Heap {
    pub(super) strings: Vec<String>,
    pub(super) tuples: Vec<Vec<Value>>,
    pub(super) lists: Vec<Vec<Value>>,
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
    pub(super) storages: Vec<Storage>,
    pub(super) tensors: Vec<TensorValue>,
}

#[derive(Debug)]
pub(super) struct Storage {
    pub(super) dtype: Dtype,
    /// The string that names its member.
    pub(super) key: usize,
}

#[derive(Debug)]
pub(super) struct TensorValue {
    pub(super) storage: usize,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) stride: Vec<usize>,
}
