//! How much may be sent to somebody in a day, and how many transfers at once. In memory: what was sent before a restart is told to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::Date;

use crate::clock::Timestamp;

/// After how long it makes sense to come back when every place is taken.
const RETRY_AFTER_S: u32 = 5;
const SECONDS_A_DAY: u32 = 86_400;

/// Everybody's allowance; every clone is the same table.
#[derive(Debug, Clone)]
pub struct Allowance {
    uses: Arc<Mutex<HashMap<String, Use>>>,
    bytes_a_day: Option<u64>,
    at_once: usize,
}

#[derive(Debug)]
struct Use {
    day: Date,
    /// Sent today, with what is promised to the transfers that run.
    bytes: u64,
    running: usize,
}

/// How somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What they may have in a day; nothing if that is not limited.
    pub bytes_a_day: Option<u64>,
    /// What they had today, with what is under way.
    pub used_bytes: u64,
    /// How many transfers may run at once.
    pub at_once: usize,
    /// How many do.
    pub running: usize,
    /// Seconds until the day is over (UTC).
    pub resets_in_s: u32,
}

/// Why a transfer does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// Today's bytes are used up.
    Day,
    /// As many transfers run as may.
    Places,
}

/// A transfer that was let in; gives back what it did not send when dropped.
#[derive(Debug)]
pub struct Pass {
    allowance: Allowance,
    key: String,
    day: Date,
    unsent: u64,
}

impl Standing {
    /// What is left for today; nothing if that is not limited.
    pub fn left_bytes(&self) -> Option<u64> {
        self.bytes_a_day.map(|limit| limit.saturating_sub(self.used_bytes))
    }

    /// When it makes sense to come back after this refusal.
    pub fn retry_after_s(&self, spent: Spent) -> u32 {
        match spent {
            Spent::Day => self.resets_in_s,
            Spent::Places => RETRY_AFTER_S,
        }
    }

    /// The value of `RateLimit`: what is left, and when that changes. The day comes first: clients of the Hub read only one.
    pub fn rate_limit(&self) -> String {
        let places = format!("\"places\";r={};t={RETRY_AFTER_S}", self.at_once.saturating_sub(self.running));
        match self.left_bytes() {
            Some(left) => format!("\"day\";r={left};t={}, {places}", self.resets_in_s),
            None => places,
        }
    }

    /// The value of `RateLimit-Policy`: what the limits are.
    pub fn policy(&self) -> String {
        let places = format!("\"places\";q={};qu=\"concurrent-requests\"", self.at_once);
        match self.bytes_a_day {
            Some(limit) => format!("\"day\";q={limit};qu=\"content-bytes\";w={SECONDS_A_DAY}, {places}"),
            None => places,
        }
    }
}

impl Allowance {
    /// So many bytes a day (UTC), or any number; so many transfers at once.
    pub fn new(bytes_a_day: Option<u64>, at_once: usize) -> Self {
        Self { uses: Arc::default(), bytes_a_day, at_once }
    }

    /// Whether what `key` was sent today has to be told by [`Allowance::recall`] first.
    pub fn has_to_recall(&self, key: &str, now: Timestamp) -> bool {
        self.bytes_a_day.is_some() && self.lock().get(key).is_none_or(|used| used.day != now.date())
    }

    /// What `key` was sent today before anybody counted here. Of two that tell it, one counts.
    pub fn recall(&self, key: &str, now: Timestamp, sent_bytes: u64) {
        let mut uses = self.lock();
        let used = uses.entry(key.to_owned()).or_insert_with(|| Use { day: Date::MIN, bytes: 0, running: 0 });
        if used.day != now.date() {
            (used.day, used.bytes) = (now.date(), sent_bytes);
        }
    }

    /// How `key` stands.
    pub fn standing(&self, key: &str, now: Timestamp) -> Standing {
        let uses = self.lock();
        let used = uses.get(key);
        Standing {
            bytes_a_day: self.bytes_a_day,
            used_bytes: used.filter(|used| used.day == now.date()).map_or(0, |used| used.bytes),
            at_once: self.at_once,
            running: used.map_or(0, |used| used.running),
            resets_in_s: SECONDS_A_DAY - u32::try_from(now.unix_timestamp().rem_euclid(SECONDS_A_DAY.into())).unwrap_or(0),
        }
    }

    /// Lets a transfer of `bytes` begin while anything is left of the day: the last one may go over, so that files do not have to fit.
    /// All its bytes count at once, or many ranges would begin on what one has left.
    pub fn enter(&self, key: &str, now: Timestamp, bytes: u64) -> Result<Pass, Spent> {
        let mut uses = self.lock();
        let used = uses.entry(key.to_owned()).or_insert_with(|| Use { day: now.date(), bytes: 0, running: 0 });
        if used.day != now.date() {
            (used.day, used.bytes) = (now.date(), 0);
        }
        if self.bytes_a_day.is_some_and(|limit| used.bytes >= limit) {
            return Err(Spent::Day);
        }
        if used.running >= self.at_once {
            return Err(Spent::Places);
        }
        used.running += 1;
        used.bytes = used.bytes.saturating_add(bytes);
        Ok(Pass { allowance: self.clone(), key: key.to_owned(), day: now.date(), unsent: bytes })
    }

    /// Forgets who has nothing under way and had nothing today.
    pub fn sweep(&self, now: Timestamp) {
        self.lock().retain(|_, used| used.running > 0 || used.day == now.date());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        // Nothing panics while holding it half changed.
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// So many bytes of it have left.
    pub fn sent(&mut self, bytes: u64) {
        self.unsent = self.unsent.saturating_sub(bytes);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(used) = self.allowance.lock().get_mut(&self.key) {
            used.running = used.running.saturating_sub(1);
            if used.day == self.day {
                used.bytes = used.bytes.saturating_sub(self.unsent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOON: Timestamp = datetime!(2026-03-02 12:00 UTC);

    #[test]
    fn ranges_count_together_and_what_is_not_sent_is_given_back() {
        let allowance = Allowance::new(Some(100), 8);
        assert!(allowance.has_to_recall("ada", NOON));
        allowance.recall("ada", NOON, 30);
        allowance.recall("ada", NOON, 99);
        assert!(!allowance.has_to_recall("ada", NOON), "told once");
        let mut first = allowance.enter("ada", NOON, 60).expect("30 of 100 are used");
        let second = allowance.enter("ada", NOON, 60).expect("the last may go over");
        assert_eq!(allowance.enter("ada", NOON, 1).err(), Some(Spent::Day), "promised is used");
        drop(second);
        first.sent(20);
        assert_eq!(allowance.standing("ada", NOON).used_bytes, 90);
        drop(first);
        assert_eq!((allowance.standing("ada", NOON).used_bytes, allowance.standing("ada", NOON).left_bytes()), (50, Some(50)));
        assert_eq!(allowance.standing("bob", NOON).used_bytes, 0);
    }

    #[test]
    fn a_day_ends_at_midnight_and_takes_the_count_with_it() {
        let allowance = Allowance::new(Some(10), 8);
        let running = allowance.enter("ada", NOON, 10).expect("nothing used");
        let tomorrow = NOON + time::Duration::hours(12);
        assert_eq!(allowance.standing("ada", NOON).resets_in_s, 12 * 3_600);
        assert_eq!(allowance.standing("ada", tomorrow).left_bytes(), Some(10));
        let other = allowance.enter("ada", tomorrow, 5).expect("a new day");
        drop(running);
        assert_eq!(allowance.standing("ada", tomorrow).used_bytes, 5, "yesterday's rest is not given back today");
        drop(other);
        allowance.sweep(tomorrow + time::Duration::days(1));
        assert!(allowance.has_to_recall("ada", tomorrow));
    }

    #[test]
    fn places_are_told_and_taken() {
        let allowance = Allowance::new(None, 2);
        let (first, _second) = (allowance.enter("ada", NOON, 1), allowance.enter("ada", NOON, 1));
        assert_eq!(allowance.enter("ada", NOON, 1).err(), Some(Spent::Places));
        assert!(allowance.enter("bob", NOON, 1).is_ok());
        assert_eq!(allowance.standing("ada", NOON).rate_limit(), "\"places\";r=0;t=5");
        drop(first);
        assert!(allowance.enter("ada", NOON, 1).is_ok());

        let both = Allowance::new(Some(1_000), 4).standing("ada", NOON);
        assert_eq!(both.rate_limit(), "\"day\";r=1000;t=43200, \"places\";r=4;t=5");
        assert_eq!(both.policy(), "\"day\";q=1000;qu=\"content-bytes\";w=86400, \"places\";q=4;qu=\"concurrent-requests\"");
    }
}
