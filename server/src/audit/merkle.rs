//! The Merkle tree of RFC 6962, section 2.1: hashes, the tree as it grows, and proofs that an entry is in it.

use std::io;

use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// The hash of an entry: `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// The hash of two subtrees: `SHA-256(0x01 || left || right)`.
fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tree that only grows: what has to be kept of it to append and to know its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The roots of the perfect subtrees it falls into, from left to right, largest first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The tree of so many entries; `node(height, index)` gives the roots of perfect subtrees, as in [`path`].
    pub fn of(size: u64, mut node: impl FnMut(u32, u64) -> io::Result<Hash>) -> io::Result<Self> {
        let heights = (0..u64::BITS).rev().filter(|height| size >> height & 1 == 1);
        let peaks = heights.map(|height| node(height, (size >> height) - 1)).collect::<io::Result<_>>()?;
        Ok(Self { size, peaks })
    }

    /// Appends an entry. `each` is told of every perfect subtree that is complete now: its height (0: the entry itself), its index among
    /// those of this height, its root.
    pub fn push(&mut self, leaf: Hash, mut each: impl FnMut(u32, u64, &Hash)) {
        let (mut hash, mut height, mut index) = (leaf, 0, self.size);
        each(height, index, &hash);
        while index & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = node_hash(&left, &hash);
            (height, index) = (height + 1, index >> 1);
            each(height, index, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The Merkle tree hash. Of no entries: the SHA-256 of nothing.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
            None => Sha256::digest([]).into(),
        }
    }
}

/// The proof that entry `index` is in the tree of `size` entries: the hashes beside its way up, lowest first (RFC 6962, section 2.1.1).
/// `node(height, index)` gives the root of the perfect subtree over the entries `index << height .. (index + 1) << height`.
pub fn path(index: u64, size: u64, node: &mut impl FnMut(u32, u64) -> io::Result<Hash>) -> io::Result<Vec<Hash>> {
    let (mut low, mut high, mut beside) = (0, size, Vec::new());
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            beside.push(range(middle, high, node)?);
            high = middle;
        } else {
            beside.push(range(low, middle, node)?);
            low = middle;
        }
    }
    beside.reverse();
    Ok(beside)
}

/// The tree hash over the entries `low .. high` of a tree that splits there.
fn range(low: u64, high: u64, node: &mut impl FnMut(u32, u64) -> io::Result<Hash>) -> io::Result<Hash> {
    let size = high - low;
    if size.is_power_of_two() {
        return node(size.ilog2(), low >> size.ilog2());
    }
    let middle = low + split(size);
    let left = range(low, middle, node)?;
    Ok(node_hash(&left, &range(middle, high, node)?))
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The root that a proof leads to, if it has the length that a proof for `index` in `size` entries has (RFC 9162, section 2.1.3.2).
pub fn root_by(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for beside in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(beside, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    /// MTH as section 2.1 defines it, word for word.
    fn tree_hash(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [only] => *only,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(&tree_hash(left), &tree_hash(right))
            }
        }
    }

    /// PATH as section 2.1.1 defines it, word for word.
    fn path_by_definition(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
        let (mut path, beside) = if index < left.len() {
            (path_by_definition(index, left), tree_hash(right))
        } else {
            (path_by_definition(index - left.len(), right), tree_hash(left))
        };
        path.push(beside);
        path
    }

    #[test]
    fn roots_and_proofs_are_those_of_the_definition() {
        let all = leaves(70);
        let mut node = |height: u32, index: u64| Ok(tree_hash(&all[(index << height) as usize..((index + 1) << height) as usize]));
        let mut frontier = Frontier::default();
        for size in 0..=all.len() {
            assert_eq!(frontier.root(), tree_hash(&all[..size]));
            assert_eq!(Frontier::of(size as u64, &mut node).unwrap(), frontier);
            for index in 0..size {
                let proof = path(index as u64, size as u64, &mut node).unwrap();
                assert_eq!(proof, path_by_definition(index, &all[..size]));
                assert_eq!(root_by(all[index], index as u64, size as u64, &proof), Some(frontier.root()));
            }
            if let Some(next) = all.get(size) {
                frontier.push(*next, |height, index, hash| assert_eq!(*hash, node(height, index).unwrap()));
            }
        }
    }

    #[test]
    fn a_proof_holds_for_one_entry_at_one_place_only() {
        let all = leaves(21);
        let mut node = |height: u32, index: u64| Ok(tree_hash(&all[(index << height) as usize..((index + 1) << height) as usize]));
        let root = tree_hash(&all);
        let proof = path(6, 21, &mut node).unwrap();
        for (index, leaf) in all.iter().enumerate() {
            for place in 0..23 {
                let is_right = index == 6 && place == 6;
                assert_eq!(root_by(*leaf, place, 21, &proof) == Some(root), is_right, "{index} at {place}");
            }
        }
        assert_eq!(root_by(all[6], 6, 21, &proof[1..]), None);
        assert_eq!(root_by(all[6], 6, 21, &[&proof[..], &[root]].concat()), None);
        assert_eq!(root_by(all[0], 0, 0, &[]), None);
    }
}
