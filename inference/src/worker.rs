//! The engine's own thread: takes requests from the line, runs steps, hands out events. It alone touches model and sequences.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::Error;
use crate::kv_cache::Blocks;
use crate::line::{Line, Orders};
use crate::opt::{BLOCK_TOKENS, Model, Span};
use crate::scheduler;
use crate::sequence::{About, Progress, Running, Waiting};
use crate::tokenizer::Tokenizer;

/// What the thread owns.
pub(crate) struct Worker {
    pub(crate) model: Model,
    pub(crate) tokenizer: Option<Arc<Tokenizer>>,
    pub(crate) line: Arc<Line>,
    pub(crate) blocks: Blocks,
    pub(crate) running: Vec<Running>,
    pub(crate) running_max: usize,
    pub(crate) step_tokens_max: usize,
    /// Rows of the vocabulary without a token, which must never be drawn.
    pub(crate) rows_without_token: Vec<usize>,
}

impl Worker {
    /// Works until told to stop. A panic inside becomes `Failed` for every request there is, never silence.
    pub(crate) fn run(mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| self.work()));
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
            let _ = waiting.events.send(crate::request::Event::Failed(error.clone()));
        }
        for sequence in self.running.drain(..) {
            self.blocks.release(sequence.fail(error.clone()).blocks());
        }
    }

    fn work(&mut self) {
        loop {
            match self.line.orders(self.running.is_empty()) {
                Orders::Stop => return,
                Orders::Work => {}
            }
            self.let_go();
            self.admit();
            if !self.running.is_empty() {
                self.step();
            }
            self.line.report(&self.running, &self.blocks);
        }
    }

    /// Drops sequences whose reader has left.
    fn let_go(&mut self) {
        for sequence in self.running.extract_if(.., |sequence| sequence.is_abandoned()) {
            self.blocks.release(sequence.abandon().blocks());
        }
    }

    /// Takes up waiting requests, in order, while there is a place and room for all they may come to hold.
    fn admit(&mut self) {
        while self.running.len() < self.running_max {
            let config = self.model.config();
            let room = |waiting: &Waiting| self.blocks.take(waiting.tokens_max(config).div_ceil(BLOCK_TOKENS));
            let Some((waiting, blocks)) = self.line.take(room) else { return };
            let about = About { config, tokenizer: self.tokenizer.as_deref() };
            let sequence = waiting.start(blocks, about);
            if sequence.pending() == 0 {
                self.blocks.release(sequence.finish(crate::request::FinishReason::Length).blocks());
            } else {
                self.running.push(sequence);
            }
        }
    }

    /// One forward pass over a share of every running sequence, then one token for each that has been read to its end.
    fn step(&mut self) {
        let pending: Vec<usize> = self.running.iter().map(Running::pending).collect();
        let shares = scheduler::share(&pending, self.step_tokens_max);
        let mut spans: Vec<Span<'_>> = Vec::with_capacity(self.running.len());
        for (sequence, count) in self.running.iter_mut().zip(&shares) {
            let (tokens, kv, logits_from) = sequence.next(*count);
            spans.push(Span { tokens, kv, logits_from });
        }
        let wanted: Vec<usize> = spans.iter().map(|span| span.tokens.len() - span.logits_from).collect();
        let progress = match self.model.forward(&mut spans).map(|logits| logits.to_vec()) {
            Err(error) => self.running.iter().map(|_| Progress::Fails(error.clone())).collect(),
            Ok(mut logits) => self.advance(&mut logits, &wanted),
        };
        self.settle(progress);
    }

    /// Gives every sequence its rows of logits.
    fn advance(&mut self, logits: &mut [f32], wanted: &[usize]) -> Vec<Progress> {
        let config = self.model.config();
        let about = About { config, tokenizer: self.tokenizer.as_deref() };
        for row in logits.chunks_exact_mut(config.vocab_size) {
            for place in &self.rows_without_token {
                row[*place] = f32::NEG_INFINITY;
            }
        }
        let mut rest = &*logits;
        let mut made = 0;
        let progress = self
            .running
            .iter_mut()
            .zip(wanted)
            .map(|(sequence, wanted)| {
                let (rows, others) = rest.split_at(wanted * config.vocab_size);
                rest = others;
                let before = sequence.made();
                let progress = sequence.advance(rows, about);
                made += sequence.made() - before;
                progress
            })
            .collect();
        self.line.count_tokens(made);
        progress
    }

    /// Lets go of what has ended.
    fn settle(&mut self, progress: Vec<Progress>) {
        let mut goes_on = Vec::with_capacity(self.running.len());
        for (sequence, progress) in self.running.drain(..).zip(progress) {
            match progress {
                Progress::Goes => goes_on.push(sequence),
                Progress::Ends(reason) => self.blocks.release(sequence.finish(reason).blocks()),
                Progress::Fails(error) => self.blocks.release(sequence.fail(error).blocks()),
            }
        }
        self.running = goes_on;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use std::path::Path;

    use tokio::sync::mpsc;

    use super::*;
    use crate::request::{Event, Prompt, Request};
    use crate::{Checkpoint, LoadOptions};

    #[test]
    fn a_panic_is_told_to_everybody_who_waits() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt/preln-fp32");
        let options = LoadOptions { threads: 1, ..LoadOptions::default() };
        let line = Arc::new(Line::new(4, 4));
        let worker = Worker {
            model: Model::load(&Checkpoint::open_dir(&fixture).unwrap(), &options).unwrap(),
            tokenizer: None,
            line: Arc::clone(&line),
            blocks: Blocks::new(100),
            running: Vec::new(),
            running_max: 1,
            step_tokens_max: 8,
            // No such row: masking it panics in the first step.
            rows_without_token: vec![usize::MAX],
        };
        let join = || {
            let (events, received) = mpsc::unbounded_channel();
            line.join(Waiting { prompt: vec![2], request: Request::new(Prompt::Ids(Vec::new())), events }).map(|()| received)
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
