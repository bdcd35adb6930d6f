//! A content and the chunk we are in.

use crate::state::{Pair, State};
use crate::turn::{TURN_BYTES, Tier, Turn};

/// A chunk of a content: 16 MiB; the last one is shorter, an empty content has none.
pub const CHUNK_BYTES: u64 = 16 << 20;
const CHUNK_TURNS: u64 = CHUNK_BYTES / TURN_BYTES as u64;

/// Takes a content piece by piece and computes its digests and those of its chunks.
#[derive(Debug)]
pub struct Twin {
    tier: Tier,
    whole: State,
    chunk: State,
    chunks: Vec<Pair>,
    /// What is not worked on yet: at most one turn, and never nothing once there was something, because the last turn of a content is
    /// worked on differently.
    rest: Vec<u8>,
}

/// The digests of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twins {
    /// Of all of it.
    pub whole: Pair,
    /// Of each chunk, as if it stood alone.
    pub chunks: Vec<Pair>,
}

impl Twin {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self::with(Tier::best())
    }

    pub(crate) fn with(tier: Tier) -> Self {
        Self { tier, whole: State::new(), chunk: State::new(), chunks: Vec::new(), rest: Vec::with_capacity(TURN_BYTES) }
    }

    /// The next piece.
    pub fn update(&mut self, mut piece: &[u8]) {
        if !self.rest.is_empty() {
            let (first, others) = piece.split_at(piece.len().min(TURN_BYTES - self.rest.len()));
            self.rest.extend_from_slice(first);
            piece = others;
        }
        if piece.is_empty() {
            return;
        }
        let rest = std::mem::take(&mut self.rest);
        if let Some(turn) = rest.first_chunk() {
            self.take(turn);
        }
        self.rest = rest;
        self.rest.clear();
        while piece.len() > TURN_BYTES
            && let Some((turn, others)) = piece.split_first_chunk()
        {
            self.take(turn);
            piece = others;
        }
        self.rest.extend_from_slice(piece);
    }

    fn take(&mut self, turn: &Turn) {
        State::take_both(self.tier, &mut self.whole, &mut self.chunk, turn);
        if self.chunk.turns() == CHUNK_TURNS {
            let ended = std::mem::replace(&mut self.chunk, State::new());
            self.chunks.push(ended.finish(&[]));
        }
    }

    /// The digests of what has come.
    pub fn finish(mut self) -> Twins {
        if !self.rest.is_empty() {
            self.chunks.push(self.chunk.finish(&self.rest));
        }
        Twins { whole: self.whole.finish(&self.rest), chunks: self.chunks }
    }
}

impl Default for Twin {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn content(length: usize) -> Vec<u8> {
        (0..length as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    /// What others say of these bytes.
    fn known(bytes: &[u8]) -> Pair {
        Pair { sha256: Sha256::digest(bytes).into(), blake3: blake3::hash(bytes).into() }
    }

    fn of(tier: Tier, bytes: &[u8], piece: usize) -> Twins {
        let mut twin = Twin::with(tier);
        bytes.chunks(piece).for_each(|piece| twin.update(piece));
        twin.finish()
    }

    #[test]
    fn each_chunk_is_digested_as_if_it_stood_alone() {
        let chunk = CHUNK_BYTES as usize;
        let bytes = content(3 * chunk + 2 * TURN_BYTES);
        for tier in Tier::all() {
            for length in [chunk - 1, chunk, chunk + 1, chunk + TURN_BYTES, 2 * chunk, 3 * chunk + 2 * TURN_BYTES] {
                let twins = of(tier, &bytes[..length], 1 << 20);
                assert_eq!(twins.whole, known(&bytes[..length]), "{tier:?}, {length}");
                assert_eq!(twins.chunks, bytes[..length].chunks(chunk).map(known).collect::<Vec<_>>(), "{tier:?}, {length}");
            }
        }
    }

    /// Around every border: of blocks, of BLAKE3's own chunks, of turns, and of trees that have a power of two of them.
    #[test]
    fn every_length_near_a_border_comes_out() {
        let bytes = content(5 * TURN_BYTES);
        for tier in Tier::all() {
            for border in [0, 64, 1024, TURN_BYTES, 2 * TURN_BYTES, 3 * TURN_BYTES, 4 * TURN_BYTES] {
                for length in border.saturating_sub(2)..border + 67 {
                    let twins = of(tier, &bytes[..length], TURN_BYTES + 1);
                    assert_eq!(twins.whole, known(&bytes[..length]), "{tier:?}, {length}");
                    assert_eq!(twins.chunks.len(), usize::from(length > 0));
                    assert!(twins.chunks.iter().all(|chunk| *chunk == twins.whole));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(length in 0..6 * TURN_BYTES, piece in 1..3 * TURN_BYTES) {
            let bytes = content(length);
            for tier in Tier::all() {
                prop_assert_eq!(of(tier, &bytes, piece).whole, known(&bytes));
            }
        }

        #[test]
        fn any_bytes_come_out(bytes in proptest::collection::vec(any::<u8>(), TURN_BYTES..3 * TURN_BYTES)) {
            for tier in Tier::all() {
                prop_assert_eq!(of(tier, &bytes, 1 << 20).whole, known(&bytes));
            }
        }
    }
}
