//! How many may be inside at once, by key, and how many may wait for it. In memory: a restart empties the house.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// Everybody has a line of their own: `running` of them at once, and no more than `admitted` in all, the running ones included.
#[derive(Clone)]
pub struct Places {
    lines: Arc<Mutex<HashMap<String, Line>>>,
    pace: Arc<Mutex<Pace>>,
    running: usize,
    admitted: usize,
}

struct Line {
    admitted: usize,
    running: Arc<Semaphore>,
}

/// A place in a line; given back when dropped, whatever the reason.
pub struct Place {
    key: String,
    places: Places,
    running: Arc<Semaphore>,
}

/// One's turn to run; given back when dropped.
pub struct Turn {
    begun: Instant,
    pace: Arc<Mutex<Pace>>,
    _permit: OwnedSemaphorePermit,
}

/// How long turns take: a mean in which older ones count less and less.
#[derive(Default)]
struct Pace {
    turn_s: Option<f64>,
}

/// How much a new turn counts in the mean.
const NEWEST: f64 = 0.2;
/// When it makes sense to come back to a full line, before a turn has ended.
const RETRY_AFTER_S: f64 = 2.0;
/// Nobody is sent away for longer than this.
const RETRY_AFTER_MAX_S: f64 = 120.0;

impl Pace {
    fn note(&mut self, turn: Duration) {
        let newest = turn.as_secs_f64();
        self.turn_s = Some(self.turn_s.map_or(newest, |mean| mean + NEWEST * (newest - mean)));
    }

    /// When the next of `running` turns at once will have ended.
    fn retry_after_s(&self, running: usize) -> u32 {
        let next = self.turn_s.map_or(RETRY_AFTER_S, |turn| turn / running.max(1) as f64);
        next.ceil().clamp(1.0, RETRY_AFTER_MAX_S) as u32
    }
}

impl Places {
    /// Lines in which `running` run at once and `waiting` more may wait.
    pub fn new(running: usize, waiting: usize) -> Self {
        Self { lines: Arc::default(), pace: Arc::default(), running, admitted: running + waiting }
    }

    /// A place in the line of `key`, at once. Errors: [`Error::Limited`] if the line is full.
    pub fn enter(&self, key: &str) -> Result<Place, Error> {
        let mut lines = self.lock();
        let line = lines.entry(key.to_owned()).or_insert_with(|| Line { admitted: 0, running: Arc::new(Semaphore::new(self.running)) });
        if line.admitted >= self.admitted {
            return Err(Error::Limited { retry_after_s: lock(&self.pace).retry_after_s(self.running) });
        }
        line.admitted += 1;
        Ok(Place { key: key.to_owned(), places: self.clone(), running: line.running.clone() })
    }

    /// How many places in the line of `key` are taken.
    pub fn taken(&self, key: &str) -> usize {
        self.lock().get(key).map_or(0, |line| line.admitted)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        lock(&self.lines)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing can panic while the lock is held; counts stay right even if something did.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Place {
    /// Waits for one's turn; those who came first go first. One place may take several turns.
    pub async fn turn(&self) -> Turn {
        let permit = self.running.clone().acquire_owned().await.expect("the semaphore is never closed");
        Turn { begun: Instant::now(), pace: self.places.pace.clone(), _permit: permit }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.pace).note(self.begun.elapsed());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.places.lock();
        if let Some(line) = lines.get_mut(&self.key) {
            line.admitted -= 1;
            if line.admitted == 0 {
                lines.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn the_line_of_one_does_not_hold_up_another_and_empties_when_places_are_dropped() {
        let places = Places::new(1, 1);
        let first = places.enter("ada").expect("room");
        let second = places.enter("ada").expect("room to wait");
        assert!(matches!(places.enter("ada"), Err(Error::Limited { retry_after_s: 1.. })));
        assert!(places.enter("bob").is_ok(), "bob has a line of his own");

        let turn = first.turn().await;
        assert!(second.turn().now_or_never().is_none(), "one runs at a time");
        drop(turn);
        assert!(second.turn().now_or_never().is_some());

        drop(first);
        assert_eq!(places.taken("ada"), 1);
        assert!(places.enter("ada").is_ok());
        drop(second);
        assert_eq!(places.taken("ada"), 0);
    }

    #[test]
    fn who_is_sent_away_comes_back_when_a_turn_will_have_ended() {
        let mut pace = Pace::default();
        assert_eq!(pace.retry_after_s(4), 2, "unknown");
        pace.note(Duration::from_secs(40));
        assert_eq!(pace.retry_after_s(4), 10);
        for _ in 0..100 {
            pace.note(Duration::from_millis(200));
        }
        assert_eq!(pace.retry_after_s(4), 1);
        pace.note(Duration::from_secs(86_400));
        assert_eq!(pace.retry_after_s(1), 120);
    }
}
