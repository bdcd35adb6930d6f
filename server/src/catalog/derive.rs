//! What a release has to hold and the folder does not: weights as safetensors, and `tokenizer.json`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use inference::checkpoint::TensorFacts;
use inference::{Checkpoint, Error, checkpoint};

use super::check::{Fault, Fit};
use super::meter::{Meter, Phase};
use super::survey::{FILE_BYTES_MAX, Found};
use crate::integrity::sha256_hex;
use crate::storage::{StagedFolder, Staging};

/// How many bytes of tensors go into one file: the header takes a little of what a file may have.
const SHARD_BYTES_MAX: u64 = FILE_BYTES_MAX - 100_000_000;

/// The files that were made, in a staged folder that goes when this does.
#[derive(Debug)]
pub(super) struct Derived {
    /// Where they lie.
    pub(super) staged: StagedFolder,
    /// Each by its path in the release, which is also its name in the staged folder.
    pub(super) files: BTreeMap<String, Found>,
    /// What was found in the weights that were made; nothing if none were.
    pub(super) tensors: Option<Vec<TensorFacts>>,
    /// What the publisher should know.
    pub(super) notes: Vec<String>,
}

/// Makes what is missing. Nothing, if nothing is. Faults, if what was made does not pass the same check as what was given.
pub(super) fn derive(staging: &Staging, fit: &Fit, meter: &Meter) -> Result<Result<Option<Derived>, Vec<Fault>>, io::Error> {
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
    let staged = if fit.to_convert { staging.stage_lasting_folder(&conversion_key(fit))? } else { staging.stage_folder()? };
    let (mut names, mut notes) = (Vec::new(), Vec::new());
    if fit.to_convert {
        let convert_bytes = checkpoint::convert_bytes(&fit.checkpoint);
        // Afterwards what was written is checked: about half as much again.
        meter.begin(Phase::Converting, convert_bytes + convert_bytes / 2);
        match checkpoint::convert(&fit.checkpoint, staged.path(), SHARD_BYTES_MAX, &|bytes| meter.advance(bytes)) {
            Ok(converted) => {
                let there = converted.iter().filter(|file| file.was_there).map(|file| file.name.as_str());
                notes.extend(there.map(|name| format!("{name}: was rewritten by a publication that was interrupted, and is used")));
                names.extend(converted.iter().map(|file| file.name.clone()));
            }
            // What cannot be written is no fault of what was given: the disk is full, say.
            Err(Error::Io { path, source }) if path.starts_with(staged.path()) => {
                return Err(io::Error::new(source.kind(), format!("{}: {source}", path.display())));
            }
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
    let tensors = if fit.to_convert { check_again(fit, &files, meter).map(Some) } else { Ok(None) };
    Ok(tensors.map(|tensors| Some(Derived { staged, files, tensors, notes })))
}

/// Where an interrupted conversion of these files is looked for. Names and sizes are enough: whatever is found there is compared with
/// the source byte for byte before it is used, which says more than a digest of the source would, and costs no pass of its own.
fn conversion_key(fit: &Fit) -> String {
    let mut source = format!("{SHARD_BYTES_MAX}");
    for file in checkpoint::weight_files(&fit.checkpoint) {
        let size_bytes = fit.checkpoint.path(&file).and_then(|path| path.metadata().ok()).map_or(0, |found| found.len());
        source += &format!("\n{file} {size_bytes}");
    }
    sha256_hex(source.as_bytes())
}

/// The check of what will be served, rather than of what it was made from.
fn check_again(fit: &Fit, made: &BTreeMap<String, Found>, meter: &Meter) -> Result<Vec<TensorFacts>, Vec<Fault>> {
    let files: BTreeMap<String, PathBuf> = fit
        .files
        .iter()
        .chain(made)
        .filter(|(path, _)| !path.contains('/'))
        .map(|(path, file)| (path.clone(), file.source.clone()))
        .collect();
    let checkpoint = Checkpoint::from_files(files).map_err(|error| vec![checkpoint::Fault::from(error).into()])?;
    let examined = checkpoint::examine(&checkpoint, &|bytes| meter.advance(bytes));
    if examined.faults.is_empty() { Ok(examined.tensors) } else { Err(examined.faults.into_iter().map(Fault::from).collect()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::super::check::{Checked, check};
    use super::*;

    #[test]
    fn a_conversion_that_was_killed_is_gone_on_with() {
        let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/fixtures/opt/postln-proj-fp16-bin");
        let (home, weights) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["config.json", "pytorch_model.bin"] {
            std::fs::copy(fixture.join(name), weights.path().join(name)).unwrap();
        }
        let (staging, meter) = (Staging::open(&home.path().join("staging")).unwrap(), Meter::default());
        let Checked::Fit(fit) = check(weights.path(), &meter).unwrap() else { panic!("the fixture is fit") };
        let derived = derive(&staging, &fit, &meter).unwrap().unwrap().unwrap();
        assert_eq!(derived.notes, [""; 0]);
        let (phase, done_bytes, total_bytes) = meter.read();
        assert!(phase == Phase::Converting && done_bytes <= total_bytes && done_bytes > total_bytes / 2, "{done_bytes} of {total_bytes}");
        let (folder, shard) = (derived.staged.path().to_owned(), derived.files["model.safetensors"].source.clone());
        let bytes = std::fs::read(&shard).unwrap();
        drop(derived);
        assert!(!folder.exists(), "who is done leaves nothing");

        // A kill leaves what was complete, and the next publication sweeps first.
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&shard, &bytes).unwrap();
        staging.sweep().unwrap();
        let derived = derive(&staging, &fit, &meter).unwrap().unwrap().unwrap();
        assert_eq!(derived.notes, ["model.safetensors: was rewritten by a publication that was interrupted, and is used"]);
        drop(derived);

        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&shard, vec![0; bytes.len()]).unwrap();
        let derived = derive(&staging, &fit, &meter).unwrap().unwrap().unwrap();
        assert_eq!(derived.notes, [""; 0], "what is not right is not used");
        assert!(std::fs::read(&shard).unwrap() == bytes);
    }
}
