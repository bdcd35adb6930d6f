//! `sluice convert`: weights that torch pickled, rewritten as safetensors. Nothing in the pickle is run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use inference::{Checkpoint, checkpoint};

use super::progress::Shown;
use super::{result, say};
use crate::catalog::{Meter, Phase, human_bytes};
use crate::error::{Error, FieldError};
use crate::playground::Fault;

/// Shards hold at most so many bytes of tensors, so that every file stays below the 5 GB a release may have.
const SHARD_BYTES_MAX: u64 = 4_500_000_000;

/// `sluice convert DIR OUT`
#[derive(Args)]
pub struct Convert {
    /// The folder with pytorch_model*.bin and config.json
    dir: PathBuf,
    /// Where the new folder goes; must be empty, or not there yet
    out: PathBuf,
}

/// Runs `sluice convert`. Prints the names of the files it wrote. They lie in `OUT.partial` until all are complete; interrupted and
/// called again, it goes on with those.
pub async fn run(command: Convert) -> Result<(), Error> {
    let meter = Arc::new(Meter::default());
    let shown = Shown::start(&meter);
    let worker = meter.clone();
    let done = tokio::task::spawn_blocking(move || rewrite(&command.dir, &command.out, &worker)).await;
    shown.stop().await;
    let written = done.map_err(Error::internal)??;
    written.names.iter().for_each(|name| result(name));
    say(&format!("{} is complete: {} of weights, as they were.", written.out.display(), human_bytes(written.weights_bytes)));
    Ok(())
}

/// The new folder.
struct Written {
    out: PathBuf,
    names: BTreeSet<String>,
    weights_bytes: u64,
}

fn rewrite(dir: &Path, out: &Path, meter: &Meter) -> Result<Written, Error> {
    if !dir.is_dir() {
        return Err(FieldError::new("DIR", format!("{} is no folder", dir.display())).into());
    }
    let name = out.file_name().ok_or_else(|| FieldError::new("OUT", format!("{} is no name for a new folder", out.display())))?;
    if out.exists() && (!out.is_dir() || std::fs::read_dir(out)?.next().is_some()) {
        return Err(FieldError::new("OUT", format!("{} is there already and is not empty; choose another folder", out.display())).into());
    }
    let checkpoint = Checkpoint::open_dir(dir).map_err(Fault::from)?;
    let mut partial_name = name.to_owned();
    partial_name.push(".partial");
    let partial = out.with_file_name(partial_name);
    std::fs::create_dir_all(&partial)?;
    meter.begin(Phase::Converting, checkpoint::convert_bytes(&checkpoint));
    let written = checkpoint::convert(&checkpoint, &partial, SHARD_BYTES_MAX, &|bytes| meter.advance(bytes)).map_err(Fault::from)?;
    let mut names: BTreeSet<String> = written.iter().map(|file| file.name.clone()).collect();
    for (name, path) in checkpoint.files().iter().filter(|(name, _)| goes_along(name)) {
        std::fs::copy(path, partial.join(name))?;
        names.insert(name.clone());
    }
    if !checkpoint.files().contains_key(TOKENIZER)
        && let Some(json) = checkpoint.tokenizer_json().map_err(Fault::from)?
    {
        std::fs::write(partial.join(TOKENIZER), json)?;
        names.insert(TOKENIZER.to_owned());
    }
    leave_only(&partial, &names)?;
    std::fs::rename(&partial, out)?;
    Ok(Written { out: out.to_owned(), names, weights_bytes: written.iter().map(|file| file.size_bytes).sum() })
}

/// An interrupted conversion, perhaps of something else, may have left files that do not belong here.
fn leave_only(folder: &Path, names: &BTreeSet<String>) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

const TOKENIZER: &str = "tokenizer.json";

/// Whether a file belongs to the model and is no weights: settings, vocabulary, words for people.
fn goes_along(name: &str) -> bool {
    let is_index = name.ends_with(".index.json");
    !is_index && (name.starts_with("LICENSE") || [".json", ".txt", ".md"].iter().any(|ending| name.ends_with(ending)))
}
