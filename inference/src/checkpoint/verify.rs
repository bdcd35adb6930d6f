//! Is this checkpoint whole and fit to run? Every fault is named, not only the first.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rayon::prelude::*;

use super::facts::{self, TensorFacts};
use super::files::Checkpoint;
use super::progress::{Advance, UNWATCHED};
use super::tensor::Tensor;
use super::{index, safetensors};
use crate::error::{Error, short};
use crate::opt::{OptConfig, expected_tensors, plain_name};
use crate::tokenizer::Tokenizer;

/// Something wrong with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, tensor or field.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.problem)
    }
}

/// What came of looking at a checkpoint.
#[derive(Debug)]
pub struct Examined {
    /// All that is wrong with it. Empty means fit to publish and to load.
    pub faults: Vec<Fault>,
    /// Every tensor that could be read, in the checkpoint's order.
    pub tensors: Vec<TensorFacts>,
}

/// All that is wrong with a checkpoint; see [`examine`].
pub fn verify(checkpoint: &Checkpoint, advance: Advance<'_>) -> Vec<Fault> {
    examine(checkpoint, advance).faults
}

/// All that is wrong with a checkpoint: config, index, headers, names and shapes against the config, numbers that are not
/// finite, the tokenizer; and, in the same pass, what there is to say of each tensor. Reads every byte of the weights and tells `advance`
/// (see [`super::verify_bytes`]).
pub fn examine(checkpoint: &Checkpoint, advance: Advance<'_>) -> Examined {
    let (mut faults, mut tensors) = (Vec::new(), Vec::new());
    let config = checkpoint.config().map_err(|error| faults.push(error.into())).ok();
    if let Some(index) = index::collect(checkpoint, Some(advance), &mut |error| faults.push(error.into())) {
        if let Some(config) = &config {
            check_names_and_shapes(config, index.tensors(), &mut faults);
        }
        tensors = facts::of_all(index.tensors(), advance);
        let spoilt = index.tensors().iter().zip(&tensors).filter(|(_, facts)| facts.finite < facts.count);
        faults.extend(spoilt.filter_map(|(tensor, _)| not_finite(tensor, UNWATCHED)));
    }
    if let Err(error) = check_tokenizer(checkpoint, config.as_ref()) {
        faults.push(error);
    }
    Examined { faults, tensors }
}

/// All that is wrong with one safetensors file that is no part of a checkpoint: its header, the places of its tensors, numbers that
/// are not finite. `name` is what the faults call it. Reads and tells every byte of its tensors.
pub fn verify_file(name: &str, path: &Path, advance: Advance<'_>) -> Vec<Fault> {
    match safetensors::read(name, path) {
        Ok(tensors) => tensors.par_iter().filter_map(|tensor| not_finite(tensor, advance)).collect(),
        Err(Error::Unsupported { field, problem }) => vec![Fault { place: short(format!("{name}: tensor `{field}`")), problem }],
        Err(error) => vec![error.into()],
    }
}

fn check_names_and_shapes(config: &OptConfig, tensors: &[Tensor], faults: &mut Vec<Fault>) {
    let mut found: BTreeMap<&str, &Tensor> = BTreeMap::new();
    for tensor in tensors {
        let name = plain_name(tensor.name());
        if let Some(other) = found.insert(name, tensor) {
            faults.push(fault(tensor, format!("stands for the same weight as `{}` in {}", other.name(), other.file())));
        }
    }
    for expected in expected_tensors(config) {
        match found.remove(expected.name.as_str()) {
            None if expected.required => faults.push(Fault { place: expected.name, problem: "is missing from the weights".to_owned() }),
            None => {}
            Some(tensor) if tensor.shape() != expected.shape => {
                faults.push(fault(tensor, format!("has shape {:?}; config.json asks for {:?}", tensor.shape(), expected.shape)));
            }
            Some(_) => {}
        }
    }
    faults.extend(found.values().map(|tensor| fault(tensor, "is no weight of the model config.json describes".to_owned())));
}

fn not_finite(tensor: &Tensor, advance: Advance<'_>) -> Option<Fault> {
    let place = tensor.find_not_finite(advance)?;
    Some(fault(tensor, format!("number {place} is NaN or infinite")))
}

fn check_tokenizer(checkpoint: &Checkpoint, config: Option<&OptConfig>) -> Result<(), Fault> {
    let Some(json) = checkpoint.tokenizer_json()? else { return Ok(()) };
    match config {
        Some(config) => Tokenizer::for_model(&json, config)?,
        None => Tokenizer::from_json(&json, None)?,
    };
    Ok(())
}

fn fault(tensor: &Tensor, problem: String) -> Fault {
    Fault { place: short(format!("{}: tensor `{}`", tensor.file(), tensor.name())), problem: short(problem) }
}
