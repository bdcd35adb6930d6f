//! Which blocks hold the beginning of which texts. A full block is named by a hash over its tokens and the name of the block
//! before it, so that one name stands for everything up to its end. Accounts do not share: otherwise the time an answer takes would tell what
//! others have asked.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::opt::BLOCK_TOKENS;

/// Everything up to the end of some block, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    name: [u8; 16],
    blocks: usize,
}

impl Chain {
    /// The chain with one more full block.
    pub(crate) fn next(&self, tokens: &[u32; BLOCK_TOKENS]) -> Chain {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.name);
        tokens.iter().for_each(|token| {
            hasher.update(&token.to_le_bytes());
        });
        Chain { name: short(&hasher), blocks: self.blocks + 1 }
    }

    /// How many blocks it has.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }
}

/// The blocks that can be found, by the chain that ends with them.
#[derive(Debug)]
pub(crate) struct Prefixes {
    /// Another one in each process, so that nobody can look for texts whose names collide.
    key: [u8; 32],
    by_name: HashMap<[u8; 16], Named>,
    by_block: HashMap<u32, [u8; 16]>,
}

#[derive(Debug)]
struct Named {
    block: u32,
    tokens: [u32; BLOCK_TOKENS],
}

impl Prefixes {
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        for part in key.as_chunks_mut::<8>().0 {
            // The standard library's own random keys, so that no other source of chance is needed.
            *part = RandomState::new().build_hasher().finish().to_le_bytes();
        }
        Self { key, by_name: HashMap::new(), by_block: HashMap::new() }
    }

    /// Where an account's chains begin.
    pub(crate) fn root(&self, account: &str) -> Chain {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(account.as_bytes());
        Chain { name: short(&hasher), blocks: 0 }
    }

    /// The block with which this chain ends. Its tokens are compared, so that a collision of names gives nothing wrong.
    pub(crate) fn find(&self, chain: &Chain, tokens: &[u32; BLOCK_TOKENS]) -> Option<u32> {
        self.by_name.get(&chain.name).filter(|named| named.tokens == *tokens).map(|named| named.block)
    }

    /// Names a block; says whether it had to be done: if another holds the same, that one keeps the name.
    pub(crate) fn insert(&mut self, chain: &Chain, tokens: &[u32; BLOCK_TOKENS], block: u32) -> bool {
        if self.by_name.contains_key(&chain.name) {
            return false;
        }
        self.by_name.insert(chain.name, Named { block, tokens: *tokens });
        self.by_block.insert(block, chain.name);
        true
    }

    /// The block is about to hold something else.
    pub(crate) fn forget(&mut self, block: u32) {
        if let Some(name) = self.by_block.remove(&block) {
            self.by_name.remove(&name);
        }
    }
}

fn short(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut name = [0; 16];
    hasher.finalize_xof().fill(&mut name);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_account_and_everything_before() {
        let prefixes = Prefixes::new();
        let (one, two) = ([1; BLOCK_TOKENS], [2; BLOCK_TOKENS]);
        let ada = prefixes.root("ada");
        assert_eq!(ada.next(&one).next(&two), ada.next(&one).next(&two));
        assert_ne!(ada.next(&one).next(&two).name, ada.next(&two).next(&two).name);
        assert_ne!(ada.next(&one).name, prefixes.root("eve").next(&one).name);
        assert_ne!(Prefixes::new().root("ada"), ada, "each process has names of its own");
    }

    #[test]
    fn a_collision_of_names_finds_nothing() {
        let mut prefixes = Prefixes::new();
        let chain = prefixes.root("").next(&[1; BLOCK_TOKENS]);
        assert!(prefixes.insert(&chain, &[1; BLOCK_TOKENS], 7));
        assert_eq!(prefixes.find(&chain, &[1; BLOCK_TOKENS]), Some(7));
        assert_eq!(prefixes.find(&chain, &[2; BLOCK_TOKENS]), None, "as if these had the same name");
        assert!(!prefixes.insert(&chain, &[1; BLOCK_TOKENS], 8));
        prefixes.forget(7);
        assert_eq!(prefixes.find(&chain, &[1; BLOCK_TOKENS]), None);
    }
}
