//! How many may be inside at once, by key, and how many may wait for it. In memory: a restart empties the house.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// Everybody has a line of their own: `running` of them at once, and no more than `admitted` in all, the running ones included.
#[derive(Clone)]
pub struct Places {
    lines: Arc<Mutex<HashMap<String, Line>>>,
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
    _permit: OwnedSemaphorePermit,
}

/// When it makes sense to come back to a full line.
const RETRY_AFTER_S: u32 = 2;

impl Places {
    /// Lines in which `running` run at once and `waiting` more may wait.
    pub fn new(running: usize, waiting: usize) -> Self {
        Self { lines: Arc::default(), running, admitted: running + waiting }
    }

    /// A place in the line of `key`, at once. Errors: [`Error::Limited`] if the line is full.
    pub fn enter(&self, key: &str) -> Result<Place, Error> {
        let mut lines = self.lock();
        let line = lines.entry(key.to_owned()).or_insert_with(|| Line { admitted: 0, running: Arc::new(Semaphore::new(self.running)) });
        if line.admitted >= self.admitted {
            return Err(Error::Limited { retry_after_s: RETRY_AFTER_S });
        }
        line.admitted += 1;
        Ok(Place { key: key.to_owned(), places: self.clone(), running: line.running.clone() })
    }

    /// How many places in the line of `key` are taken.
    pub fn taken(&self, key: &str) -> usize {
        self.lock().get(key).map_or(0, |line| line.admitted)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        // Nothing can panic while the lock is held; counts stay right even if something did.
        self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Place {
    /// Waits for one's turn; those who came first go first. One place may take several turns.
    pub async fn turn(&self) -> Turn {
        let permit = self.running.clone().acquire_owned().await.expect("the semaphore is never closed");
        Turn { _permit: permit }
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
}
