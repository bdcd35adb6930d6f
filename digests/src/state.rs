//! The two digests of one content, as far as it has come.

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use sha2::block_api::compress256;

use crate::turn::{self, START, TURN_BYTES, Tier, Turn};

/// A block of SHA-256, in bytes.
const BLOCK_BYTES: usize = 64;

/// What a content is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// SHA-256.
    pub sha256: [u8; 32],
    /// BLAKE3.
    pub blake3: [u8; 32],
}

/// So many whole turns of a content have come.
#[derive(Debug)]
pub(crate) struct State {
    turns: u64,
    sha256: [u32; 8],
    /// Subtrees of BLAKE3 that wait for their neighbour on the right, the largest first.
    subtrees: Vec<ChainingValue>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self { turns: 0, sha256: START, subtrees: Vec::new() }
    }

    pub(crate) fn turns(&self) -> u64 {
        self.turns
    }

    /// The next turn of two contents, of which it is the same bytes.
    pub(crate) fn take_both(tier: Tier, one: &mut Self, other: &mut Self, turn: &Turn) {
        let at = [one.turns, other.turns];
        let subtrees = turn::take(tier, turn, at, [&mut one.sha256, &mut other.sha256]);
        one.push(subtrees[0]);
        other.push(subtrees[1]);
    }

    /// Subtrees are merged when the next one comes, because the last merging of all is another.
    fn push(&mut self, subtree: ChainingValue) {
        self.merge();
        self.subtrees.push(subtree);
        self.turns += 1;
    }

    /// As many subtrees stay as the number of turns has ones in binary.
    fn merge(&mut self) {
        while self.subtrees.len() > self.turns.count_ones() as usize {
            if let (Some(right), Some(left)) = (self.subtrees.pop(), self.subtrees.pop()) {
                self.subtrees.push(merge_subtrees_non_root(&left, &right, Mode::Hash));
            }
        }
    }

    /// The digests, with what comes after the last whole turn. Only a content of more than one turn may end with a whole one.
    pub(crate) fn finish(self, rest: &[u8]) -> Pair {
        Pair { sha256: self.finish_sha256(rest), blake3: self.finish_blake3(rest) }
    }

    fn finish_sha256(&self, rest: &[u8]) -> [u8; 32] {
        let bits = (self.turns * TURN_BYTES as u64 + rest.len() as u64) * 8;
        let (blocks, tail) = rest.as_chunks::<BLOCK_BYTES>();
        let mut padded = [0; 2 * BLOCK_BYTES];
        padded[..tail.len()].copy_from_slice(tail);
        padded[tail.len()] = 0x80;
        let end = if tail.len() < BLOCK_BYTES - 8 { BLOCK_BYTES } else { 2 * BLOCK_BYTES };
        padded[end - 8..end].copy_from_slice(&bits.to_be_bytes());
        let mut state = self.sha256;
        compress256(&mut state, blocks);
        compress256(&mut state, padded[..end].as_chunks().0);
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        digest
    }

    fn finish_blake3(mut self, rest: &[u8]) -> [u8; 32] {
        if self.turns == 0 {
            return blake3::hash(rest).into();
        }
        let mut right = if rest.is_empty() {
            self.subtrees.pop().expect("every turn has left a subtree")
        } else {
            self.merge();
            let mut hasher = blake3::Hasher::new();
            hasher.set_input_offset(self.turns * TURN_BYTES as u64).update(rest);
            hasher.finalize_non_root()
        };
        let root = self.subtrees.first().copied().expect("a single turn is the rest, never a subtree");
        for left in self.subtrees.drain(1..).rev() {
            right = merge_subtrees_non_root(&left, &right, Mode::Hash);
        }
        merge_subtrees_root(&root, &right, Mode::Hash).into()
    }
}
