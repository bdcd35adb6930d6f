//! Models that stay loaded, are shared, and make room for each other.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::checkpoint::Checkpoint;
use crate::engine::Engine;
use crate::error::{Error, MemoryLimit};
use crate::line::EngineStats;
use crate::measures::Measures;
use crate::opt::{Demand, Model};
use crate::options::LoadOptions;

/// Loaded models within a budget of memory. When one more needs room, those that nobody uses are dropped, least recently used first.
#[derive(Debug)]
pub struct ModelPool {
    budget_bytes: u64,
    options: LoadOptions,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    models: BTreeMap<String, Place>,
    /// Counts uses; a model's last one tells how recently it was used.
    uses: u64,
    /// Nothing is loaded any more.
    closed: bool,
}

impl State {
    /// The model of this key, which counts as used now; nothing while it is being loaded, nor once its thread has died.
    fn take(&mut self, key: &str) -> Option<Engine> {
        let Some(Place::Loaded { engine, last_use, .. }) = self.models.get_mut(key) else { return None };
        if !engine.is_alive() {
            return None;
        }
        self.uses += 1;
        *last_use = self.uses;
        Some(engine.clone())
    }
}

#[derive(Debug)]
enum Place {
    /// Somebody is loading it; its memory is spoken for.
    Loading {
        bytes: u64,
        on_card: bool,
    },
    Loaded {
        engine: Engine,
        bytes: u64,
        on_card: bool,
        last_use: u64,
    },
}

impl Place {
    /// Bytes of the machine's memory, or of the card's.
    fn bytes_of(&self, of_card: bool) -> u64 {
        match self {
            Place::Loading { bytes, on_card } | Place::Loaded { bytes, on_card, .. } if *on_card == of_card => *bytes,
            Place::Loading { .. } | Place::Loaded { .. } => 0,
        }
    }
}

/// A model in the pool.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedModel {
    /// The key it was asked for by.
    pub key: String,
    /// Memory it may take: weights, KV cache when full, buffers.
    pub memory_bytes: u64,
    /// What it is doing.
    pub stats: EngineStats,
    /// How long its answers took.
    pub measures: Measures,
}

impl ModelPool {
    /// An empty pool. Every model is loaded with the same options.
    pub fn new(budget_bytes: u64, options: LoadOptions) -> Self {
        Self { budget_bytes, options, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The model of this key if it is loaded, and answers.
    pub fn get(&self, key: &str) -> Option<Engine> {
        self.lock().take(key)
    }

    /// The model of this key, loading it from what `checkpoint` gives if it is not there. Blocks while loading; who asks for a model
    /// that is being loaded waits for that; one whose thread has died is loaded anew. `TooLarge`, with the numbers, if it does not fit beside the models in use;
    /// `Closed` once the pool has been shut down, be it while loading.
    pub fn get_or_load(&self, key: &str, checkpoint: impl FnOnce() -> Result<Checkpoint, Error>) -> Result<Engine, Error> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(closed());
            }
            if let Some(engine) = state.take(key) {
                return Ok(engine);
            }
            match state.models.get(key) {
                Some(Place::Loading { .. }) => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Place::Loaded { .. }) | None => break,
            }
        }
        // Nothing is spoken for until its size is known.
        state.models.insert(key.to_owned(), Place::Loading { bytes: 0, on_card: false });
        drop(state);
        let mut loading = Loading { pool: self, key, is_done: false };
        let checkpoint = checkpoint()?;
        let demand = Model::demand(&checkpoint, &self.options)?;
        let dropped = self.make_room(key, demand)?;
        for (key, engine) in dropped {
            tracing::info!(key, "model dropped to make room");
            engine.shutdown();
        }
        let engine = Engine::load(&checkpoint, &self.options)?;
        loading.done(engine, demand)
    }

    /// The models that are loaded, in the order of their keys.
    pub fn loaded(&self) -> Vec<LoadedModel> {
        self.lock()
            .models
            .iter()
            .filter_map(|(key, place)| match place {
                Place::Loading { .. } => None,
                Place::Loaded { engine, bytes, .. } => {
                    Some(LoadedModel { key: key.clone(), memory_bytes: *bytes, stats: engine.stats(), measures: engine.measures() })
                }
            })
            .collect()
    }

    /// The models whose thread has died, each until somebody asks for it: then it is loaded anew.
    pub fn dead(&self) -> Vec<String> {
        let state = self.lock();
        let dead = state.models.iter().filter(|(_, place)| matches!(place, Place::Loaded { engine, .. } if !engine.is_alive()));
        dead.map(|(key, _)| key.clone()).collect()
    }

    /// Breaks off everything and drops all models, and loads no more. Blocks until their threads have ended; a model that is being loaded
    /// ends with its load.
    pub fn shutdown(&self) {
        let mut state = self.lock();
        state.closed = true;
        let models = std::mem::take(&mut state.models);
        drop(state);
        for place in models.into_values() {
            match place {
                Place::Loading { .. } => {}
                Place::Loaded { engine, .. } => engine.shutdown(),
            }
        }
        self.changed.notify_all();
    }

    /// The memory a checkpoint will take when loaded with this pool's options.
    pub fn memory_bytes(&self, checkpoint: &Checkpoint) -> Result<u64, Error> {
        Ok(Model::demand(checkpoint, &self.options)?.needed_bytes)
    }

    /// Speaks for the bytes that are needed under `key`, and takes out the models that have to go for it, also where the budget would have had
    /// room but the machine, or the card, has not. Whether it has then, is found out by loading. A card's budget is all its memory.
    fn make_room(&self, key: &str, demand: Demand) -> Result<Vec<(String, Engine)>, Error> {
        let Demand { needed_bytes, mut available_bytes, card_bytes } = demand;
        let (budget_bytes, on_card) = (card_bytes.unwrap_or(self.budget_bytes), card_bytes.is_some());
        let mut state = self.lock();
        let used: u64 = state.models.values().map(|place| place.bytes_of(on_card)).sum();
        let mut free_bytes = budget_bytes.saturating_sub(used);
        let mut idle: Vec<(u64, String, u64)> = Vec::new();
        for (key, place) in &state.models {
            if let Place::Loaded { engine, bytes, last_use, .. } = place
                && place.bytes_of(on_card) > 0
                && engine.is_idle()
            {
                idle.push((*last_use, key.clone(), *bytes));
            }
        }
        idle.sort();
        let most_bytes = idle.iter().map(|(_, _, bytes)| bytes).fold(available_bytes, |sum, bytes| sum.saturating_add(*bytes));
        if most_bytes < needed_bytes {
            // Nobody has to go for what the machine cannot hold even then.
            available_bytes = u64::MAX;
        }
        let mut leaving = Vec::new();
        for (_, key, bytes) in idle {
            if free_bytes.min(available_bytes) >= needed_bytes {
                break;
            }
            free_bytes += bytes;
            available_bytes = available_bytes.saturating_add(bytes);
            leaving.push(key);
        }
        if free_bytes < needed_bytes {
            let idle_bytes = free_bytes - budget_bytes.saturating_sub(used);
            let limit = if on_card { MemoryLimit::Card } else { MemoryLimit::Budget };
            return Err(Error::TooLarge { needed_bytes, limit, budget_bytes, held_bytes: used - idle_bytes });
        }
        state.models.insert(key.to_owned(), Place::Loading { bytes: needed_bytes, on_card });
        let dropped = leaving.into_iter().filter_map(|key| match state.models.remove(&key) {
            Some(Place::Loaded { engine, .. }) => Some((key, engine)),
            Some(Place::Loading { .. }) | None => None,
        });
        Ok(dropped.collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever loads holds this. However it ends, by success, error or panic, those who wait hear of it.
struct Loading<'a> {
    pool: &'a ModelPool,
    key: &'a str,
    is_done: bool,
}

impl Loading<'_> {
    /// Puts the model into the pool; ends it, if the pool has been shut down meanwhile.
    fn done(&mut self, engine: Engine, demand: Demand) -> Result<Engine, Error> {
        let mut state = self.pool.lock();
        if state.closed {
            drop(state);
            engine.shutdown();
            return Err(closed());
        }
        state.uses += 1;
        let last_use = state.uses;
        let (bytes, on_card) = (demand.needed_bytes, demand.card_bytes.is_some());
        state.models.insert(self.key.to_owned(), Place::Loaded { engine: engine.clone(), bytes, on_card, last_use });
        self.is_done = true;
        Ok(engine)
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.pool.lock().models.remove(self.key);
        }
        self.pool.changed.notify_all();
    }
}

fn closed() -> Error {
    Error::Closed { reason: "it was shut down".to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    #[test]
    fn idle_models_go_for_the_machines_sake_too_but_not_in_vain() {
        let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt/preln-fp32");
        let checkpoint = || Checkpoint::open_dir(&fixture);
        let pool = ModelPool::new(u64::MAX, LoadOptions { threads: 1, running_max: 1, ..LoadOptions::default() });
        let bytes = pool.memory_bytes(&checkpoint().unwrap()).unwrap();
        for key in ["first", "second"] {
            pool.get_or_load(key, checkpoint).unwrap();
        }
        let leaving = |needed_bytes, available_bytes| {
            let demand = Demand { needed_bytes, available_bytes, card_bytes: None };
            let dropped = pool.make_room("third", demand).unwrap();
            dropped.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(leaving(bytes, bytes), [""; 0], "there is room");
        assert_eq!(leaving(4 * bytes, bytes), [""; 0], "there is none with all of them gone");
        assert_eq!(leaving(bytes, bytes - 1), ["first"]);
        assert_eq!(leaving(2 * bytes, bytes + 1), ["second"]);
    }
}
