//! `sluice pull`, told in order: what is wanted, whether it may be had, what proves it, what is missing, then the work.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, ModelRef};
use super::fault::Fault;
use super::fetch::Work;
use super::folder::{self, Folder, Origin};
use super::journal::Journal;
use super::manifest::Listed;
use super::meter::Meter;
use super::plan;
use super::proof::{Bundles, Proven};
use super::release::Release;
use super::source::Sources;
use super::wire::Wire;
use super::{glob, keys};
use crate::integrity::PublicKey;

/// Answers that name a revision, or that say yes, are short.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What is to be pulled, from where, to where.
#[derive(Debug, Clone)]
pub struct Order {
    /// The portal.
    pub endpoint: Endpoint,
    /// A token of the portal, shown to nobody else.
    pub token: Option<String>,
    /// Where keys are remembered.
    pub config_dir: PathBuf,
    /// The model.
    pub model: ModelRef,
    /// A commit, tag or branch.
    pub revision: String,
    /// The folder.
    pub dest: PathBuf,
    /// Patterns of wanted files; none for all.
    pub include: Vec<String>,
    /// Requests at once.
    pub jobs: usize,
    /// Other places that have the files.
    pub mirrors: Vec<String>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Read everything that is there, and mend what differs.
    pub repair: bool,
    /// Trust this key and those it has vouched for, and no other.
    pub key: Option<PathBuf>,
    /// How long nothing may come before a request is made again.
    pub patience: Duration,
}

/// What a pull has done, or would do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pulled {
    /// The model.
    pub model: String,
    /// The commit.
    pub revision: String,
    /// The folder.
    pub folder: PathBuf,
    /// Wanted files, and their bytes.
    pub files: usize,
    /// Bytes of the wanted files.
    pub bytes: u64,
    /// Files that were not complete before.
    pub files_to_fetch: usize,
    /// Bytes of them that were not there before.
    pub bytes_to_fetch: u64,
    /// Files that lie there and that nobody has read yet (dry run).
    pub files_to_read: usize,
    /// Bytes that came over the network.
    pub bytes_fetched: u64,
}

/// Pulls a release, or goes on with it. Nothing gets its name before it is complete and proven.
pub async fn pull(order: &Order, meter: &Arc<Meter>) -> Result<Pulled, Fault> {
    let wire = Wire::new(&order.endpoint, order.token.as_deref(), order.patience)?;
    let revision = resolve(&wire, order, meter).await?;
    let sources = Sources::new(&order.endpoint, &order.model, &revision, &order.mirrors)?;
    if order.mirrors.is_empty() {
        // Better told now than by the first chunk.
        wire.whole(&format!("/api/models/{}/auth-check", order.model), ANSWER_BYTES_MAX, meter).await?;
    }
    let listed = Listed::fetch(&wire, &order.model, &revision, meter).await?;
    let shown = keys::Listing::fetch(&wire, meter).await?;
    let trusted = match &order.key {
        Some(file) => shown.followed_from(vec![keys::from_file(file)?]),
        None => keys::of_portal(&shown, &order.endpoint, &order.config_dir, meter)?,
    };
    let bundles = Bundles::fetch(&wire, &order.model, &revision, meter).await?;
    let proven = bundles.prove(&revision, &trusted).map_err(|fault| {
        let proves = |key: &PublicKey| order.key.is_none() && bundles.prove(&revision, std::slice::from_ref(key)).is_ok();
        shown.retired_key_that(proves).unwrap_or(fault)
    })?;
    check_name(&proven, &order.model)?;
    proven.check(&listed)?;
    let (model, release) = (proven.model, listed.release.clone());
    let wanted = choose(&release, &order.include)?;
    let total_bytes = wanted.iter().map(|at| release.files[*at].size_bytes).sum();
    let mut pulled = Pulled {
        model: model.clone(),
        revision: revision.clone(),
        folder: order.dest.clone(),
        files: wanted.len(),
        bytes: total_bytes,
        files_to_fetch: 0,
        bytes_to_fetch: 0,
        files_to_read: 0,
        bytes_fetched: 0,
    };
    if order.dry_run {
        let foreseen = plan::foresee(&release, &wanted, &order.dest, &Journal::peek(&folder::journal_of(&order.dest)), order.repair)?;
        (pulled.files_to_fetch, pulled.bytes_to_fetch) = (foreseen.jobs.len(), foreseen.missing_bytes);
        pulled.files_to_read = foreseen.unread_files;
        return Ok(pulled);
    }

    let folder = Folder::open(&order.dest)?;
    bundles.keep(&folder.ours())?;
    listed.keep(&folder.ours())?;
    shown.keep(&folder.ours())?;
    Origin { endpoint: order.endpoint.to_string(), model, revision, include: order.include.clone() }.keep(&folder.ours())?;
    drop((bundles, listed));
    meter.begin(total_bytes, 0);
    let (release, folder, plan) = prepare(release, wanted, folder, order.repair, meter).await?;
    (pulled.files_to_fetch, pulled.bytes_to_fetch) = (plan.jobs.len(), plan.missing_bytes);
    check_space(&folder, plan.missing_bytes)?;
    let done = Work::new(wire, sources, folder, release, plan.jobs, meter.clone()).run(order.jobs).await;
    pulled.bytes_fetched = meter.read().2;
    done.map(|()| pulled)
}

/// The commit that the wanted revision means now.
async fn resolve(wire: &Wire, order: &Order, meter: &Meter) -> Result<String, Fault> {
    #[derive(serde::Deserialize)]
    struct Answer {
        sha: String,
    }
    let answer: Answer = wire.json(&order.model.revision_at(&order.revision), None, ANSWER_BYTES_MAX, meter).await?;
    let is_commit = |text: &str| text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_commit(&answer.sha) {
        return Err(Fault::Failed(format!("{} names no revision where it should", wire.endpoint())));
    }
    // Whoever asks for a commit gets this one or none.
    if is_commit(&order.revision) && order.revision != answer.sha {
        return Err(Fault::Mismatch(format!("{} was asked for {} and answered with {}", wire.endpoint(), order.revision, answer.sha)));
    }
    Ok(answer.sha)
}

/// A portal takes capitals for small letters; the name is as its publisher writes it.
fn check_name(proven: &Proven, asked: &ModelRef) -> Result<(), Fault> {
    match proven.model.eq_ignore_ascii_case(&asked.to_string()) {
        true => Ok(()),
        false => Err(Fault::Mismatch(format!("the signatures are of {}, not of {asked}; nothing was fetched", proven.model))),
    }
}

/// Which files are wanted, the large ones last so that what is small is complete early.
fn choose(release: &Release, include: &[String]) -> Result<Vec<usize>, Fault> {
    let is_wanted = |path: &str| include.is_empty() || include.iter().any(|pattern| glob::matches(pattern, path));
    let mut wanted: Vec<usize> = (0..release.files.len()).filter(|at| is_wanted(&release.files[*at].path)).collect();
    if wanted.is_empty() && !include.is_empty() {
        return Err(Fault::Usage(format!("no file of the release fits --include {}", include.join(" --include "))));
    }
    wanted.sort_by_key(|at| release.files[*at].chunks.len() > 1);
    Ok(wanted)
}

/// Planning may read for minutes, which is not for the threads that serve the network.
async fn prepare(
    release: Release,
    wanted: Vec<usize>,
    folder: Folder,
    repair: bool,
    meter: &Arc<Meter>,
) -> Result<(Release, Folder, plan::Plan), Fault> {
    let meter = meter.clone();
    let planned = tokio::task::spawn_blocking(move || {
        let plan = plan::prepare(&release, &wanted, &folder, repair, &meter)?;
        Ok((release, folder, plan))
    });
    planned.await.unwrap_or_else(|cause| Err(Fault::Failed(cause.to_string())))
}

fn check_space(folder: &Folder, missing_bytes: u64) -> Result<(), Fault> {
    match folder.free_bytes() {
        Some(free) if free < missing_bytes => Err(Fault::Failed(format!(
            "{} has {free} bytes free, and {missing_bytes} are still to come; free {} more, or choose another folder",
            show(folder.root()),
            missing_bytes - free
        ))),
        _ => Ok(()),
    }
}

fn show(path: &Path) -> std::path::Display<'_> {
    path.display()
}
