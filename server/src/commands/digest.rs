//! `sluice digest`: what tensors are, whatever file they are in, so that a holder can prove any copy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use inference::checkpoint::{self, TensorFacts};
use inference::{Checkpoint, Error as EngineError};

use super::progress::Shown;
use super::{result, say};
use crate::catalog::{Meter, Phase, tensors_json};
use crate::error::{Error, FieldError};
use crate::playground::Fault;

/// `sluice digest FILE|DIR…`
#[derive(Args)]
pub struct Digest {
    /// Files with tensors (.safetensors, .bin, .pt), or folders with a model
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Everything about each tensor, as JSON: one object for each path
    #[arg(long)]
    json: bool,
}

/// Runs `sluice digest`. Prints a line for each tensor, `DIGEST  NAME`, by name, and one for all of them.
pub async fn run(command: Digest) -> Result<(), Error> {
    for path in command.paths {
        let meter = Arc::new(Meter::default());
        let shown = Shown::start(&meter);
        let (worker, from) = (meter.clone(), path.clone());
        let done = tokio::task::spawn_blocking(move || look(&from, &worker)).await;
        shown.stop().await;
        tell(&path, done.map_err(Error::internal)??, command.json);
        if path.is_file() && checkpoint::is_part(&name_of(&path)) {
            say(&format!(
                "{} is by its name one part of a model: these are its shares of the tensors, not the tensors themselves. \
                 For those give the folder, which joins the parts: sluice digest {}",
                path.display(),
                path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).display()
            ));
        }
    }
    Ok(())
}

fn look(path: &Path, meter: &Meter) -> Result<Vec<TensorFacts>, Error> {
    let advance = |bytes| meter.advance(bytes);
    if path.is_dir() {
        let checkpoint = Checkpoint::open_dir(path).map_err(Fault::from)?;
        meter.begin(Phase::Checking, checkpoint::verify_bytes(&checkpoint));
        return Ok(checkpoint::facts(&checkpoint, &advance).map_err(Fault::from)?);
    }
    let name = name_of(path);
    let size_bytes = std::fs::metadata(path).map_err(|cause| FieldError::new("FILE", format!("{}: {cause}", path.display())))?.len();
    meter.begin(Phase::Checking, size_bytes);
    checkpoint::file_facts(&name, path, &advance).map_err(|error| match error {
        EngineError::Io { .. } => Error::from(Fault::from(error)),
        other => Error::Conflict(other.to_string().into()),
    })
}

fn name_of(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
}

fn tell(path: &Path, mut tensors: Vec<TensorFacts>, json: bool) {
    tensors.sort_by(|one, other| one.name.cmp(&other.name));
    if json {
        let mut body = tensors_json(&tensors);
        body["path"] = serde_json::json!(path.display().to_string());
        return result(&body.to_string());
    }
    for tensor in &tensors {
        if tensor.finite < tensor.count {
            say(&format!("{}: {} of its {} numbers are NaN or infinite", tensor.name, tensor.count - tensor.finite, tensor.count));
        }
        result(&format!("{}  {}", tensor.digest, tensor.name));
    }
    result(&format!("{}  all of {}", checkpoint::digest_of_all(&tensors), path.display()));
}
