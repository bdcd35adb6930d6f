//! The engine's own thread: takes requests from the line, runs steps, hands out events. It alone touches model and sequences.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

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
}

impl Worker {
    /// Works until told to stop. A panic inside becomes `Failed` for every request there is, never silence.
    pub(crate) fn run(mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| while self.turn() {}));
        let reason = match ended {
            Ok(()) => "it was shut down".to_owned(),
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
        true
    }

    /// One forward pass over what was planned, then one token for each sequence that has been read to its end.
    fn step(&mut self, plan: &Plan) {
        let started = Instant::now();
        for (from, to) in &plan.copies {
            self.model.copy_block(*from, *to);
        }
        let mut spans: Vec<Span<'_>> = Vec::with_capacity(plan.shares.len());
        for (sequence, count) in self.batch.running_mut().iter_mut().zip(&plan.shares).filter(|(_, count)| **count > 0) {
            let (tokens, kv, logits_from) = sequence.next(*count);
            spans.push(Span { tokens, kv, logits_from });
        }
        let mut wanted = spans.iter().map(|span| span.tokens.len() - span.logits_from).collect::<Vec<usize>>().into_iter();
        let (mut born, mut made) = (Vec::new(), 0);
        let progress: Vec<Progress> = match self.model.forward(&mut spans) {
            Err(error) => {
                plan.shares.iter().map(|share| if *share > 0 { Progress::Fails(error.clone()) } else { Progress::Goes }).collect()
            }
            Ok(logits) => {
                let about = About { config: &self.config, tokenizer: self.tokenizer.as_deref() };
                self.batch.keep_what_was_read();
                let (mut rest, rows_without_token) = (logits, &self.rows_without_token);
                let mut advance = |(sequence, share): (&mut Running, &usize)| {
                    let rows = if *share > 0 { wanted.next().expect("one for each span") } else { return Progress::Goes };
                    let (rows, others) = std::mem::take(&mut rest).split_at_mut(rows * about.config.vocab_size);
                    rest = others;
                    if !are_finite(rows) {
                        return Progress::Fails(Error::Internal {
                            problem: "a logit is not a finite number: the weights are too large".to_owned(),
                        });
                    }
                    mask(rows, rows_without_token, about.config.vocab_size);
                    let before = sequence.made();
                    let progress = advance(sequence, rows, about, &mut born);
                    made += sequence.made() - before;
                    progress
                };
                self.batch.running_mut().iter_mut().zip(&plan.shares).map(&mut advance).collect()
            }
        };
        made += born.iter().map(|(fork, _)| fork.made()).sum::<usize>();
        self.batch.settle(progress, born);
        self.line.count_step(Step { took: started.elapsed(), prompt_tokens: plan.prompt_tokens }, made);
    }
}

/// Gives a sequence its rows of logits; its other answers, if they begin now, join those born in this step.
fn advance(sequence: &mut Running, rows: &[f32], about: About<'_>, born: &mut Vec<(Running, Progress)>) -> Progress {
    if !sequence.has_read(rows, about) {
        return Progress::Goes;
    }
    let last = &rows[rows.len() - about.config.vocab_size..];
    for mut fork in sequence.fork() {
        let progress = fork.make_token(last, about);
        born.push((fork, progress));
    }
    sequence.make_token(last, about)
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
    use crate::{Checkpoint, LoadOptions};

    #[test]
    fn a_panic_is_told_to_everybody_who_waits() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt/preln-fp32");
        let options = LoadOptions { threads: 1, running_max: 1, waiting_max: 4, ..LoadOptions::default() };
        let line = Arc::new(Line::new(4, options.limits()));
        let model = Model::load(&Checkpoint::open_dir(&fixture).unwrap(), &options).unwrap();
        let worker = Worker {
            config: Arc::new(model.config().clone()),
            batch: Batch::new(model.kv_blocks(), options.limits()),
            model,
            tokenizer: None,
            line: Arc::clone(&line),
            // No such row: masking it panics in the first step.
            rows_without_token: vec![usize::MAX],
        };
        let join = || {
            let (events, received) = mpsc::unbounded_channel();
            line.join(Waiting { prompt: vec![2], request: Request::new(Prompt::Ids(Vec::new())), events: vec![events] }).map(|()| received)
        };
        // The first is being answered when it happens, the second is in the line.
        let mut readers = [join().unwrap(), join().unwrap()];
        worker.run();
        for reader in &mut readers {
            let last = std::iter::from_fn(|| reader.blocking_recv()).last();
            assert!(matches!(last, Some(Event::Failed(Error::Closed { reason })) if reason.contains("panicked")));
        }
        assert!(matches!(join(), Err(Error::Closed { .. })));
    }
}
