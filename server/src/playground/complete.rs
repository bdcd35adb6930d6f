//! Access → quota → model → engine → events: the one way to a generation, for the page and for programs.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::web::Data;
use futures_util::stream::{self, SelectAll, Stream, StreamExt};
use inference::{Checkpoint, Engine, Event, FinishReason, Prompt, Request};

use super::fault::Fault;
use super::quota::{self, Tab};
use super::store::{Ending, NewGeneration, Source};
use crate::access::{Action, authorize};
use crate::accounts::Visitor;
use crate::catalog::{self, Model, Release};
use crate::error::Error;
use crate::http::places::{Place, Turn};
use crate::ids::{AccountId, GenerationId};
use crate::portal::Portal;
use crate::storage::ObjectKey;

/// Somebody who may use a model, with a place in their line and the model in memory.
pub struct Admitted {
    /// The model.
    pub model: Model,
    /// Its release that runs: what `main` points at.
    pub release: Release,
    /// The engine that runs it.
    pub engine: Engine,
    account: AccountId,
    place: Place,
    portal: Data<Portal>,
}

/// Lets the visitor in to `org/name`. Errors: `NotFound`, `Forbidden` with what is missing, `Limited`, or why the model cannot run.
pub async fn admit(portal: &Data<Portal>, visitor: &Visitor, full_name: &str) -> Result<Admitted, Fault> {
    let (org, name) = full_name.split_once('/').ok_or(Error::NotFound("model"))?;
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model(&mut db, org, name).await?.ok_or(Error::NotFound("model"))?;
    authorize(&mut db, visitor, &model, Action::Generate, portal.clock.now()).await?.permit()?;
    let account = visitor.account_id().ok_or(Error::SignedOut)?;
    let place = quota::enter(portal, account)?;
    let release = catalog::resolve(&mut db, model.id, "main").await?.ok_or(Error::NotFound("release"))?;
    let files = catalog::files(&mut db, release.id).await?;
    drop(db); // loading may take long, and others need the connection
    let engine = load(portal, &release.revision, &files).await?;
    Ok(Admitted { model, release, engine, account, place, portal: portal.clone() })
}

/// The files of `org/name` as `main` has them, for the operator: nobody is asked for permission.
pub async fn checkpoint(portal: &Portal, full_name: &str) -> Result<Checkpoint, Fault> {
    let (org, name) = full_name.split_once('/').ok_or(Error::NotFound("model"))?;
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model(&mut db, org, name).await?.ok_or(Error::NotFound("model"))?;
    let release = catalog::resolve(&mut db, model.id, "main").await?.ok_or(Error::NotFound("release"))?;
    let files = catalog::files(&mut db, release.id).await?;
    Ok(checkpoint_of(portal, &files)?)
}

/// The files of a release, where they lie and which content they have. The engine knows files of one folder; what lies deeper is not its
/// concern.
fn checkpoint_of(portal: &Portal, files: &[catalog::ReleaseFile]) -> Result<Checkpoint, inference::Error> {
    let plain = || files.iter().filter(|file| !file.path.contains('/'));
    let paths = plain().map(|file| (file.path.clone(), portal.objects.path(&ObjectKey::file(&file.sha256)))).collect();
    let digests = plain().map(|file| (file.path.clone(), format!("sha256:{}", file.sha256))).collect();
    Ok(Checkpoint::from_files(paths)?.with_digests(digests))
}

/// The engine of a release: loaded if need be, off the async threads.
async fn load(portal: &Data<Portal>, revision: &str, files: &[catalog::ReleaseFile]) -> Result<Engine, Fault> {
    let (portal, revision, files) = (portal.clone(), revision.to_owned(), files.to_vec());
    let loaded = tokio::task::spawn_blocking(move || portal.engine.get_or_load(&revision, || checkpoint_of(&portal, &files)));
    Ok(loaded.await.map_err(Error::internal)??)
}

impl Admitted {
    /// Turns prompts of text into prompts of tokens, off the async threads. `ContextExceeded` if one leaves no room for an answer.
    pub async fn tokenise(&self, mut requests: Vec<Request>) -> Result<Vec<Request>, Fault> {
        let engine = self.engine.clone();
        let tokenised = tokio::task::spawn_blocking(move || {
            for request in &mut requests {
                if let Prompt::Text(text) = &request.prompt {
                    request.prompt = Prompt::Ids(encode(&engine, text)?);
                }
            }
            Ok::<_, Fault>(requests)
        });
        tokenised.await.map_err(Error::internal)?
    }

    /// Begins to generate: all requests together are one generation of the ledger, and each runs when the account's turn comes.
    /// Errors of the first request come at once; those of later ones as [`Event::Failed`].
    pub async fn run(self, source: Source, requests: Vec<Request>) -> Result<Run, Fault> {
        let prompt_tokens = requests.iter().map(|request| prompt_tokens(&request.prompt)).sum::<usize>();
        let place = Arc::new(self.place);
        let mut requests = requests.into_iter().enumerate().collect::<VecDeque<_>>();
        let mut sequences = SelectAll::new();
        if let Some((index, request)) = requests.pop_front() {
            let turn = place.turn().await;
            sequences.push(sequence(index, Sequence::Running(self.engine.submit(request)?, turn)));
        }
        let new = NewGeneration {
            id: GenerationId::fresh(),
            account: self.account,
            model: self.model.id,
            release: self.release.id,
            source,
            prompt_tokens: i32::try_from(prompt_tokens).unwrap_or(i32::MAX),
            now: self.portal.clock.now(),
        };
        let tab = Tab::open(&self.portal, &new).await?;
        let mut run = Run { id: new.id, engine: self.engine, requests, sequences, tab, ending: Ending::Stop, place };
        while run.sequences.len() < SEQUENCES_AT_ONCE && run.line_up_next() {}
        Ok(run)
    }
}

fn encode(engine: &Engine, text: &str) -> Result<Vec<u32>, Fault> {
    let tokenizer = engine.tokenizer().ok_or_else(|| Fault::CannotRun(NO_TOKENIZER.into()))?;
    let context_tokens_max = engine.context_tokens_max();
    // A text too long for any tokenisation to fit is not tokenised at all.
    if text.len() > context_tokens_max.saturating_mul(tokenizer.token_bytes_max()) {
        return Err(inference::Error::PromptTooLong { prompt_tokens: None, context_tokens_max }.into());
    }
    Ok(tokenizer.encode(text)?)
}

/// What is said of a model that can only be asked in tokens.
pub(super) const NO_TOKENIZER: &str = "this model has no tokenizer, so it takes prompts as token ids only";

/// How many tokens a prompt is, once tokenised.
pub(super) fn prompt_tokens(prompt: &Prompt) -> usize {
    match prompt {
        Prompt::Ids(ids) => ids.len(),
        Prompt::Text(_) => 0,
    }
}

/// A generation under way. Dropping it stops every sequence at its next step and settles for the tokens really made.
pub struct Run {
    /// Its id in the ledger.
    pub id: GenerationId,
    engine: Engine,
    /// Those that are not in line yet.
    requests: VecDeque<(usize, Request)>,
    sequences: SelectAll<Events>,
    tab: Tab,
    ending: Ending,
    place: Arc<Place>,
}

/// Of one generation so many sequences stand in the account's line at once: a large batch does not keep its owner's next request out.
const SEQUENCES_AT_ONCE: usize = 4;

impl Run {
    /// What happens next, and to which request; nothing when all are finished and settled. After `Failed` nothing follows.
    pub async fn next(&mut self) -> Option<(usize, Event)> {
        let next = self.sequences.next().await;
        match &next {
            Some((_, Event::Started { .. })) => {}
            Some((_, Event::Token { .. })) => self.tab.count_token(),
            Some((_, Event::Finished { reason, .. })) => {
                if *reason == FinishReason::Length {
                    self.ending = Ending::Length;
                }
                self.line_up_next();
            }
            Some((_, Event::Failed(_))) => {
                self.requests.clear();
                self.sequences.clear();
                self.tab.settle(Ending::Failed).await;
            }
            None => self.tab.settle(self.ending).await,
        }
        next
    }

    /// Puts the next request in line; says whether there was one.
    fn line_up_next(&mut self) -> bool {
        let Some((index, request)) = self.requests.pop_front() else { return false };
        let waiting = Waiting { engine: self.engine.clone(), request, place: self.place.clone() };
        self.sequences.push(sequence(index, Sequence::Waiting(Box::new(waiting))));
        true
    }
}

/// The events of one request, each with the request's place among those of the run.
type Events = Pin<Box<dyn Stream<Item = (usize, Event)> + Send>>;

/// One request on its way through the engine.
enum Sequence {
    Waiting(Box<Waiting>),
    Running(inference::Generation, Turn),
    Done,
}

struct Waiting {
    engine: Engine,
    request: Request,
    place: Arc<Place>,
}

fn sequence(index: usize, begin: Sequence) -> Events {
    Box::pin(stream::unfold(begin, move |state| async move {
        let (mut generation, turn) = match state {
            Sequence::Done => return None,
            Sequence::Running(generation, turn) => (generation, turn),
            Sequence::Waiting(waiting) => {
                let turn = waiting.place.turn().await;
                match waiting.engine.submit(waiting.request) {
                    Ok(generation) => (generation, turn),
                    Err(cause) => return Some(((index, Event::Failed(cause)), Sequence::Done)),
                }
            }
        };
        match generation.next().await {
            Some(last @ (Event::Finished { .. } | Event::Failed(_))) => Some(((index, last), Sequence::Done)),
            Some(event) => Some(((index, event), Sequence::Running(generation, turn))),
            None => {
                let closed = inference::Error::Closed { reason: "the engine's thread ended".into() };
                Some(((index, Event::Failed(closed)), Sequence::Done))
            }
        }
    }))
}
