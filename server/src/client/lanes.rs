//! How many requests at once a portal lets us have: as many as it says, one fewer whenever it refuses one for being too many, and in
//! one run never more again.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::HeaderMap;

/// The unit of the limit that counts requests at once (draft-ietf-httpapi-ratelimit-headers).
const UNIT: &str = "qu=\"concurrent-requests\"";

/// The lanes of one pull.
#[derive(Debug)]
pub(super) struct Lanes(AtomicUsize);

impl Lanes {
    /// Nothing is known of a limit yet.
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    /// How many are open: at least one.
    pub(super) fn open(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Opens no more than these.
    pub(super) fn at_most(&self, lanes: usize) {
        self.0.fetch_min(lanes.max(1), Ordering::Relaxed);
    }

    /// Heeds what an answer says of the limit.
    pub(super) fn heed(&self, headers: &HeaderMap) {
        let policy = headers.get("ratelimit-policy").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let limit = policy.split(',').filter(|limit| limit.contains(UNIT));
        let quota = |limit: &str| limit.split(';').find_map(|part| part.trim().strip_prefix("q=")?.parse().ok());
        if let Some(lanes) = limit.filter_map(quota).min() {
            self.at_most(lanes);
        }
    }

    /// A request was refused that began while so many were open. Of those that began together only one closes a lane.
    pub(super) fn crowded(&self, began_with: usize) {
        if began_with < usize::MAX {
            let _ = self.0.compare_exchange(began_with, (began_with - 1).max(1), Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_close_as_the_portal_says_and_one_by_one_when_it_refuses() {
        let lanes = Lanes::new();
        lanes.crowded(lanes.open());
        assert_eq!(lanes.open(), usize::MAX, "nothing is known");
        lanes.at_most(8);
        let headers =
            |policy: &'static str| HeaderMap::from_iter([("ratelimit-policy".parse().expect("a name"), policy.parse().expect("a value"))]);
        lanes.heed(&headers("\"day\";q=100;qu=\"content-bytes\";w=86400, \"places\";q=5;qu=\"concurrent-requests\""));
        assert_eq!(lanes.open(), 5);
        lanes.heed(&headers("\"places\";q=64;qu=\"concurrent-requests\""));
        lanes.heed(&headers("\"places\";q=some;qu=\"concurrent-requests\", nonsense"));
        lanes.heed(&HeaderMap::new());
        assert_eq!(lanes.open(), 5);
        (0..3).for_each(|_| lanes.crowded(5));
        assert_eq!(lanes.open(), 4, "three that began together");
        (0..9).for_each(|_| lanes.crowded(lanes.open()));
        assert_eq!(lanes.open(), 1);
        lanes.heed(&headers("\"places\";q=0;qu=\"concurrent-requests\""));
        assert_eq!(lanes.open(), 1);
    }
}
