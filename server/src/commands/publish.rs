//! `sluice publish`: a folder of weights becomes an immutable release; prints its revision on stdout.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::{result, say};
use crate::catalog::{self, Fault, Gate, Meter, ModelName, Order, Outcome, Phase, Published, human_bytes};
use crate::error::{Error, FieldError};
use crate::portal::Portal;

/// How often the progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);
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
    let order = Order { dir: &publish.dir, name: &name, gate, tag: tag.as_deref(), notes: &notes, by: None };
    let meter = Arc::new(Meter::default());
    let outcome = {
        let drawing = Drawing::start(&meter);
        let outcome = catalog::publish(portal, &order, &meter).await;
        drawing.stop().await;
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
    if published.is_new {
        say(&format!(
            "Published {name}: {} files, {}; {} newly stored. Gate: {}. Page: {page}",
            published.files,
            human_bytes(published.size_bytes),
            human_bytes(published.written_bytes),
            published.gate.as_str(),
        ));
    } else {
        say(&format!("Nothing new: {name} has had a release with just this content. Page: {page}"));
    }
    if json {
        let body = serde_json::json!({
            "model": name.to_string(), "revision": published.revision, "new": published.is_new, "gate": published.gate.as_str(),
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

/// Draws the meter on a terminal; does nothing where there is none.
struct Drawing {
    task: tokio::task::JoinHandle<()>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Drawing {
    fn start(meter: &Arc<Meter>) -> Self {
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let meter = meter.clone();
        let task = tokio::spawn(async move {
            if !std::io::stderr().is_terminal() {
                return;
            }
            let mut pace = Pace::new();
            while tokio::time::timeout(DRAW_EVERY, stopped.changed()).await.is_err() {
                draw(&pace.line(meter.read()));
            }
            draw("");
        });
        Self { task, stop }
    }

    async fn stop(self) {
        // Nobody listening means that it ended already: there is no terminal.
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

/// Writes over the line that was drawn before.
fn draw(line: &str) {
    // A terminal that is gone needs no progress.
    let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
    let _ = std::io::stderr().flush();
}

/// Rate and time left of the phase that runs.
struct Pace {
    phase: Phase,
    since: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { phase: Phase::Checking, since: Instant::now() }
    }

    fn line(&mut self, (phase, done_bytes, total_bytes): (Phase, u64, u64)) -> String {
        if phase != self.phase {
            *self = Self { phase, since: Instant::now() };
        }
        let elapsed_s = self.since.elapsed().as_secs_f64();
        match phase {
            Phase::Checking => format!("Checking every weight … {elapsed_s:.0} s"),
            Phase::Converting => format!("Rewriting weights as safetensors … {elapsed_s:.0} s"),
            Phase::Storing => progress(done_bytes, total_bytes, elapsed_s),
        }
    }
}

/// "Storing 1.2 GB of 2.6 GB (46 %), 410 MB/s, 4 s left"
fn progress(done_bytes: u64, total_bytes: u64, elapsed_s: f64) -> String {
    let share = done_bytes.saturating_mul(100).checked_div(total_bytes).unwrap_or(100);
    let mut line = format!("Storing {} of {} ({share} %)", human_bytes(done_bytes), human_bytes(total_bytes));
    let rate = done_bytes as f64 / elapsed_s.max(0.001);
    // The first moments say nothing about the rate.
    if elapsed_s > 0.5 && rate >= 1.0 {
        let left_s = (total_bytes.saturating_sub(done_bytes) as f64 / rate).ceil() as u64;
        line += &format!(", {}/s, {} left", human_bytes(rate as u64), time(left_s));
    }
    line
}

fn time(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_bytes_rate_and_time_left() {
        assert_eq!(progress(1_200_000_000, 2_600_000_000, 3.0), "Storing 1.2 GB of 2.6 GB (46 %), 400 MB/s, 4 s left");
        assert_eq!(progress(0, 0, 0.1), "Storing 0 B of 0 B (100 %)");
        assert_eq!(progress(1_000_000_000, 1_001_000_000_000, 10.0), "Storing 1.0 GB of 1.0 TB (0 %), 100 MB/s, 2 h 46 min left");
    }
}
