//! Access → quota → model → engine → events: the one way to a generation, for the page and for programs.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Data;
use futures_util::stream::{self, SelectAll, Stream, StreamExt};
use inference::{Checkpoint, Engine, Event, FinishReason, Generation, Prompt, Request};

use super::fault::Fault;
use super::leave;
use super::quota::{self, Tab};
use super::store::{Ending, NewGeneration, Source};
use super::trial;
use crate::access::authorize;
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
    visitor: Visitor,
    account: AccountId,
    source: Source,
    /// Whether they may only try it, while their application waits.
    is_trial: bool,
    /// When they could have it.
    asked: Instant,
    place: Place,
    portal: Data<Portal>,
}

/// Lets the visitor in to `org/name`, from the page or by a program. Errors: `NotFound`, `Forbidden` with what is missing, `Limited`, or why the model cannot run.
pub async fn admit(portal: &Data<Portal>, visitor: &Visitor, full_name: &str, source: Source) -> Result<Admitted, Fault> {
    let (org, name) = full_name.split_once('/').ok_or(Error::NotFound("model"))?;
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model(&mut db, org, name).await?.ok_or(Error::NotFound("model"))?;
    let asked = Instant::now();
    let is_trial = authorize(&mut db, visitor, &model, source.action(), portal.clock.now()).await?.permit()?.trial.is_some();
    let account = visitor.account_id().ok_or(Error::SignedOut)?;
    let place = quota::enter(portal, account)?;
    let release = catalog::resolve(&mut db, model.id, "main").await?.ok_or(Error::NotFound("release"))?;
    if let Some(refusal) = release.refusal(&model) {
        return Err(Error::from(refusal).into());
    }
    let engine = match portal.engine.get(&release.revision) {
        Some(engine) => engine,
        None => {
            let files = catalog::files(&mut db, release.id).await?;
            drop(db); // loading may take long, and others need the connection
            load(portal, &release.revision, &files).await?
        }
    };
    Ok(Admitted { model, release, engine, visitor: visitor.clone(), account, source, is_trial, asked, place, portal: portal.clone() })
}

/// The files of `org/name` as `main` has them, for the operator: nobody is asked for permission.
pub async fn checkpoint(portal: &Portal, full_name: &str) -> Result<Checkpoint, Fault> {
    let (org, name) = full_name.split_once('/').ok_or(Error::NotFound("model"))?;
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model(&mut db, org, name).await?.ok_or(Error::NotFound("model"))?;
    let release = catalog::resolve(&mut db, model.id, "main").await?.ok_or(Error::NotFound("release"))?;
    let files = catalog::files(&mut db, release.id).await?;
    drop(db);
    Ok(files_of(portal, &files).await?.open()?)
}

/// The files of a release, where they lie on this disk and which content they have. The engine knows files of one folder; what lies
/// deeper is not its concern.
#[derive(Clone)]
struct Files {
    paths: BTreeMap<String, PathBuf>,
    digests: BTreeMap<String, String>,
}

impl Files {
    fn open(self) -> Result<Checkpoint, inference::Error> {
        Ok(Checkpoint::from_files(self.paths)?.with_digests(self.digests))
    }
}

/// Finds the files on this disk; those of a bucket are copied to it first.
async fn files_of(portal: &Portal, files: &[catalog::ReleaseFile]) -> Result<Files, Error> {
    let mut found = Files { paths: BTreeMap::new(), digests: BTreeMap::new() };
    for file in files.iter().filter(|file| !file.path.contains('/')) {
        let path = portal.objects.on_disk(&ObjectKey::file(&file.sha256), file.size_bytes.unsigned_abs()).await?;
        found.paths.insert(file.path.clone(), path);
        found.digests.insert(file.path.clone(), format!("sha256:{}", file.sha256));
    }
    Ok(found)
}

/// The engine of a release, loaded off the async threads.
async fn load(portal: &Data<Portal>, revision: &str, files: &[catalog::ReleaseFile]) -> Result<Engine, Fault> {
    let (portal, revision, files) = (portal.clone(), revision.to_owned(), files_of(portal, files).await?);
    let loaded = tokio::task::spawn_blocking(move || portal.engine.get_or_load(&revision, || files.clone().open()));
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

    /// Begins to generate, so many answers to each prompt: all together are one generation of the ledger, and each prompt is taken up
    /// when the account's turn comes. Errors of the first come at once; those of later ones as [`Event::Failed`].
    pub async fn run(self, mut requests: Vec<Request>, choices: usize) -> Result<Run, Fault> {
        let prompt_tokens = requests.iter().map(|request| prompt_tokens(&request.prompt)).sum::<usize>();
        let account: Arc<str> = self.account.to_string().into();
        requests.iter_mut().for_each(|request| request.account = account.clone());
        let turn = Arc::new(self.place.turn().await);
        leave::still_after_waiting(&self.portal, &self.visitor, &self.model, self.source.action(), self.asked).await?;
        let mut new = NewGeneration {
            id: GenerationId::fresh(),
            account: self.account,
            model: self.model.id,
            release: self.release.id,
            source: self.source,
            prompt_tokens: i32::try_from(prompt_tokens).unwrap_or(i32::MAX),
            reserved_tokens: 0,
            now: self.portal.clock.now(),
        };
        let reserved = if self.is_trial { Some(trial::reserve(&self.portal, &mut new, &mut requests, &self.model).await?) } else { None };
        let mut requests = requests.into_iter().enumerate().collect::<VecDeque<_>>();
        let line = Line { engine: self.engine, choices, place: Arc::new(self.place) };
        let mut answers = SelectAll::new();
        if let Some((number, request)) = requests.pop_front() {
            answers.push(line.begin(number, request, &turn, Instant::now() + ANSWER_WAIT)?);
        }
        // Written while the engine works already: what it makes is handed out behind this.
        let begun = Instant::now();
        let tab = Tab::open(self.portal.clone(), new, reserved).await?;
        leave::still_after_waiting(&self.portal, &self.visitor, &self.model, self.source.action(), begun).await?;
        let over = Box::pin(leave::taken_back(self.portal, self.visitor, self.model, self.source.action()));
        Ok(Run { id: tab.id(), line, requests, answers, tab, ending: Ending::Stop, over })
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

/// A generation under way. Dropping it stops every answer at its next step and settles for the tokens really made.
pub struct Run {
    /// Its id in the ledger.
    pub id: GenerationId,
    line: Line,
    /// Those that are not in line yet, each with its prompt's number.
    requests: VecDeque<(usize, Request)>,
    answers: SelectAll<Answers>,
    tab: Tab,
    ending: Ending,
    /// Comes about when access is taken back.
    over: Pin<Box<dyn Future<Output = Error> + Send>>,
}

/// Of one generation so many prompts stand in the account's line at once: a large batch does not keep its owner's next request out.
const PROMPTS_AT_ONCE: usize = 4;

impl Run {
    /// What happens next, and to which answer: they are numbered through, those to one prompt after each other. Nothing when all are
    /// finished and settled. After `Failed` nothing follows, nor after an error, which says that access was taken back and why.
    pub async fn next(&mut self) -> Option<Result<(usize, Event), Fault>> {
        let next = tokio::select! {
            biased;
            refusal = &mut self.over => {
                self.break_off(Ending::Revoked).await;
                return Some(Err(refusal.into()));
            }
            next = next_of(&mut self.answers, &mut self.requests, &self.line) => next,
        };
        match &next {
            Some((_, Event::Started { .. })) => {}
            Some((_, Event::Token { .. })) => self.tab.count_token(),
            Some((_, Event::Finished { reason, .. })) => {
                if *reason == FinishReason::Length {
                    self.ending = Ending::Length;
                }
            }
            Some((_, Event::Failed(_))) => self.break_off(Ending::Failed).await,
            None => self.tab.settle(self.ending).await,
        }
        next.map(Ok)
    }

    /// Every answer stops at its next step, and what was made of them is settled.
    async fn break_off(&mut self, ending: Ending) {
        self.over = Box::pin(std::future::pending());
        self.requests.clear();
        self.answers.clear();
        self.tab.settle(ending).await;
    }
}

/// The next event of the answers, of which as many are begun as stand in line at once.
async fn next_of(answers: &mut SelectAll<Answers>, requests: &mut VecDeque<(usize, Request)>, line: &Line) -> Option<(usize, Event)> {
    loop {
        while answers.len() < PROMPTS_AT_ONCE
            && let Some((number, request)) = requests.pop_front()
        {
            answers.push(line.clone().wait(number, request));
        }
        match answers.next().await {
            None if !requests.is_empty() => {}
            next => return next,
        }
    }
}

/// The events of the answers to one prompt, each with the number of its answer.
type Answers = Pin<Box<dyn Stream<Item = (usize, Event)> + Send>>;

/// No program waits longer for an answer (the `openai` clients give up after ten minutes), so none is worked on for longer.
const ANSWER_WAIT: Duration = Duration::from_secs(600);

/// How the prompts of one generation get to the engine.
#[derive(Clone)]
struct Line {
    engine: Engine,
    choices: usize,
    place: Arc<Place>,
}

impl Line {
    /// Takes up the prompt of this number. The turn is over when all its answers are.
    fn begin(&self, number: usize, request: Request, turn: &Arc<Turn>, deadline: Instant) -> Result<Answers, inference::Error> {
        let request = Request { deadline: Some(deadline), ..request };
        let generations = self.engine.submit_choices(request, self.choices)?;
        let first = number * self.choices;
        let answers = generations.into_iter().zip(first..).map(|(generation, number)| answer(number, generation, turn.clone()));
        Ok(Box::pin(stream::select_all(answers)))
    }

    /// The same, once the turn comes and the engine has room in its line: who has answers already does not lose them for that.
    fn wait(self, number: usize, request: Request) -> Answers {
        let begun = async move {
            let turn = Arc::new(self.place.turn().await);
            let deadline = Instant::now() + ANSWER_WAIT;
            loop {
                match self.begin(number, request.clone(), &turn, deadline) {
                    Ok(answers) => break answers,
                    Err(inference::Error::Busy { retry_after, .. }) if Instant::now() + retry_after < deadline => {
                        tokio::time::sleep(retry_after).await;
                    }
                    Err(cause) => {
                        let failed = (number * self.choices, Event::Failed(cause));
                        break Box::pin(stream::once(async move { failed }));
                    }
                }
            }
        };
        Box::pin(stream::once(begun).flatten())
    }
}

/// The events of one answer, up to its last.
fn answer(number: usize, generation: Generation, turn: Arc<Turn>) -> Answers {
    Box::pin(stream::unfold(Some((generation, turn)), move |state| async move {
        let (mut generation, turn) = state?;
        let closed = || Event::Failed(inference::Error::Closed { reason: "the engine's thread ended".into() });
        let event = generation.next().await.unwrap_or_else(closed);
        let is_last = matches!(event, Event::Finished { .. } | Event::Failed(_));
        Some(((number, event), (!is_last).then_some((generation, turn))))
    }))
}
