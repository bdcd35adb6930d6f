//! The blocks of the KV cache: which are free, and how many sequences share each of the others.

/// All blocks of a model, by number.
#[derive(Debug)]
pub(crate) struct Blocks {
    total: usize,
    /// For each block that was ever used, how many sequences it belongs to.
    shares: Vec<u32>,
    /// Used before and free again. Last freed is first taken, so that a quiet engine keeps to few blocks.
    free: Vec<u32>,
    /// The sum of all shares.
    shares_total: usize,
}

impl Blocks {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, shares: Vec::new(), free: Vec::new(), shares_total: 0 }
    }

    /// Blocks that belong to some sequence.
    pub(crate) fn in_use(&self) -> usize {
        self.shares.len() - self.free.len()
    }

    /// Blocks as the sequences count them: a shared one once for each.
    pub(crate) fn shares_total(&self) -> usize {
        self.shares_total
    }

    /// Takes `count` blocks, each with one share, or nothing if there are too few.
    pub(crate) fn take(&mut self, count: usize) -> Option<Vec<u32>> {
        if count > self.total - self.in_use() {
            return None;
        }
        self.shares_total += count;
        Some((0..count).map(|_| self.take_one()).collect())
    }

    /// Gives back one share of each of these blocks.
    pub(crate) fn release(&mut self, blocks: &[u32]) {
        // From the end, so that the first of them are the first to be taken again.
        for block in blocks.iter().rev() {
            let shares = &mut self.shares[*block as usize];
            *shares -= 1;
            if *shares == 0 {
                self.free.push(*block);
            }
        }
        self.shares_total -= blocks.len();
    }

    fn take_one(&mut self) -> u32 {
        if let Some(block) = self.free.pop() {
            self.shares[block as usize] = 1;
            return block;
        }
        self.shares.push(1);
        u32::try_from(self.shares.len() - 1).expect("a store has fewer than 2³² blocks")
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
}
