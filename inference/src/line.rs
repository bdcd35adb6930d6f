//! The waiting line between those who ask and the engine's thread: bounded, first come first served, and where the thread hears that it is to end.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::kv_cache::Blocks;
use crate::sequence::{Running, Waiting};

/// The line and what is known of the work behind it.
#[derive(Debug)]
pub(crate) struct Line {
    state: Mutex<State>,
    news: Condvar,
    waiting_max: usize,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Waiting>,
    phase: Phase,
    stats: EngineStats,
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
    /// Requests in the line.
    pub waiting: usize,
    /// Blocks of KV cache that belong to running sequences.
    pub kv_blocks_in_use: usize,
    /// Blocks of KV cache in all.
    pub kv_blocks_max: usize,
    /// Shares of blocks that no running sequence has: always 0, or there is a leak.
    pub kv_blocks_leaked: usize,
    /// Tokens made since the model was loaded.
    pub tokens_made: u64,
}

/// What the thread is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Orders {
    Work,
    Stop,
}

impl Line {
    pub(crate) fn new(waiting_max: usize, kv_blocks_max: usize) -> Self {
        let stats = EngineStats { kv_blocks_max, ..EngineStats::default() };
        Self { state: Mutex::new(State { waiting: VecDeque::new(), phase: Phase::Open, stats }), news: Condvar::new(), waiting_max }
    }

    /// Puts a request at the end of the line. `Busy` if the line is full, `Closed` if nobody works behind it.
    pub(crate) fn join(&self, waiting: Waiting) -> Result<(), Error> {
        let mut state = self.lock();
        match &state.phase {
            Phase::Open => {}
            Phase::Draining | Phase::Stopping => return Err(Error::Closed { reason: "it is shutting down".to_owned() }),
            Phase::Closed(error) => return Err(error.clone()),
        }
        // Those who have left need not be counted.
        state.waiting.retain(|waiting| !waiting.is_abandoned());
        if state.waiting.len() >= self.waiting_max {
            return Err(Error::Busy { waiting: state.waiting.len() });
        }
        state.waiting.push_back(waiting);
        self.news.notify_all();
        Ok(())
    }

    /// Takes the first in the line, if it gets its room.
    pub(crate) fn take(&self, room: impl FnOnce(&Waiting) -> Option<Vec<u32>>) -> Option<(Waiting, Vec<u32>)> {
        let mut state = self.lock();
        state.waiting.retain(|waiting| !waiting.is_abandoned());
        let blocks = room(state.waiting.front()?)?;
        let first = state.waiting.pop_front()?;
        // Counted at once, so that a request is never between line and work where nobody sees it.
        state.stats.running += 1;
        Some((first, blocks))
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

    pub(crate) fn report(&self, running: &[Running], blocks: &Blocks) {
        let held: usize = running.iter().map(|sequence| sequence.kv().blocks().len()).sum();
        let mut state = self.lock();
        state.stats.running = running.len();
        state.stats.kv_blocks_in_use = blocks.in_use();
        state.stats.kv_blocks_leaked = blocks.shares_total() - held;
    }

    pub(crate) fn count_tokens(&self, made: usize) {
        self.lock().stats.tokens_made += made as u64;
    }

    pub(crate) fn stats(&self) -> EngineStats {
        let state = self.lock();
        let waiting = state.waiting.iter().filter(|waiting| !waiting.is_abandoned()).count();
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
    pub(crate) fn close(&self, error: Error) -> VecDeque<Waiting> {
        let mut state = self.lock();
        state.phase = Phase::Closed(error);
        state.stats.running = 0;
        state.stats.kv_blocks_in_use = 0;
        std::mem::take(&mut state.waiting)
    }

    /// A panic while the lock is held leaves the state whole: every change is a single assignment or push.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
