//! The blocks of the KV cache: which are free, and how many sequences share each of the others.

use std::collections::BTreeMap;

/// All blocks of a model, by number.
#[derive(Debug)]
pub(crate) struct Blocks {
    total: usize,
    /// For each block that was ever used, how many sequences it belongs to.
    shares: Vec<u32>,
    /// Whether what a block holds is worth keeping when nobody uses it; as long as `shares`.
    kept: Vec<bool>,
    /// Used before and free again. Last freed is first taken, so that a quiet engine keeps to few blocks.
    free: Vec<u32>,
    /// Kept blocks that belong to nobody, by when they were given back.
    idle: BTreeMap<u64, u32>,
    /// When each block was given back; as long as `shares`.
    given_back: Vec<u64>,
    clock: u64,
    /// The sum of all shares.
    shares_total: usize,
}

impl Blocks {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            total,
            shares: Vec::new(),
            kept: Vec::new(),
            free: Vec::new(),
            idle: BTreeMap::new(),
            given_back: Vec::new(),
            clock: 0,
            shares_total: 0,
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Blocks that belong to some sequence.
    pub(crate) fn in_use(&self) -> usize {
        self.shares.len() - self.free.len() - self.idle.len()
    }

    /// Blocks as the sequences count them: a shared one once for each.
    pub(crate) fn shares_total(&self) -> usize {
        self.shares_total
    }

    /// How many sequences a block belongs to.
    pub(crate) fn shares(&self, block: u32) -> u32 {
        self.shares[block as usize]
    }

    /// Takes `count` blocks, each with one share and no longer kept, or nothing if there are too few.
    pub(crate) fn take(&mut self, count: usize) -> Option<Vec<u32>> {
        if count > self.total - self.in_use() {
            return None;
        }
        self.shares_total += count;
        Some((0..count).map(|_| self.take_one()).collect())
    }

    /// One more share of each of these blocks, which are in use or kept.
    pub(crate) fn share(&mut self, blocks: &[u32]) {
        for block in blocks {
            let shares = &mut self.shares[*block as usize];
            if *shares == 0 {
                self.idle.remove(&self.given_back[*block as usize]);
            }
            *shares += 1;
        }
        self.shares_total += blocks.len();
    }

    /// What this block holds, which is in use, is worth keeping.
    pub(crate) fn keep(&mut self, block: u32) {
        self.kept[block as usize] = true;
    }

    /// Gives back one share of each of these blocks.
    pub(crate) fn release(&mut self, blocks: &[u32]) {
        // From the end, so that the first of them are the first to be taken again, or the last to be taken by others.
        for block in blocks.iter().rev() {
            let place = *block as usize;
            self.shares[place] -= 1;
            match (self.shares[place], self.kept[place]) {
                (0, false) => self.free.push(*block),
                (0, true) => {
                    self.clock += 1;
                    self.given_back[place] = self.clock;
                    self.idle.insert(self.clock, *block);
                }
                _ => {}
            }
        }
        self.shares_total -= blocks.len();
    }

    /// A free block, else a new one, else the kept one that was given back longest ago.
    fn take_one(&mut self) -> u32 {
        if self.free.is_empty() && self.shares.len() < self.total {
            self.shares.push(1);
            self.kept.push(false);
            self.given_back.push(0);
            return u32::try_from(self.shares.len() - 1).expect("a store has fewer than 2³² blocks");
        }
        let block = self.free.pop().or_else(|| self.idle.pop_first().map(|(_, block)| block)).expect("`take` has counted them");
        self.shares[block as usize] = 1;
        self.kept[block as usize] = false;
        block
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    #[test]
    fn blocks_are_taken_and_given_back() {
        let mut blocks = Blocks::new(10);
        let first = blocks.take(6).unwrap();
        assert_eq!(blocks.take(5), None);
        let second = blocks.take(4).unwrap();
        assert!(first.iter().all(|block| !second.contains(block)));
        blocks.release(&first);
        assert_eq!((blocks.in_use(), blocks.shares_total()), (4, 4));
        assert_eq!(blocks.take(6), Some(first), "the first freed are taken in the same order");
        blocks.release(&second);
        assert_eq!(blocks.in_use(), 6);
    }

    #[test]
    fn kept_blocks_count_as_free_and_go_last() {
        let mut blocks = Blocks::new(3);
        let taken = blocks.take(2).unwrap();
        blocks.keep(taken[0]);
        blocks.release(&taken);
        assert_eq!(blocks.in_use(), 0);
        assert_eq!(blocks.take(2).unwrap(), [taken[1], 2]);
        blocks.share(&taken[..1]);
        assert_eq!(blocks.take(1), None, "it is in use again");
        blocks.release(&taken[..1]);
        assert_eq!(blocks.take(1).unwrap(), taken[..1]);
    }
}
