//! `sluice publish`: a folder of weights becomes an immutable release; prints its revision on stdout.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::progress::Shown;
use super::{result, say};
use crate::catalog::{self, Fault, Gate, Meter, ModelName, Order, Outcome, Published, Terms, human_bytes, human_files};
use crate::error::{Error, FieldError};
use crate::portal::Portal;

/// How long notes may be: 64 KiB.
const NOTES_BYTES_MAX: u64 = 64 << 10;

/// `sluice publish DIR ORG/NAME`
#[derive(Args)]
pub struct Publish {
    /// The folder of weights, in the Hugging Face layout; .bin weights are rewritten as safetensors
    dir: PathBuf,
    /// The model, as ORG/NAME
    model: String,
    /// Who may have it: open, or application (the default for a new model)
    #[arg(long, value_name = "open|application")]
    gate: Option<String>,
    /// A tag for this release, such as v1.0; tags never move
    #[arg(long)]
    tag: Option<String>,
    /// Keep it as a draft, which admins alone see; `sluice release publish` says its gate and tag and puts it on offer
    #[arg(long, conflicts_with_all = ["gate", "tag"])]
    draft: bool,
    /// A file with release notes
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// Print the result (or every fault) as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `sluice publish`. Wrong arguments are `Invalid`; a folder that does not pass is `Conflict`, after every fault was said.
pub async fn run(portal: &Portal, publish: Publish) -> Result<(), Error> {
    let name: ModelName = publish.model.parse()?;
    let gate = publish.gate.as_deref().map(str::parse::<Gate>).transpose()?;
    let tag = publish.tag.as_deref().map(catalog::parse_tag).transpose()?;
    let notes = read_notes(&publish)?;
    if !publish.dir.is_dir() {
        return Err(FieldError::new("DIR", format!("{} is no folder", publish.dir.display())).into());
    }
    let terms = (!publish.draft).then_some(Terms { gate, tag: tag.as_deref() });
    let order = Order { dir: &publish.dir, name: &name, terms, notes: &notes, by: None };
    let meter = Arc::new(Meter::default());
    let outcome = {
        let shown = Shown::start(&meter);
        let outcome = catalog::publish(portal, &order, &meter).await;
        shown.stop().await;
        outcome?
    };
    match outcome {
        Outcome::Published(published) => {
            tell(portal, &name, &published, publish.json);
            Ok(())
        }
        Outcome::Unfit(faults) => Err(refuse(&faults, publish.json)),
    }
}

fn read_notes(publish: &Publish) -> Result<String, Error> {
    let Some(file) = &publish.notes else { return Ok(String::new()) };
    let fault = |problem: String| Error::from(FieldError::new("--notes", format!("{}: {problem}", file.display())));
    let size_bytes = std::fs::metadata(file).map_err(|cause| fault(cause.to_string()))?.len();
    if size_bytes > NOTES_BYTES_MAX {
        return Err(fault(format!("has {size_bytes} bytes; notes may have at most {NOTES_BYTES_MAX}")));
    }
    let notes = std::fs::read_to_string(file).map_err(|cause| fault(cause.to_string()))?;
    if notes.contains('\0') { Err(fault("contains a zero byte; it should be plain text".into())) } else { Ok(notes) }
}

fn tell(portal: &Portal, name: &ModelName, published: &Published, json: bool) {
    published.notes.iter().for_each(|note| say(&format!("note: {note}")));
    let page = portal.config.url_of(&format!("/{name}"));
    if published.is_draft {
        let stored = if published.is_new { "Stored" } else { "Nothing new:" };
        say(&format!(
            "{stored} a draft of {name}: {}, {}; {} newly stored. Admins alone see it. To put it on offer: sluice release publish {name} {}",
            human_files(published.files),
            human_bytes(published.size_bytes),
            human_bytes(published.written_bytes),
            published.revision,
        ));
    } else if published.is_new {
        say(&format!(
            "Published {name}: {}, {}; {} newly stored. Gate: {}. Page: {page}",
            human_files(published.files),
            human_bytes(published.size_bytes),
            human_bytes(published.written_bytes),
            published.gate.as_str(),
        ));
    } else {
        say(&format!("Nothing new: {name} has had a release with just this content. Page: {page}"));
    }
    if json {
        let body = serde_json::json!({
            "model": name.to_string(), "revision": published.revision, "new": published.is_new, "draft": published.is_draft, "gate": published.gate.as_str(),
            "files": published.files, "size_bytes": published.size_bytes, "stored_bytes": published.written_bytes, "notes": published.notes,
        });
        result(&body.to_string());
    } else {
        result(&published.revision);
    }
}

fn refuse(faults: &[Fault], json: bool) -> Error {
    if json {
        let faults: Vec<_> = faults.iter().map(|fault| serde_json::json!({ "place": fault.place, "problem": fault.problem })).collect();
        result(&serde_json::json!({ "faults": faults }).to_string());
    }
    faults.iter().for_each(|fault| say(&format!("  {fault}")));
    let count = if faults.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", faults.len()) };
    Error::Conflict(
        format!("this folder cannot be published: {count}, named above; mend them and publish again (nothing was changed)").into(),
    )
}
