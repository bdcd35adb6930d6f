//! Who has a page on the screen, for pages on which two should not work unknowingly. Kept in memory: it is of the last minutes, and a
//! restart may forget it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use time::Duration;

use crate::clock::Timestamp;

/// For how long somebody counts as looking who has not said so again.
const LOOK: Duration = Duration::minutes(2);
/// More pages than anybody looks at in that time; then those that nobody looks at any more are forgotten.
const PAGES_MAX: usize = 10_000;

/// Who looks at what.
#[derive(Debug)]
pub struct Presence<Page, Person>(Mutex<HashMap<Page, Vec<(Person, Timestamp)>>>);

impl<Page, Person> Default for Presence<Page, Person> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Page: Eq + std::hash::Hash, Person: Eq + Copy> Presence<Page, Person> {
    /// Notes that somebody looks at a page now, and says who else does.
    pub fn look(&self, page: Page, person: Person, now: Timestamp) -> Vec<Person> {
        // A panic while it was held left a list of who looked: nothing that could be half done.
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= PAGES_MAX {
            pages.retain(|_, looking| looking.iter().any(|(_, seen)| now - *seen < LOOK));
        }
        let looking = pages.entry(page).or_default();
        looking.retain(|(other, seen)| *other != person && now - *seen < LOOK);
        let others = looking.iter().map(|(other, _)| *other).collect();
        looking.push((person, now));
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn two_see_each_other_until_one_has_been_away_for_a_while() {
        let (presence, now) = (Presence::<u8, u8>::default(), datetime!(2026-03-02 09:00 UTC));
        assert_eq!(presence.look(1, 10, now), [0u8; 0]);
        assert_eq!(presence.look(1, 11, now + Duration::minutes(1)), [10]);
        assert_eq!(presence.look(2, 11, now), [0u8; 0], "another page");
        assert_eq!(presence.look(1, 10, now + Duration::minutes(1)), [11]);
        assert_eq!(presence.look(1, 10, now + Duration::minutes(3)), [0u8; 0]);
    }
}
