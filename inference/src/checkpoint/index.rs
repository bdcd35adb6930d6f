//! All tensors of a checkpoint, over one file or shards, safetensors or PyTorch's `.bin`.

use std::collections::BTreeMap;

use super::entries::Entries;
use super::files::{Checkpoint, is_plain};
use super::progress::{Advance, UNWATCHED};
use super::tensor::Tensor;
use super::{Fault, metaseq, safetensors, torch};
use crate::error::Error;

/// The tensors of a checkpoint, in the order of its files and their headers.
#[derive(Debug)]
pub struct TensorIndex {
    tensors: Vec<Tensor>,
    files: Vec<String>,
    format: Format,
}

/// How the weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    Torch,
    /// As Meta published OPT itself: `.pt`, in one or several parts.
    Metaseq,
}

impl TensorIndex {
    /// The tensors, in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of this name, as the files spell it.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The files the tensors are in.
    pub fn weight_files(&self) -> &[String] {
        &self.files
    }

    /// Bytes of all tensors as stored.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.range.len() as u64).sum()
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }
}

/// Finds the weights of a checkpoint: `model.safetensors`, or shards with their index, or the same as `pytorch_model.bin`.
/// Maps the files and reads their headers; of `.bin` files also every byte, for the checksums. Fails with the first fault.
pub fn tensors(checkpoint: &Checkpoint) -> Result<TensorIndex, Error> {
    tensors_watched(checkpoint, UNWATCHED)
}

/// The same, telling how far it is.
pub(super) fn tensors_watched(checkpoint: &Checkpoint, advance: Advance<'_>) -> Result<TensorIndex, Error> {
    strictly(checkpoint, Some(advance))
}

/// The same for those who ask what there is and use none of it: reads headers alone, and leaves the checksums of `.bin` files.
pub(crate) fn tensors_unread(checkpoint: &Checkpoint) -> Result<TensorIndex, Error> {
    strictly(checkpoint, None)
}

fn strictly(checkpoint: &Checkpoint, checksums: Option<Advance<'_>>) -> Result<TensorIndex, Error> {
    let mut first = None;
    let index = collect(checkpoint, checksums, &mut |error| {
        first.get_or_insert(error);
    });
    match (first, index) {
        (Some(error), _) => Err(error),
        (None, Some(index)) => Ok(index),
        (None, None) => Err(no_weights()),
    }
}

/// Which files hold the weights, and how.
pub(super) struct Layout {
    /// By name, in order.
    pub(super) files: Vec<String>,
    pub(super) format: Format,
    /// The index's name and what it says: tensor → file. None where one file is all.
    weight_map: Option<(String, BTreeMap<String, String>)>,
}

/// Finds the files that hold the weights; whether they are there, and what is in them, is not looked at.
pub(super) fn layout(checkpoint: &Checkpoint) -> Result<Layout, Error> {
    for (single, format) in [("model.safetensors", Format::Safetensors), ("pytorch_model.bin", Format::Torch)] {
        if checkpoint.path(single).is_some() {
            return Ok(Layout { files: vec![single.to_owned()], format, weight_map: None });
        }
        let index_file = format!("{single}.index.json");
        if checkpoint.path(&index_file).is_some() {
            let weight_map = read_weight_map(checkpoint, &index_file)?;
            let mut files: Vec<String> = weight_map.values().cloned().collect();
            files.sort();
            files.dedup();
            return Ok(Layout { files, format, weight_map: Some((index_file, weight_map)) });
        }
    }
    let parts = metaseq::parts(checkpoint)?;
    if parts.is_empty() { Err(no_weights()) } else { Ok(Layout { files: parts, format: Format::Metaseq, weight_map: None }) }
}

/// The names of the files that hold the model's weights; none if they cannot be told, which [`super::verify`] explains.
pub fn weight_files(checkpoint: &Checkpoint) -> Vec<String> {
    layout(checkpoint).map(|layout| layout.files).unwrap_or_default()
}

/// The same as [`tensors`], going on after a fault as far as it can; with `checksums` those are compared and the way there is told.
/// `None` if there is nothing to read at all.
pub(super) fn collect(checkpoint: &Checkpoint, checksums: Option<Advance<'_>>, fault: &mut dyn FnMut(Error)) -> Option<TensorIndex> {
    let Layout { files, format, weight_map } = layout(checkpoint).map_err(&mut *fault).ok()?;
    let tensors = match format {
        Format::Metaseq => metaseq::read(checkpoint, &files, checksums).map_err(&mut *fault).ok()?,
        Format::Safetensors | Format::Torch => read_files(checkpoint, &files, format, checksums, fault),
    };
    if let Some((index_file, weight_map)) = weight_map {
        check_weight_map(&index_file, &weight_map, &tensors, fault);
    }
    Some(TensorIndex { tensors, files, format })
}

fn no_weights() -> Error {
    Error::missing("model.safetensors (or pytorch_model.bin, or shards of either with their index, or Meta's own .pt)")
}

fn read_weight_map(checkpoint: &Checkpoint, index_file: &str) -> Result<BTreeMap<String, String>, Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: Entries<String>,
    }
    let bytes = checkpoint.read(index_file)?;
    let wrong = |problem: String| Error::corrupt(index_file, format!("not an index of weights: {problem}"));
    // serde_json does not look at bytes it skips.
    let json = str::from_utf8(&bytes).map_err(|problem| wrong(problem.to_string()))?;
    let index: Index = serde_json::from_str(json).map_err(|problem| wrong(problem.to_string()))?;
    let Entries(weight_map) = index.weight_map;
    match weight_map.iter().find(|(_, file)| !is_plain(file)) {
        Some((_, file)) => Err(Error::corrupt(index_file, format!("names {file:?}, which is not a plain file name"))),
        None => Ok(weight_map.into_iter().collect()),
    }
}

fn read_files(
    checkpoint: &Checkpoint,
    files: &[String],
    format: Format,
    checksums: Option<Advance<'_>>,
    fault: &mut dyn FnMut(Error),
) -> Vec<Tensor> {
    let mut tensors: Vec<Tensor> = Vec::new();
    let mut home: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        let read = match checkpoint.path(file) {
            None => Err(Error::missing(file)),
            Some(path) => match format {
                Format::Safetensors => safetensors::read(file, path),
                Format::Torch | Format::Metaseq => torch::read(file, path, torch::Holds::StateDict, checksums),
            },
        };
        match read {
            Err(error) => fault(error),
            Ok(found) => {
                for tensor in found {
                    match home.insert(tensor.name.clone(), file.clone()) {
                        Some(other) => fault(Error::corrupt(file, format!("tensor `{}` is in {other} already", tensor.name))),
                        None => tensors.push(tensor),
                    }
                }
            }
        }
    }
    tensors
}

/// The index must say of every tensor where it is, and nothing else.
fn check_weight_map(index_file: &str, weight_map: &BTreeMap<String, String>, tensors: &[Tensor], fault: &mut dyn FnMut(Error)) {
    let present: BTreeMap<&str, &str> = tensors.iter().map(|tensor| (tensor.name(), tensor.file())).collect();
    for (name, file) in weight_map {
        if present.get(name.as_str()) != Some(&file.as_str()) {
            fault(Error::corrupt(index_file, format!("says that tensor `{name}` is in {file}, and it is not")));
        }
    }
    for tensor in tensors {
        if !weight_map.contains_key(&tensor.name) {
            fault(Error::corrupt(index_file, format!("does not know tensor `{}`, which is in {}", tensor.name, tensor.file)));
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Corrupt { file, problem } => Fault { place: file, problem },
            Error::Missing { file } => Fault { place: file, problem: "is missing".to_owned() },
            Error::Unsupported { field, problem } => Fault { place: field, problem },
            Error::Io { path, source } => Fault { place: path.display().to_string(), problem: source.to_string() },
            other @ (Error::Busy { .. }
            | Error::TooLate
            | Error::Invalid { .. }
            | Error::PromptTooLong { .. }
            | Error::NoRoom { .. }
            | Error::TooLarge { .. }
            | Error::Closed { .. }
            | Error::Internal { .. }) => Fault { place: "checkpoint".to_owned(), problem: other.to_string() },
        }
    }
}
