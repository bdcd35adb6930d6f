//! `sluice pull`: a release comes into a folder, complete and proven, through whatever happens on the way.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::progress::{draw, progress};
use super::{result, say};
use crate::catalog::{human_bytes, human_files};
use crate::client::{self, Endpoint, Fault, Meter, ModelRef, Order, Pulled};
use crate::config::ClientConfig;

/// Requests at once unless asked otherwise, and at most.
const JOBS_DEFAULT: u16 = 8;
const JOBS_MAX: i64 = 64;
/// The portal that answers where none is named and nobody has signed in to one.
const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:8080";
/// How often a terminal is drawn on, and notes are looked for.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// `sluice pull ORG/NAME [DEST]`
#[derive(Args)]
pub struct Pull {
    /// The model, as ORG/NAME
    model: String,
    /// The folder to bring it into [default: ./NAME]
    dest: Option<PathBuf>,
    /// A tag, a branch or a commit
    #[arg(long, default_value = "main")]
    revision: String,
    /// Only files that fit this pattern, such as '*.safetensors'; may be repeated
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Requests at once
    #[arg(long, default_value_t = JOBS_DEFAULT, value_parser = clap::value_parser!(u16).range(1..=JOBS_MAX))]
    jobs: u16,
    /// A folder on the web that holds the release's files, too; it needs no trust. May be repeated
    #[arg(long = "mirror", value_name = "URL")]
    mirrors: Vec<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Read every file that is there, and fetch the chunks that differ
    #[arg(long)]
    repair: bool,
    /// Trust the public key in this file (PEM) and those it has vouched for, and no other
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The portal [default: SLUICE_ENDPOINT, else the one signed in to last, else http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Ask again where nothing has come for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `sluice pull`. What has arrived before a fault is kept; the same command goes on from there.
pub async fn run(config: ClientConfig, pull: Pull) -> Result<(), Fault> {
    let endpoint = endpoint(&config, pull.endpoint.as_deref())?;
    let model = ModelRef::parse(&pull.model)?;
    let order = Order {
        token: token(&config, &endpoint)?,
        endpoint,
        config_dir: config.config_dir,
        dest: pull.dest.unwrap_or_else(|| PathBuf::from(model.name())),
        model,
        revision: pull.revision,
        include: pull.include,
        jobs: usize::from(pull.jobs),
        mirrors: pull.mirrors,
        dry_run: pull.dry_run,
        repair: pull.repair,
        key: pull.key,
        patience: Duration::from_secs(pull.patience),
    };
    let meter = Arc::new(Meter::default());
    let begun = Instant::now();
    let pulled = watched(&meter, client::pull(&order, &meter)).await?;
    if pull.json {
        result(&serde_json::to_string(&pulled).expect("the result is JSON"));
    } else {
        say(&told(&pulled, pull.dry_run, begun.elapsed()));
        result(&pulled.folder.display().to_string());
    }
    Ok(())
}

/// The portal that is meant.
pub(super) fn endpoint(config: &ClientConfig, given: Option<&str>) -> Result<Endpoint, Fault> {
    let kept = client::kept_endpoint(&config.config_dir)?;
    Endpoint::parse(given.or(config.endpoint.as_deref()).or(kept.as_deref()).unwrap_or(ENDPOINT_DEFAULT))
}

/// The token to show it: that of the environment, else the kept one.
fn token(config: &ClientConfig, endpoint: &Endpoint) -> Result<Option<String>, Fault> {
    match &config.token {
        Some(token) => Ok(Some(token.clone())),
        None => client::kept_token(endpoint, &config.config_dir),
    }
}

/// Runs `work`, says what it notes, and draws how far it is where somebody can see it.
pub(super) async fn watched<T>(meter: &Meter, work: impl Future<Output = T>) -> T {
    let is_terminal = std::io::stderr().is_terminal();
    let begun = Instant::now();
    let mut work = Box::pin(work);
    let mut pace = Pace { begun, from: None };
    loop {
        let done = tokio::time::timeout(DRAW_EVERY, &mut work).await;
        let notes = meter.take_notes();
        if is_terminal && (done.is_ok() || !notes.is_empty()) {
            draw("");
        }
        notes.iter().for_each(|note| say(note));
        match done {
            Ok(done) => return done,
            Err(_) if is_terminal => draw(&pace.line(meter)),
            Err(_) => {}
        }
    }
}

/// What came since the first byte came: what was there before says nothing about the rate.
struct Pace {
    begun: Instant,
    from: Option<u64>,
}

impl Pace {
    fn line(&mut self, meter: &Meter) -> String {
        let (done_bytes, total_bytes, fetched_bytes) = meter.read();
        if total_bytes == 0 {
            return "Asking the portal".into();
        }
        if fetched_bytes == 0 || self.from.is_none() {
            (self.begun, self.from) = (Instant::now(), Some(done_bytes));
        }
        let since = self.from.unwrap_or_default().min(done_bytes);
        progress(done_bytes, total_bytes, done_bytes - since, self.begun.elapsed().as_secs_f64())
    }
}

fn told(pulled: &Pulled, dry_run: bool, took: Duration) -> String {
    let Pulled { model, revision, files, bytes, .. } = pulled;
    let folder = pulled.folder.display();
    let of = format!("{model} at {revision}: {}, {}", human_files(*files), human_bytes(*bytes));
    let to_fetch = format!("{}, {}", human_files(pulled.files_to_fetch), human_bytes(pulled.bytes_to_fetch));
    if dry_run {
        let to_read = match pulled.files_to_read {
            0 => String::new(),
            files => format!("; to read first, as it lies there already: {}", human_files(files)),
        };
        return format!("{of}. To fetch into {folder}: {to_fetch}{to_read}.");
    }
    if pulled.files_to_fetch == 0 {
        return format!("{of}. Everything is there and was verified when it came; `sluice verify {folder}` reads it again.");
    }
    let seconds = took.as_secs_f64();
    let rate = human_bytes((pulled.bytes_fetched as f64 / seconds.max(0.001)) as u64);
    format!("{of}. Fetched and verified: {to_fetch} in {seconds:.1} s ({rate}/s).")
}
