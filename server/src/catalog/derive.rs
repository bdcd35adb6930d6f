//! What a release has to hold and the folder does not: weights as safetensors, and `tokenizer.json`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use inference::{Checkpoint, checkpoint};

use super::check::{Fault, Fit};
use super::survey::{FILE_BYTES_MAX, Found};
use crate::storage::{Folder, StagedFolder};

/// How many bytes of tensors go into one file: the header takes a little of what a file may have.
const SHARD_BYTES_MAX: u64 = FILE_BYTES_MAX - 100_000_000;

/// The files that were made, in a staged folder that goes when this does.
#[derive(Debug)]
pub(super) struct Derived {
    /// Where they lie.
    pub(super) staged: StagedFolder,
    /// Each by its path in the release, which is also its name in the staged folder.
    pub(super) files: BTreeMap<String, Found>,
}

/// Makes what is missing. Nothing, if nothing is. Faults, if what was made does not pass the same check as what was given.
pub(super) fn derive(objects: &Folder, fit: &Fit) -> Result<Result<Option<Derived>, Vec<Fault>>, io::Error> {
    let tokenizer = match fit.files.contains_key("tokenizer.json") {
        true => None,
        false => match fit.checkpoint.tokenizer_json() {
            Ok(tokenizer) => tokenizer,
            Err(error) => return Ok(Err(vec![checkpoint::Fault::from(error).into()])),
        },
    };
    if !fit.to_convert && tokenizer.is_none() {
        return Ok(Ok(None));
    }
    let staged = objects.stage_folder()?;
    let mut names = Vec::new();
    if fit.to_convert {
        match checkpoint::convert(&fit.checkpoint, staged.path(), SHARD_BYTES_MAX) {
            Ok(converted) => names.extend(converted.into_iter().map(|file| file.name)),
            Err(error) => return Ok(Err(vec![checkpoint::Fault::from(error).into()])),
        }
    }
    if let Some(json) = tokenizer {
        std::fs::write(staged.path().join("tokenizer.json"), json)?;
        names.push("tokenizer.json".to_owned());
    }
    let mut files = BTreeMap::new();
    for name in names {
        let source = staged.path().join(&name);
        let metadata = std::fs::metadata(&source)?;
        files.insert(name, Found { source, size_bytes: metadata.len(), modified: metadata.modified().ok() });
    }
    let faults = if fit.to_convert { check_again(fit, &files) } else { vec![] };
    Ok(if faults.is_empty() { Ok(Some(Derived { staged, files })) } else { Err(faults) })
}

/// The check of what will be served, rather than of what it was made from.
fn check_again(fit: &Fit, made: &BTreeMap<String, Found>) -> Vec<Fault> {
    let files: BTreeMap<String, PathBuf> = fit
        .files
        .iter()
        .chain(made)
        .filter(|(path, _)| !path.contains('/'))
        .map(|(path, file)| (path.clone(), file.source.clone()))
        .collect();
    match Checkpoint::from_files(files) {
        Ok(checkpoint) => checkpoint::verify(&checkpoint).into_iter().map(Fault::from).collect(),
        Err(error) => vec![checkpoint::Fault::from(error).into()],
    }
}
