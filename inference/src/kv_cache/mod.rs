//! Whose the room in the KV cache is, block by block, and which blocks are worth keeping. Counts and names only: the numbers
//! themselves lie with the device.

mod blocks;
mod prefix;

pub(crate) use prefix::Chain;

use blocks::Blocks;
use prefix::Prefixes;

use crate::opt::BLOCK_TOKENS;

/// The blocks of a model, those of running sequences and those kept because somebody may begin alike.
#[derive(Debug)]
pub(crate) struct KvCache {
    blocks: Blocks,
    prefixes: Prefixes,
}

impl KvCache {
    pub(crate) fn new(blocks: usize) -> Self {
        Self { blocks: Blocks::new(blocks), prefixes: Prefixes::new() }
    }

    /// Blocks there are.
    pub(crate) fn total(&self) -> usize {
        self.blocks.total()
    }

    /// Blocks that belong to some sequence.
    pub(crate) fn in_use(&self) -> usize {
        self.blocks.in_use()
    }

    /// Blocks as the sequences count them: a shared one once for each.
    pub(crate) fn shares_total(&self) -> usize {
        self.blocks.shares_total()
    }

    /// Takes `count` blocks, or nothing if there are too few. Kept ones go when no others are left, those used longest ago first.
    pub(crate) fn take(&mut self, count: usize) -> Option<Vec<u32>> {
        let taken = self.blocks.take(count)?;
        for block in &taken {
            self.prefixes.forget(*block);
        }
        Some(taken)
    }

    /// Takes the blocks in which the beginning of `tokens` lies already, up to `count` tokens, and the chain they form. They are given
    /// back like others.
    pub(crate) fn find(&mut self, account: &str, tokens: &[u32], count: usize) -> (Vec<u32>, Chain) {
        let mut chain = self.prefixes.root(account);
        let mut found = Vec::new();
        for tokens in tokens[..count].as_chunks::<BLOCK_TOKENS>().0 {
            let next = chain.next(tokens);
            let Some(block) = self.prefixes.find(&next, tokens) else { break };
            found.push(block);
            chain = next;
        }
        self.blocks.share(&found);
        (found, chain)
    }

    /// The chain of nothing read yet.
    pub(crate) fn root(&self, account: &str) -> Chain {
        self.prefixes.root(account)
    }

    /// Keeps the blocks of a sequence that have been filled since its chain was last extended.
    pub(crate) fn keep(&mut self, chain: &mut Chain, tokens: &[u32], blocks: &[u32]) {
        for (tokens, block) in tokens.as_chunks::<BLOCK_TOKENS>().0.iter().zip(blocks).skip(chain.blocks()) {
            *chain = chain.next(tokens);
            if self.prefixes.insert(chain, tokens, *block) {
                self.blocks.keep(*block);
            }
        }
    }

    /// One more share of each of these blocks.
    pub(crate) fn share(&mut self, blocks: &[u32]) {
        self.blocks.share(blocks);
    }

    /// Whether more than one sequence reads this block.
    pub(crate) fn is_shared(&self, block: u32) -> bool {
        self.shares(block) > 1
    }

    /// How many sequences this block belongs to.
    pub(crate) fn shares(&self, block: u32) -> u32 {
        self.blocks.shares(block)
    }

    /// Gives back one share of each of these blocks.
    pub(crate) fn release(&mut self, blocks: &[u32]) {
        self.blocks.release(blocks);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use proptest::prelude::*;

    /// One sequence of a test: reads `tokens`, having found what it could.
    fn read(cache: &mut KvCache, account: &str, tokens: &[u32]) -> Option<(Vec<u32>, usize)> {
        let (mut blocks, mut chain) = cache.find(account, tokens, tokens.len() - 1);
        let found = blocks.len();
        let Some(more) = cache.take(tokens.len().div_ceil(BLOCK_TOKENS) - found) else {
            cache.release(&blocks);
            return None;
        };
        blocks.extend(more);
        cache.keep(&mut chain, tokens, &blocks);
        Some((blocks, found))
    }

    #[test]
    fn what_was_read_is_found_again_by_the_same_account_only() {
        let mut cache = KvCache::new(8);
        let tokens: Vec<u32> = (0..70).collect();
        let (first, found) = read(&mut cache, "ada", &tokens).unwrap();
        assert_eq!((first.len(), found), (3, 0));
        let (second, found) = read(&mut cache, "ada", &tokens).unwrap();
        assert_eq!((found, &second[..2]), (2, &first[..2]), "the last, which is not full, is its own");
        assert!(cache.is_shared(first[0]) && !cache.is_shared(first[2]));
        cache.release(&first);
        cache.release(&second);
        assert_eq!((cache.in_use(), cache.shares_total()), (0, 0));
        assert_eq!(read(&mut cache, "eve", &tokens).unwrap().1, 0);
        let (third, found) = read(&mut cache, "ada", &tokens[..65]).unwrap();
        assert_eq!((found, &third[..2]), (2, &first[..2]), "kept though nobody used it");
    }

    #[test]
    fn the_last_token_is_always_read_anew() {
        let mut cache = KvCache::new(4);
        let tokens: Vec<u32> = (0..64).collect();
        read(&mut cache, "", &tokens).unwrap();
        assert_eq!(read(&mut cache, "", &tokens).unwrap().1, 1);
    }

    #[test]
    fn what_was_used_longest_ago_makes_room_first_and_a_beginning_outlives_its_end() {
        let mut cache = KvCache::new(4);
        let tokens = |start: u32| -> Vec<u32> { (start..start + 65).collect() };
        let (old, _) = read(&mut cache, "", &tokens(0)).unwrap();
        cache.release(&old);
        // Three of four blocks are needed: the free one, the one that was never kept, and the end of the old chain.
        let (new, found) = read(&mut cache, "", &tokens(1000)).unwrap();
        assert_eq!(found, 0);
        cache.release(&new);
        let (blocks, _) = cache.find("", &tokens(0), 64);
        assert_eq!(blocks, old[..1]);
    }

    proptest! {
        /// Sequences come and go in any order: no block is ever two sequences' own, and none is lost.
        #[test]
        fn no_block_is_lost_or_given_twice(steps in proptest::collection::vec((0u32..4, 1usize..140, any::<bool>()), 1..60)) {
            let mut cache = KvCache::new(12);
            let mut held: Vec<(Vec<u32>, Vec<u32>)> = Vec::new();
            for (start, length, leave) in steps {
                if leave && !held.is_empty() {
                    let (_, blocks) = held.remove(length % held.len());
                    cache.release(&blocks);
                }
                let tokens: Vec<u32> = (start..).take(length).collect();
                if let Some((blocks, _)) = read(&mut cache, "", &tokens) {
                    held.push((tokens, blocks));
                }
                let mut content = std::collections::HashMap::new();
                for (tokens, blocks) in &held {
                    for (place, block) in blocks.iter().enumerate() {
                        let all_before = &tokens[..tokens.len().min((place + 1) * BLOCK_TOKENS)];
                        let known = content.entry(*block).or_insert(all_before);
                        prop_assert_eq!(&*known, &all_before, "a shared block holds the same tokens behind the same tokens");
                    }
                }
                prop_assert_eq!(cache.in_use(), content.len());
                prop_assert_eq!(cache.shares_total(), held.iter().map(|(_, blocks)| blocks.len()).sum::<usize>());
            }
            for (_, blocks) in held {
                cache.release(&blocks);
            }
            prop_assert_eq!((cache.in_use(), cache.shares_total()), (0, 0));
            prop_assert_eq!(cache.take(12).map(|blocks| blocks.len()), Some(12), "everything can be had again");
        }
    }
}
