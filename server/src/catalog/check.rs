//! Is this folder of weights fit to publish? Every fault is named, not only the first.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use inference::checkpoint::TensorFacts;
use inference::{Checkpoint, checkpoint};

use super::meter::{Meter, Phase};
use super::survey::{Found, Survey, survey};

/// The licence's text, under the names people give it; the first that is there counts.
pub(super) const LICENCE_FILES: &[&str] = &["LICENSE.md", "LICENSE", "LICENSE.txt", "LICENCE.md", "LICENCE", "LICENCE.txt"];
/// The file that holds the model's card.
pub const CARD_FILE: &str = "README.md";
/// How long card and licence may be: 1 MiB each, as both are shown on pages.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Something that keeps a folder from being published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, tensor or field.
    pub place: String,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.problem)
    }
}

impl From<checkpoint::Fault> for Fault {
    fn from(fault: checkpoint::Fault) -> Self {
        Self { place: fault.place, problem: fault.problem }
    }
}

/// A licence as it comes with a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LicenceText {
    /// Its first heading, or the file's name.
    pub(super) name: String,
    /// The whole text.
    pub(super) body: String,
}

/// A folder that may be published.
#[derive(Debug)]
pub(super) struct Fit {
    /// What is published of it, by path in the release.
    pub(super) files: BTreeMap<String, Found>,
    /// The model's files, PyTorch's weights included.
    pub(super) checkpoint: Checkpoint,
    /// What was found in the weights, tensor by tensor.
    pub(super) tensors: Vec<TensorFacts>,
    /// Whether the weights have to be rewritten as safetensors first.
    pub(super) to_convert: bool,
    /// `config.json`, parsed.
    pub(super) config_json: serde_json::Value,
    /// The card's Markdown.
    pub(super) card: Option<String>,
    /// The licence.
    pub(super) licence: Option<LicenceText>,
    /// What the publisher should know.
    pub(super) notes: Vec<String>,
}

/// What came of looking at a folder.
#[derive(Debug)]
pub(super) enum Checked {
    /// It may be published.
    Fit(Box<Fit>),
    /// It may not, for these reasons.
    Unfit(Vec<Fault>),
}

/// Looks at everything in `dir` and reads every weight. The error is only that the folder cannot be read.
pub(super) fn check(dir: &Path, meter: &Meter) -> io::Result<Checked> {
    let mut found = survey(dir)?;
    let card = text_of(&mut found, CARD_FILE);
    let licence_file = LICENCE_FILES.iter().find(|name| found.files.contains_key(**name));
    let licence = licence_file.and_then(|name| Some(LicenceText::new(name, text_of(&mut found, name)?)));
    let all = found.files.iter().chain(&found.foreign).filter(|(path, _)| !path.contains('/'));
    let checkpoint = match Checkpoint::from_files(all.map(|(path, file)| (path.clone(), file.source.clone())).collect()) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            found.faults.push(checkpoint::Fault::from(error).into());
            return Ok(Checked::Unfit(found.faults));
        }
    };
    let model = checkpoint::weight_files(&checkpoint);
    let beside: Vec<(String, Found)> = found
        .files
        .iter()
        .filter(|(path, _)| is_safetensors(path) && !model.contains(path))
        .map(|(path, file)| (path.clone(), file.clone()))
        .collect();
    let beside_bytes: u64 = beside.iter().map(|(_, file)| file.size_bytes).sum();
    meter.begin(Phase::Checking, checkpoint::verify_bytes(&checkpoint) + beside_bytes);
    let examined = checkpoint::examine(&checkpoint, &|bytes| meter.advance(bytes));
    found.faults.extend(examined.faults.into_iter().map(Fault::from));
    for (path, file) in &beside {
        check_beside(&mut found, path, file, meter);
    }
    let config_json = checkpoint.read("config.json").ok().and_then(|json| serde_json::from_slice(&json).ok());
    let to_convert = set_aside_foreign_weights(&mut found, &model);
    match config_json {
        Some(config_json) if found.faults.is_empty() => {
            let Survey { files, notes, .. } = found;
            Ok(Checked::Fit(Box::new(Fit { files, checkpoint, tensors: examined.tensors, to_convert, config_json, card, licence, notes })))
        }
        _ => Ok(Checked::Unfit(found.faults)),
    }
}

fn is_safetensors(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("safetensors"))
}

/// Weights that are no part of the model, such as an original in a subfolder: as hostile as any. A stray shard is refused, because it
/// is more likely that the index is wrong than that somebody wants to publish it.
fn check_beside(found: &mut Survey, path: &str, file: &Found, meter: &Meter) {
    let is_shard = !path.contains('/') && path.starts_with("model-") && path.contains("-of-");
    if is_shard {
        let problem = "is named like a shard of the model, and no index names it, so that nobody would load it: remove it, \
                       or put the whole model's model.safetensors.index.json beside it";
        found.faults.push(Fault { place: path.to_owned(), problem: problem.to_owned() });
    }
    let faults = checkpoint::verify_file(path, &file.source, &|bytes| meter.advance(bytes));
    if faults.is_empty() && !is_shard {
        found.notes.push(format!("{path}: no part of the model, as no index names it; checked, and published as it is"));
    }
    found.faults.extend(faults.into_iter().map(Fault::from));
}

/// Says of every foreign file why it is not published; returns whether the weights are only there in PyTorch's form.
fn set_aside_foreign_weights(found: &mut Survey, model: &[String]) -> bool {
    let to_convert = !["model.safetensors", "model.safetensors.index.json"].iter().any(|name| found.files.contains_key(*name));
    let foreign = std::mem::take(&mut found.foreign);
    for path in foreign.keys() {
        let weights = model.contains(path) || (path.starts_with("pytorch_model") && path.ends_with(".bin"));
        found.notes.push(match (weights, to_convert) {
            (true, true) => format!("{path}: rewritten as safetensors; the pickle itself is not published"),
            (true, false) => format!("{path}: not published; the safetensors beside it are"),
            (false, _) => format!("{path}: not published; it holds a pickle or another framework's weights"),
        });
    }
    // It points at files that are not part of the release.
    found.files.remove("pytorch_model.bin.index.json");
    to_convert
}

/// The text of a file that pages show. What cannot be shown is a fault.
fn text_of(found: &mut Survey, name: &str) -> Option<String> {
    let file = found.files.get(name)?;
    let problem = if file.size_bytes > TEXT_BYTES_MAX {
        format!("has {} bytes; pages show at most {TEXT_BYTES_MAX}", file.size_bytes)
    } else {
        match std::fs::read_to_string(&file.source) {
            Ok(text) if !text.contains('\0') => return Some(text),
            Ok(_) => "contains a zero byte; it should be plain text".into(),
            Err(cause) if cause.kind() == io::ErrorKind::InvalidData => "is not UTF-8; save it as UTF-8 text".into(),
            Err(cause) => format!("cannot be read: {cause}"),
        }
    };
    found.faults.push(Fault { place: name.to_owned(), problem });
    None
}

impl LicenceText {
    pub(super) fn new(file: &str, body: String) -> Self {
        let heading = body.lines().find_map(|line| line.strip_prefix("# ")).map(str::trim).filter(|heading| !heading.is_empty());
        let name = heading.unwrap_or(file).chars().take(120).collect();
        Self { name, body }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    #[test]
    fn a_check_tells_how_much_of_how_much_it_has_read() {
        for fixture in ["preln-fp32", "preln-fp16-bin-sharded"] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/fixtures/opt").join(fixture);
            let meter = Meter::default();
            check(&dir, &meter).unwrap();
            let (phase, done_bytes, total_bytes) = meter.read();
            assert_eq!(phase, Phase::Checking);
            assert!(total_bytes > 50_000 && done_bytes <= total_bytes && done_bytes > total_bytes / 2, "{done_bytes} of {total_bytes}");
        }
    }
}
