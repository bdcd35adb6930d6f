//! Whose the room in the KV cache is. Counts tokens only: the numbers themselves lie with the device.

/// The KV cache's room, in tokens. A sequence reserves the most it may come to hold before it runs, so none ever has to stop half-way.
#[derive(Debug)]
pub(crate) struct KvLedger {
    tokens_max: usize,
    reserved: usize,
}

/// A part of the room; given back through [`KvLedger::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a reservation that is dropped without release is lost room"]
pub(crate) struct Reservation {
    tokens: usize,
}

impl KvLedger {
    pub(crate) fn new(tokens_max: usize) -> Self {
        Self { tokens_max, reserved: 0 }
    }

    /// Takes room for `tokens`, or nothing if there is too little now.
    pub(crate) fn reserve(&mut self, tokens: usize) -> Option<Reservation> {
        (tokens <= self.tokens_max - self.reserved).then(|| {
            self.reserved += tokens;
            Reservation { tokens }
        })
    }

    #[expect(clippy::needless_pass_by_value, reason = "a reservation is given back once")]
    pub(crate) fn release(&mut self, reservation: Reservation) {
        self.reserved -= reservation.tokens;
    }

    pub(crate) fn reserved(&self) -> usize {
        self.reserved
    }
}

impl Reservation {
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    #[test]
    fn room_is_taken_and_given_back() {
        let mut ledger = KvLedger::new(10);
        let first = ledger.reserve(6).unwrap();
        assert_eq!(ledger.reserve(5), None);
        let second = ledger.reserve(4).unwrap();
        ledger.release(first);
        assert_eq!(ledger.reserved(), 4);
        ledger.release(second);
        assert_eq!(ledger.reserved(), 0);
    }
}
