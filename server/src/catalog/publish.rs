//! One folder becomes one immutable release: look, make what is missing, keep the bytes, and only then tell the world, in one
//! transaction. Interrupted before that, nobody sees anything; repeated, nothing is done twice.

use std::path::Path;
use std::sync::Arc;

use inference::checkpoint::TensorFacts;
use sqlx::PgConnection;

use super::background::in_background;
use super::check::{Checked, Fault, Fit, check};
use super::derive::{Derived, derive};
use super::keep::{self, Incoming, Kept, blocking, keep_all};
use super::meter::{Meter, Phase};
use super::model::{Draft, Gate, Model, ReleaseFile};
use super::model_name::ModelName;
use super::offer::{Face, Terms, put_on_offer};
use super::report::{self, FirstWords};
use super::survey::{clashes, survey};
use super::{prove, store};
use crate::audit::{self, Event};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ModelId, ReleaseId};
use crate::integrity::{Entry, GIT_BYTES_MAX, Manifest};
use crate::portal::Portal;
use crate::storage::Problem;

/// What is to be published, and how.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// The folder, in the Hugging Face layout.
    pub dir: &'a Path,
    /// The model it is a release of.
    pub name: &'a ModelName,
    /// How it is offered; nothing keeps it as a draft. A new model is by application unless they say otherwise, which gives nothing away
    /// by mistake.
    pub terms: Option<Terms<'a>>,
    /// What its publisher says about it.
    pub notes: &'a str,
    /// Who publishes; nobody if the operator does, on the command line.
    pub by: Option<AccountId>,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// It is stored, and on offer unless it was to stay a draft.
    Published(Published),
    /// The folder has to be mended first; nothing changed.
    Unfit(Vec<Fault>),
}

/// A release that is stored, verified and signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// 40 hex digits.
    pub revision: String,
    /// Whether it was not there, or not on offer, before.
    pub is_new: bool,
    /// Whether it is a draft: not on offer yet.
    pub is_draft: bool,
    /// Who may have the model.
    pub gate: Gate,
    /// How many files it has.
    pub files: usize,
    /// How many bytes they are together.
    pub size_bytes: u64,
    /// How many of these had to be written; the store had the others.
    pub written_bytes: u64,
    /// What the publisher should know.
    pub notes: Vec<String>,
}

/// Publishes a folder. Two publications of one model at once come one after the other. Errors: `Conflict` if the name is
/// taken in another spelling, the tag by another release, or files change meanwhile; `Unavailable` if the disk is full.
pub async fn publish(portal: &Portal, order: &Order<'_>, meter: &Arc<Meter>) -> Result<Outcome, Error> {
    check_spelling(&mut *portal.db.acquire().await?, order.name).await?;
    // Objects that are found in the store are counted on before a release names them: nobody removes any meanwhile (see `gc`).
    let mut held = portal.db.acquire().await?;
    held.close_on_drop();
    store::hold_objects(&mut held).await?;
    let outcome = publish_held(portal, order, meter).await;
    store::let_go(&mut held).await?;
    outcome
}

async fn publish_held(portal: &Portal, order: &Order<'_>, meter: &Arc<Meter>) -> Result<Outcome, Error> {
    portal.objects.check().await.map_err(Problem::for_operator)?;
    portal.objects.sweep(portal.clock.now()).await?;

    // Every byte is read for the check, and once more to be hashed: at the same time, so that what one has read is still in memory for the other.
    let dir = order.dir.to_owned();
    let ahead = keep::begin(portal, blocking(move || survey(&dir)).await?.files).await?;
    let (dir, counted) = (order.dir.to_owned(), meter.clone());
    let fit: Arc<Fit> = match blocking(move || in_background(|| check(&dir, &counted))?).await? {
        Checked::Fit(fit) => Arc::from(fit),
        Checked::Unfit(faults) => return Ok(Outcome::Unfit(faults)),
    };
    let (staging, given, counted) = (portal.objects.staging().clone(), fit.clone(), meter.clone());
    let derived = match blocking(move || derive(&staging, &given, &counted)).await? {
        Ok(derived) => derived,
        Err(faults) => return Ok(Outcome::Unfit(faults)),
    };

    let mut told = derived.as_ref().map(|derived| derived.notes.clone()).unwrap_or_default();
    let tensors = derived.as_ref().and_then(|derived| derived.tensors.clone()).unwrap_or_else(|| fit.tensors.clone());
    let incoming = incoming(&fit, derived);
    // Beside what was made here a name that was alone may be so no longer.
    let clashes = clashes(incoming.iter().map(|file| &file.path));
    if !clashes.is_empty() {
        return Ok(Outcome::Unfit(clashes));
    }
    // Meanwhile the rest is brought into the store.
    let (given, memory_bytes) = (fit.clone(), portal.config.engine.memory_bytes);
    let words = tokio::task::spawn_blocking(move || report::first_words(&given.checkpoint, &given.tensors, memory_bytes));
    meter.begin(Phase::Storing, incoming.iter().map(|file| file.found.size_bytes).sum());
    let kept = keep_all(portal, meter, ahead, incoming).await?;
    let words = words.await.map_err(Error::internal)?;
    if let Err(why) = &words {
        told.push(format!("the model was not asked to speak: {why}"));
    }
    let mended = kept.iter().filter_map(|file| Some((&file.path, file.mended.as_ref()?)));
    told.extend(mended.map(|(path, fault)| format!("{path}: the store had it already, but its copy {fault}; it was written anew")));
    let mut published = offer(portal, order, &fit, &kept, &Said { tensors, words }).await?;
    published.notes.extend(told);
    Ok(Outcome::Published(published))
}

/// What is told of the weights.
struct Said {
    tensors: Vec<TensorFacts>,
    /// What the model says first, or why it was not asked.
    words: Result<FirstWords, String>,
}

/// The files of the release: those of the folder, and those made from them.
fn incoming(fit: &Fit, derived: Option<Derived>) -> Vec<Incoming> {
    let given = fit.files.iter().map(|(path, found)| Incoming { path: path.clone(), found: found.clone(), staged: None });
    let mut incoming: Vec<Incoming> = given.collect();
    if let Some(Derived { staged, files, .. }) = derived {
        let staged = Arc::new(staged);
        incoming.retain(|file| !files.contains_key(&file.path));
        incoming.extend(files.into_iter().map(|(path, found)| Incoming { path, found, staged: Some(staged.clone()) }));
    }
    incoming
}

/// Keeps the release and, unless it is to stay a draft, makes it visible: model, release, files, names and record, all or nothing.
async fn offer(portal: &Portal, order: &Order<'_>, fit: &Fit, kept: &[Kept], said: &Said) -> Result<Published, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    store::await_publication(&mut tx, order.name).await?;
    let model = model_of(&mut tx, order, now).await?;
    let revision = revision_of(kept);
    let (release, was) = keep_release(&mut tx, order, fit, kept, (model.id, &revision), now).await?;
    for file in kept {
        store::insert_chunks(&mut tx, &file.digests).await?;
    }
    let report = report::report(order, &revision, &said.tensors, &said.words);
    store::insert_report(&mut tx, release, &report, now).await?;
    prove::sign(&mut tx, portal, &model, (release, &revision), now).await?;
    let (model, is_new) = match &order.terms {
        Some(terms) => {
            let face = Face::of(fit.card.as_deref(), fit.licence.as_ref());
            put_on_offer(&mut tx, now, order.by, model, (release, &revision), (terms, face)).await?
        }
        None => (model, was == Was::Unknown),
    };
    tx.commit().await?;

    let mut notes = fit.notes.clone();
    if model.gate == Gate::Application && fit.licence.is_none() {
        notes.push("there is no LICENSE.md: applicants will see no licence to agree to".into());
    }
    Ok(Published {
        revision,
        is_new,
        is_draft: order.terms.is_none() && was != Was::Published,
        gate: model.gate,
        files: kept.len(),
        size_bytes: kept.iter().map(|file| file.digests.size_bytes).sum(),
        written_bytes: kept.iter().map(|file| file.written_bytes).sum(),
        notes,
    })
}

/// The model; added, and seen by nobody yet, if there was none.
async fn model_of(tx: &mut PgConnection, order: &Order<'_>, now: Timestamp) -> Result<Model, Error> {
    if let Some(model) = check_spelling(tx, order.name).await? {
        return Ok(model);
    }
    let model = Model {
        id: ModelId::fresh(),
        org: order.name.org().to_owned(),
        name: order.name.name().to_owned(),
        gate: order.terms.and_then(|terms| terms.gate).unwrap_or(Gate::Application),
        licence_sha256: None,
        summary: String::new(),
        created_at: now,
    };
    store::insert_model(tx, &model).await?;
    Ok(model)
}

fn revision_of(kept: &[Kept]) -> String {
    let entries = kept.iter().map(|file| {
        let entry = Entry { size_bytes: file.digests.size_bytes, sha256: file.digests.sha256.clone() };
        (file.path.clone(), entry)
    });
    Manifest::new(entries).revision()
}

/// What the content was before it was to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Was {
    Unknown,
    Draft,
    Published,
}

/// The release with this content, and what it was before. Content that is known is the release or the draft it was then.
async fn keep_release(
    tx: &mut PgConnection,
    order: &Order<'_>,
    fit: &Fit,
    kept: &[Kept],
    (model, revision): (ModelId, &str),
    now: Timestamp,
) -> Result<(ReleaseId, Was), Error> {
    if let Some(release) = store::resolve(tx, model, revision).await? {
        if let Some(reason) = &release.yank_reason {
            let told = format!(
                "this content was published as {revision} and yanked ({reason}); to offer it again: sluice release restore ORG/NAME {revision}"
            );
            return Err(Error::Conflict(told.into()));
        }
        return Ok((release.id, Was::Published));
    }
    if let Some(draft) = store::draft_of(tx, model, revision).await? {
        if !order.notes.is_empty() {
            store::set_draft_notes(tx, draft.id, order.notes).await?;
        }
        return Ok((draft.id, Was::Draft));
    }
    let draft = Draft {
        id: ReleaseId::fresh(),
        model_id: model,
        revision: revision.to_owned(),
        notes: order.notes.to_owned(),
        config_json: Some(fit.config_json.clone()),
        drafted_at: now,
    };
    store::insert_draft(tx, &draft).await?;
    let files = kept.iter().map(release_file).collect::<Result<Vec<_>, _>>()?;
    store::insert_files(tx, draft.id, &files).await?;
    if order.terms.is_none() {
        audit::record(tx, now, order.by, &Event::ReleaseDrafted { model, revision: draft.revision }).await?;
    }
    Ok((draft.id, Was::Unknown))
}

/// The model of this name, if there is one. `Conflict` if it is spelt with other capitals.
async fn check_spelling(db: &mut PgConnection, name: &ModelName) -> Result<Option<Model>, Error> {
    let found = store::find_any_model(db, name.org(), name.name()).await?;
    match found {
        Some(model) if model.full_name() != name.to_string() => {
            Err(Error::Conflict(format!("this model is here as {}; publish under that spelling", model.full_name()).into()))
        }
        found => Ok(found),
    }
}

fn release_file(kept: &Kept) -> Result<ReleaseFile, Error> {
    Ok(ReleaseFile {
        path: kept.path.clone(),
        size_bytes: i64::try_from(kept.digests.size_bytes).map_err(Error::internal)?,
        sha256: kept.digests.sha256.clone(),
        blake3: kept.digests.blake3.clone(),
        git_sha1: kept.digests.git_sha1.clone().unwrap_or_default(),
        is_lfs: kept.path.ends_with(".safetensors") || kept.digests.size_bytes > GIT_BYTES_MAX,
    })
}
