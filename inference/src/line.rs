//! The waiting line between those who ask and the engine's thread: bounded, fair, and where the thread hears that it is to end.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::measures::Measures;
use crate::scheduler::{Batch, Limits, Pace, Queue, Refused, Step, Work};
use crate::sequence::{Running, Waiting};

/// The line and what is known of the work behind it.
#[derive(Debug)]
pub(crate) struct Line {
    state: Mutex<State>,
    news: Condvar,
    limits: Limits,
}

#[derive(Debug)]
struct State {
    waiting: Queue<Waiting>,
    phase: Phase,
    stats: EngineStats,
    measures: Measures,
    pace: Pace,
    /// What those being answered may still take.
    work: Work,
}

#[derive(Debug, Clone)]
enum Phase {
    Open,
    /// Nobody can ask any more; what is there is answered.
    Draining,
    /// What is there is broken off.
    Stopping,
    Closed(Error),
}

/// What an engine is doing now, and has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Sequences being answered.
    pub running: usize,
    /// Answers in the line.
    pub waiting: usize,
    /// Blocks of KV cache that belong to running sequences.
    pub kv_blocks_in_use: usize,
    /// Blocks of KV cache in all.
    pub kv_blocks_max: usize,
    /// Shares of blocks that no running sequence has: always 0, or there is a leak.
    pub kv_blocks_leaked: usize,
    /// Tokens made since the model was loaded.
    pub tokens_made: u64,
    /// Steps computed since then.
    pub steps: u64,
    /// Times that a sequence gave its memory to another, and read its tokens again later.
    pub preemptions: u64,
    /// Prompt tokens that were looked for among what others had read.
    pub prefix_tokens_asked: u64,
    /// Those of them that were found, and not read again.
    pub prefix_tokens_found: u64,
}

/// What the thread is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Orders {
    Work,
    Stop,
}

impl Line {
    pub(crate) fn new(kv_blocks_max: usize, limits: Limits) -> Self {
        let stats = EngineStats { kv_blocks_max, ..EngineStats::default() };
        let (pace, work, measures) = (Pace::default(), Work::default(), Measures::default());
        let state = State { waiting: Queue::new(), phase: Phase::Open, stats, measures, pace, work };
        Self { state: Mutex::new(state), news: Condvar::new(), limits }
    }

    /// Puts a request into the line. `Busy` if the line, or its account's part of it, is full or the deadline would pass before all
    /// that is ahead has been answered; `Closed` if nobody works behind it.
    pub(crate) fn join(&self, waiting: Waiting) -> Result<(), Error> {
        let now = Instant::now();
        let mut state = self.lock();
        match &state.phase {
            Phase::Open => {}
            Phase::Draining | Phase::Stopping => return Err(Error::Closed { reason: "it was shut down".to_owned() }),
            Phase::Closed(error) => return Err(error.clone()),
        }
        // Those who have left need not be counted.
        state.waiting.take_out(Waiting::is_abandoned);
        let (all, own) = (state.waiting.len(), state.waiting.len_of(&waiting.request.account));
        if all >= self.limits.waiting_max || own >= self.limits.account_waiting_max {
            return Err(Error::Busy { waiting: all, retry_after: self.retry_after(&state) });
        }
        if let Some(deadline) = waiting.request.deadline {
            let wait = if all == 0 && state.stats.running < self.limits.running_max {
                Duration::ZERO
            } else {
                state.pace.time_for(state.work_ahead(), self.limits).unwrap_or_default()
            };
            if now + wait >= deadline {
                return Err(Error::Busy { waiting: all, retry_after: self.retry_after(&state) });
            }
        }
        state.waiting.push(&waiting.request.account.clone(), waiting);
        self.news.notify_all();
        Ok(())
    }

    /// Takes the next to begin, of those for whom `begin` finds room, first of the accounts that hold fewest places. Those who have left or
    /// are too late go out of the line.
    pub(crate) fn take<R>(&self, held: impl Fn(&str) -> usize, begin: impl FnMut(&Waiting) -> Result<R, Refused>) -> Option<(Waiting, R)> {
        let now = Instant::now();
        let mut state = self.lock();
        for late in state.waiting.take_out(|waiting| waiting.is_abandoned() || waiting.is_late(now)) {
            late.fail(&Error::TooLate);
        }
        let (first, room) = state.waiting.take(held, begin)?;
        // Counted at once, so that a request is never between line and work where nobody sees it.
        state.stats.running += first.choices();
        Some((first, room))
    }

    /// The most answers to one prompt.
    pub(crate) fn choices_max(&self) -> usize {
        self.limits.running_max
    }

    /// What to do next. With nothing running, waits until there is something.
    pub(crate) fn orders(&self, idle: bool) -> Orders {
        let mut state = self.lock();
        loop {
            match state.phase {
                Phase::Stopping | Phase::Closed(_) => return Orders::Stop,
                Phase::Draining if idle && state.waiting.is_empty() => return Orders::Stop,
                Phase::Open | Phase::Draining if !idle || !state.waiting.is_empty() => return Orders::Work,
                Phase::Open | Phase::Draining => state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// What the thread has just done.
    pub(crate) fn report(&self, batch: &Batch) {
        let held: usize = batch.all().map(|sequence| sequence.kv().blocks().len()).sum();
        let work = batch.all().map(Running::work).sum();
        let mut state = self.lock();
        state.stats.running = batch.all().map(Running::places).sum();
        state.stats.kv_blocks_in_use = batch.cache().in_use();
        state.stats.kv_blocks_leaked = batch.cache().shares_total() - held;
        state.stats.preemptions = batch.preemptions();
        (state.stats.prefix_tokens_asked, state.stats.prefix_tokens_found) = batch.prefix_tokens();
        state.work = work;
    }

    /// How long steps take.
    pub(crate) fn pace(&self) -> Pace {
        self.lock().pace
    }

    /// A step has been done, and made so many tokens.
    pub(crate) fn count_step(&self, step: Step, made: usize) {
        let mut state = self.lock();
        state.pace.note(step);
        state.stats.steps += 1;
        state.stats.tokens_made += made as u64;
    }

    /// Lets the thread count how long what it has done took.
    pub(crate) fn measure(&self, count: impl FnOnce(&mut Measures)) {
        count(&mut self.lock().measures);
    }

    pub(crate) fn measures(&self) -> Measures {
        self.lock().measures.clone()
    }

    pub(crate) fn stats(&self) -> EngineStats {
        let state = self.lock();
        let waiting = state.waiting.iter().filter(|waiting| !waiting.is_abandoned()).map(Waiting::choices).sum();
        EngineStats { waiting, ..state.stats }
    }

    /// Whether the thread behind the line has not ended.
    pub(crate) fn is_served(&self) -> bool {
        !matches!(self.lock().phase, Phase::Closed(_))
    }

    /// Nobody can ask any more: the thread ends when the last answer is complete.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        if let Phase::Open = state.phase {
            state.phase = Phase::Draining;
        }
        self.news.notify_all();
    }

    /// The thread is to end after the step it is in.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        if let Phase::Open | Phase::Draining = state.phase {
            state.phase = Phase::Stopping;
        }
        self.news.notify_all();
    }

    /// The thread has ended: whoever asks from now on hears `error`. Gives those still in the line.
    pub(crate) fn close(&self, error: Error) -> Vec<Waiting> {
        let mut state = self.lock();
        state.phase = Phase::Closed(error);
        state.stats.running = 0;
        state.stats.kv_blocks_in_use = 0;
        state.waiting.drain()
    }

    /// When it is worth asking again.
    fn retry_after(&self, state: &State) -> Duration {
        let requests = state.stats.running + state.waiting.len();
        state.pace.retry_after(state.work_ahead(), requests, self.limits)
    }

    /// A panic while the lock is held leaves the state whole: every change is a single assignment or push.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What has to be done for all who are here already, at most.
    fn work_ahead(&self) -> Work {
        self.waiting.iter().map(Waiting::work).chain([self.work]).sum()
    }
}
