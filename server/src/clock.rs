//! The only source of now.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A moment, UTC, as the database keeps it (microseconds).
pub type Timestamp = time::OffsetDateTime;

/// Tells the time. Tests hold one they can set.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock in somebody's hand: microseconds since 1970, moved by [`Clock::advance`].
    Held(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still at `at` until it is moved.
    pub fn held(at: Timestamp) -> Self {
        Clock::Held(Arc::new(AtomicI64::new(micros(at))))
    }

    /// Now, cut to the microseconds that the database keeps, so that what is written equals what is read.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine for the time")]
    pub fn now(&self) -> Timestamp {
        let micros_now = match self {
            Clock::System => micros(Timestamp::now_utc()),
            Clock::Held(at) => at.load(Ordering::SeqCst),
        };
        Timestamp::from_unix_timestamp_nanos(i128::from(micros_now) * 1_000).expect("a clock shows a year below 9999")
    }

    /// Moves a held clock; the machine's own cannot be moved.
    pub fn advance(&self, by: time::Duration) {
        if let Clock::Held(at) = self {
            let by_us = i64::try_from(by.whole_microseconds()).expect("tests move the clock by less than 290,000 years");
            at.fetch_add(by_us, Ordering::SeqCst);
        }
    }
}

fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000).expect("microseconds since 1970 fit until the year 294,000")
}
