//! The engine's own thread: takes requests from the line, runs steps, hands out events. It alone touches model and sequences.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::device::{Chunks, Threads};
use crate::energy::EnergyMeter;
use crate::error::Error;
use crate::line::{Line, Orders};
use crate::opt::{Model, OptConfig, Span};
use crate::scheduler::{Batch, Plan, Step};
use crate::sequence::{About, Progress, Running};
use crate::tokenizer::Tokenizer;

/// What the thread owns.
pub(crate) struct Worker {
    pub(crate) model: Model,
    pub(crate) config: Arc<OptConfig>,
    pub(crate) tokenizer: Option<Arc<Tokenizer>>,
    pub(crate) line: Arc<Line>,
    pub(crate) batch: Batch,
    /// Rows of the vocabulary without a token, which must never be drawn.
    pub(crate) rows_without_token: Vec<usize>,
    /// Those that choose tokens, a row of logits each.
    pub(crate) threads: Arc<Threads>,
    /// What is computed on a card whose energy is counted.
    pub(crate) energy: Option<EnergyMeter>,
    /// What failed for good, as a card does: after one fault it answers nothing else, until the model is loaded anew.
    pub(crate) broken: Option<String>,
}

impl Worker {
    /// Works until told to stop. A panic inside becomes `Failed` for every request there is, never silence.
    pub(crate) fn run(mut self) {
        if !self.model.is_on_card() {
            self.threads.keep_apart();
        }
        let ended = catch_unwind(AssertUnwindSafe(|| {
            while self.turn() {}
            self.broken.take()
        }));
        let reason = match ended {
            Ok(None) => "it was shut down".to_owned(),
            Ok(Some(problem)) => {
                tracing::error!(problem, "the engine cannot go on");
                problem
            }
            Err(panic) => {
                let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
                let reason = format!("its thread panicked: {}", message.unwrap_or("no message"));
                tracing::error!(reason, "the engine's thread has died");
                reason
            }
        };
        let error = Error::Closed { reason };
        for waiting in self.line.close(error.clone()) {
            waiting.fail(&error);
        }
        self.batch.fail_all(&error);
    }

    /// One turn: lets go, takes up, computes a step. With nothing to do, waits until there is. False when told to stop.
    pub(crate) fn turn(&mut self) -> bool {
        if self.line.orders(self.batch.is_empty()) == Orders::Stop {
            return false;
        }
        self.batch.let_go(Instant::now());
        self.batch.admit(&self.line, About { config: &self.config, tokenizer: self.tokenizer.as_deref() });
        let plan = self.batch.plan(self.line.pace());
        if plan.shares.iter().any(|share| *share > 0) {
            self.step(&plan);
        }
        self.line.report(&self.batch);
        self.broken.is_none()
    }

    /// One forward pass over what was planned, then one token for each sequence that has been read to its end.
    fn step(&mut self, plan: &Plan) {
        let started = Instant::now();
        if let Some(energy) = &mut self.energy {
            energy.begin();
        }
        let before: usize = self.batch.all().map(Running::made).sum();
        let copied = plan.copies.iter().try_for_each(|(from, to)| self.model.copy_block(*from, *to));
        let mut spans: Vec<Span<'_>> = Vec::with_capacity(plan.shares.len());
        for (sequence, count) in self.batch.running_mut().iter_mut().zip(&plan.shares).filter(|(_, count)| **count > 0) {
            let (tokens, kv, logits_from) = sequence.next(*count);
            spans.push(Span { tokens, kv, logits_from });
        }
        let wanted: Vec<usize> = spans.iter().map(|span| span.tokens.len() - span.logits_from).collect();
        let (progress, mut born) = match copied.and_then(|()| self.model.forward(&mut spans)) {
            Err(error) => {
                if let Error::Internal { problem } = &error {
                    self.broken = Some(problem.clone());
                }
                let failed = |share: &usize| if *share > 0 { Progress::Fails(error.clone()) } else { Progress::Goes };
                (plan.shares.iter().map(failed).collect(), Vec::new())
            }
            Ok(logits) => {
                let about = About { config: &self.config, tokenizer: self.tokenizer.as_deref() };
                self.batch.keep_what_was_read();
                let (mut rest, mut wanted) = (logits, wanted.into_iter());
                let mut rows = |share: &usize| {
                    let rows = if *share > 0 { wanted.next().expect("one for each span") } else { return None };
                    let (rows, others) = std::mem::take(&mut rest).split_at_mut(rows * about.config.vocab_size);
                    rest = others;
                    Some(rows)
                };
                let rows = plan.shares.iter().map(&mut rows).collect();
                advance(self.batch.running_mut(), rows, &self.rows_without_token, about, &self.threads)
            }
        };
        let made = self.batch.all().map(Running::made).sum::<usize>() + born.iter().map(|(fork, _)| fork.made()).sum::<usize>() - before;
        let ended = Instant::now();
        let joules = self.energy.as_mut().and_then(|energy| {
            let running = self.batch.running_mut().iter().zip(plan.shares.iter().copied()).filter(|(_, count)| *count > 0);
            let computed = running.chain(born.iter().map(|(fork, _)| (fork, 0)));
            energy.end(ended - started, &computed.map(|(sequence, count)| (sequence.energy(), count)).collect::<Vec<_>>());
            energy.joules()
        });
        self.line.measure(|measures| {
            measures.energy_joules = joules;
            let running = self.batch.running_mut().iter_mut().zip(&progress);
            running.for_each(|(sequence, progress)| sequence.measure(measures, progress, ended));
            born.iter_mut().for_each(|(fork, progress)| fork.measure(measures, progress, ended));
        });
        self.batch.settle(progress, born);
        self.line.count_step(Step { took: started.elapsed(), prompt_tokens: plan.prompt_tokens }, made);
        // Whoever was just sent a token may wait for this processor: the next step would keep it for all of its length.
        if made > 0 {
            std::thread::yield_now();
        }
    }
}

/// An answer that makes its next token, of these logits.
struct Draw<'a> {
    sequence: &'a mut Running,
    logits: &'a [f32],
    progress: Progress,
}

/// A sequence's rows of logits, ready to be read.
struct Made<'a> {
    rows: Option<&'a mut [f32]>,
    are_finite: bool,
}

/// Looks the rows through and masks those without a token: with many sequences that is millions of numbers, and all threads take part.
fn made<'a>(rows: Vec<Option<&'a mut [f32]>>, rows_without_token: &[usize], vocab: usize, threads: &Threads) -> Vec<Made<'a>> {
    let mut all: Vec<Made<'a>> = rows.into_iter().map(|rows| Made { rows, are_finite: true }).collect();
    let alone = all.iter().filter(|made| made.rows.is_some()).count() <= 1;
    let chunks = Chunks::new(&mut all, 1, threads.count());
    let look = |thread: usize| {
        while let Some((_, made)) = chunks.next(thread) {
            if let Some(rows) = &mut made[0].rows {
                made[0].are_finite = are_finite(rows);
                mask(rows, rows_without_token, vocab);
            }
        }
    };
    if alone {
        look(0)
    } else {
        threads.run(&look)
    }
    all
}

/// Gives the sequences their `rows` of logits, none to those that sat the step out, and has those make a token that have been read to
/// their end. Says how each goes on, and which have forked off.
fn advance(
    running: &mut [Running],
    rows: Vec<Option<&mut [f32]>>,
    rows_without_token: &[usize],
    about: About<'_>,
    threads: &Threads,
) -> (Vec<Progress>, Vec<(Running, Progress)>) {
    let vocab = about.config.vocab_size;
    let mut progress = Vec::with_capacity(running.len());
    // For each sequence the logits it makes a token of, if it does; and those that begin now, with theirs.
    let mut last_rows: Vec<Option<&[f32]>> = Vec::with_capacity(running.len());
    let mut forks: Vec<(Running, &[f32])> = Vec::new();
    for (sequence, Made { rows, are_finite }) in running.iter_mut().zip(made(rows, rows_without_token, vocab, threads)) {
        let (mut goes, mut last) = (Progress::Goes, None);
        match rows {
            None => {}
            Some(_) if !are_finite => {
                goes = Progress::Fails(Error::Internal { problem: "a logit is not a finite number: the weights are too large".to_owned() });
            }
            Some(rows) => {
                let rows = &*rows;
                if sequence.has_read(rows, about, threads) {
                    let row = &rows[rows.len() - vocab..];
                    forks.extend(sequence.fork().into_iter().map(|fork| (fork, row)));
                    last = Some(row);
                }
            }
        }
        progress.push(goes);
        last_rows.push(last);
    }
    let drawing = running.iter_mut().zip(&last_rows).filter_map(|(sequence, row)| Some((sequence, (*row)?)));
    let drawing = drawing.chain(forks.iter_mut().map(|(fork, row)| (fork, *row)));
    let mut draws: Vec<Draw<'_>> = drawing.map(|(sequence, logits)| Draw { sequence, logits, progress: Progress::Goes }).collect();
    let alone = draws.len() == 1;
    let chunks = Chunks::new(&mut draws, 1, threads.count());
    let draw = |thread: usize| {
        while let Some((_, draw)) = chunks.next(thread) {
            draw[0].progress = draw[0].sequence.make_token(draw[0].logits, about);
        }
    };
    // Nobody is woken for one row.
    if alone {
        draw(0)
    } else {
        threads.run(&draw)
    }
    let mut drawn = draws.into_iter().map(|draw| draw.progress);
    for (progress, _) in progress.iter_mut().zip(&last_rows).filter(|(_, row)| row.is_some()) {
        *progress = drawn.next().expect("one for each that draws");
    }
    let drawn: Vec<Progress> = drawn.collect();
    (progress, forks.into_iter().map(|(fork, _)| fork).zip(drawn).collect())
}

/// Finite weights can be so large that what is made of them is not: then no number of a row means anything.
fn are_finite(rows: &[f32]) -> bool {
    // All of them, without leaving early, which goes many at a time.
    rows.iter().fold(true, |all, logit| all & logit.is_finite())
}

/// No logit, no probability, no draw.
fn mask(logits: &mut [f32], rows_without_token: &[usize], vocab: usize) {
    for row in logits.chunks_exact_mut(vocab) {
        for place in rows_without_token {
            row[*place] = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use std::path::Path;

    use tokio::sync::mpsc;

    use super::*;
    use crate::request::{Event, Prompt, Request};
    use crate::sequence::Waiting;
    use crate::{Checkpoint, DeviceChoice, LoadOptions};

    /// A worker for one answer at a time, and the line it takes requests from.
    fn worker(device: DeviceChoice, rows_without_token: Vec<usize>) -> (Worker, Arc<Line>) {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt/preln-fp32");
        let options = LoadOptions { threads: 1, running_max: 1, waiting_max: 4, device, ..LoadOptions::default() };
        let line = Arc::new(Line::new(4, options.limits()));
        let model = Model::load(&Checkpoint::open_dir(&fixture).unwrap(), &options).unwrap();
        let worker = Worker {
            config: Arc::new(model.config().clone()),
            batch: Batch::new(model.kv_blocks(), options.limits(), model.tells_answers_from_prompts()),
            model,
            tokenizer: None,
            line: Arc::clone(&line),
            rows_without_token,
            threads: Arc::new(Threads::new(1).unwrap()),
            energy: None,
            broken: None,
        };
        (worker, line)
    }

    /// Asks for an answer.
    fn join(line: &Line) -> Result<mpsc::UnboundedReceiver<Event>, Error> {
        let (events, received) = mpsc::unbounded_channel();
        let request = Request::new(Prompt::Ids(Vec::new()));
        line.join(Waiting { prompt: vec![2], request, asked: Instant::now(), events: vec![events] }).map(|()| received)
    }

    /// The last that the reader of an answer hears.
    fn last(reader: &mut mpsc::UnboundedReceiver<Event>) -> Option<Event> {
        std::iter::from_fn(|| reader.blocking_recv()).last()
    }

    #[test]
    fn a_card_that_fails_ends_the_engine_and_everybody_hears_why() {
        let (worker, line) = worker(DeviceChoice::Cuda, Vec::new());
        let mut readers = [join(&line).unwrap(), join(&line).unwrap()];
        crate::device::cuda::fail_from_now_on();
        worker.run();
        for reader in &mut readers {
            assert!(matches!(last(reader), Some(Event::Failed(error)) if error.to_string().contains("fell off the bus")));
        }
        assert!(matches!(join(&line), Err(Error::Closed { .. })), "whoever asks next has the model loaded anew");
    }

    #[test]
    fn a_panic_is_told_to_everybody_who_waits() {
        // No such row: masking it panics in the first step.
        let (worker, line) = worker(DeviceChoice::Cpu, vec![usize::MAX]);
        // The first is being answered when it happens, the second is in the line.
        let mut readers = [join(&line).unwrap(), join(&line).unwrap()];
        worker.run();
        for reader in &mut readers {
            assert!(matches!(last(reader), Some(Event::Failed(Error::Closed { reason })) if reason.contains("panicked")));
        }
        assert!(matches!(join(&line), Err(Error::Closed { .. })));
    }
}
