//! `sluice convert`: weights that torch pickled, rewritten as safetensors. Nothing in the pickle is run.

use std::path::{Path, PathBuf};

use clap::Args;
use inference::Checkpoint;
use inference::checkpoint::convert;

use super::{result, say};
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

/// Runs `sluice convert`. Prints the names of the files it wrote.
pub async fn run(command: Convert) -> Result<(), Error> {
    tokio::task::spawn_blocking(move || rewrite(&command.dir, &command.out)).await.map_err(Error::internal)?
}

fn rewrite(dir: &Path, out: &Path) -> Result<(), Error> {
    if !dir.is_dir() {
        return Err(FieldError::new("DIR", format!("{} is no folder", dir.display())).into());
    }
    let checkpoint = Checkpoint::open_dir(dir).map_err(Fault::from)?;
    std::fs::create_dir_all(out)?;
    if std::fs::read_dir(out)?.next().is_some() {
        return Err(FieldError::new("OUT", format!("{} is not empty; choose another folder", out.display())).into());
    }
    let written = convert(&checkpoint, out, SHARD_BYTES_MAX, &|_| {}).map_err(Fault::from)?;
    for file in &written {
        result(&file.name);
    }
    for (name, path) in checkpoint.files().iter().filter(|(name, _)| goes_along(name)) {
        std::fs::copy(path, out.join(name))?;
        result(name);
    }
    if !checkpoint.files().contains_key(TOKENIZER)
        && let Some(json) = checkpoint.tokenizer_json().map_err(Fault::from)?
    {
        std::fs::write(out.join(TOKENIZER), json)?;
        result(TOKENIZER);
    }
    let bytes: u64 = written.iter().map(|file| file.size_bytes).sum();
    say(&format!("{} is complete: {:.2} GB of weights, as they were.", out.display(), bytes as f64 / 1e9));
    Ok(())
}

const TOKENIZER: &str = "tokenizer.json";

/// Whether a file belongs to the model and is no weights: settings, vocabulary, words for people.
fn goes_along(name: &str) -> bool {
    let is_index = name.ends_with(".index.json");
    !is_index && (name.starts_with("LICENSE") || [".json", ".txt", ".md"].iter().any(|ending| name.ends_with(ending)))
}
