//! Where the keys and values of all sequences lie: blocks of [`BLOCK_TOKENS`] tokens. What all layers keep of a block lies together.

use crate::error::Error;
use crate::mmap::HugePages;
use crate::ops::attention::{BLOCK_TOKENS, Paged};

/// All blocks of a model: `[block][layer][keys, values][head]`, tiles as [`Paged`] says. The room is set aside at load and taken from
/// the system as blocks are first used.
#[derive(Debug)]
pub(crate) struct KvStore {
    memory: HugePages,
    blocks: usize,
    /// Numbers that one layer keeps of the keys in a block, and as many of the values.
    half: usize,
    layers: usize,
    head_dim: usize,
}

impl KvStore {
    /// Room for `blocks` blocks. `Invalid` if the system has not even addresses for so much.
    pub(crate) fn new(layers: usize, heads: usize, head_dim: usize, blocks: usize) -> Result<Self, Error> {
        let too_much = || {
            Error::invalid(
                "kv_tokens_max",
                format!("asks for {blocks} blocks of {BLOCK_TOKENS} tokens, more than there is memory; lower it"),
            )
        };
        let half = heads * head_dim * BLOCK_TOKENS;
        let bytes = blocks.checked_mul(2 * layers * half * size_of::<f32>()).filter(|bytes| isize::try_from(*bytes).is_ok());
        if u32::try_from(blocks).is_err() {
            return Err(too_much());
        }
        let memory = bytes.and_then(|bytes| HugePages::zeroed(bytes).ok()).ok_or_else(too_much)?;
        Ok(Self { memory, blocks, half, layers, head_dim })
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// What one layer keeps of a sequence that lies in `blocks`.
    pub(crate) fn layer<'a>(&'a self, number: usize, blocks: &'a [u32]) -> Paged<'a> {
        let keys = 2 * number * self.half;
        let store = bytemuck::cast_slice(&self.memory);
        Paged { store, stride: self.block(), keys, values: keys + self.half, head_dim: self.head_dim, blocks }
    }

    /// Numbers of a block.
    fn block(&self) -> usize {
        2 * self.layers * self.half
    }

    /// Writes the rows k and v (tokens, hidden) of one layer behind the first `before` tokens of a sequence that lies in `blocks`.
    pub(crate) fn write(&mut self, layer: usize, blocks: &[u32], before: usize, k: &[f32], v: &[f32]) {
        let (hidden, tile, head_dim) = (self.half / BLOCK_TOKENS, self.head_dim * BLOCK_TOKENS, self.head_dim);
        let (block, half) = (self.block(), self.half);
        let store: &mut [f32] = bytemuck::cast_slice_mut(&mut self.memory);
        for (token, (k, v)) in (before..).zip(k.chunks_exact(hidden).zip(v.chunks_exact(hidden))) {
            let (first, place) = (blocks[token / BLOCK_TOKENS] as usize * block + 2 * layer * half, token % BLOCK_TOKENS);
            let (keys, values) = store[first..][..2 * half].split_at_mut(half);
            for (row, k) in keys.chunks_exact_mut(BLOCK_TOKENS).zip(k) {
                row[place] = *k;
            }
            for (tile, v) in values.chunks_exact_mut(tile).zip(v.chunks_exact(head_dim)) {
                tile[place * head_dim..][..head_dim].copy_from_slice(v);
            }
        }
    }

    /// Copies a block, in all layers.
    pub(crate) fn copy(&mut self, from: u32, to: u32) {
        let block = self.block();
        let store: &mut [f32] = bytemuck::cast_slice_mut(&mut self.memory);
        store.copy_within(from as usize * block..(from as usize + 1) * block, to as usize * block);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    #[test]
    fn rows_lie_where_the_table_says_and_a_copy_has_them_all() {
        // Two heads of one number each: both tiles of a head are the tokens in order.
        let mut store = KvStore::new(2, 2, 1, 3).unwrap();
        let rows: Vec<f32> = (0..80u8).map(f32::from).collect();
        store.write(1, &[2, 0], 0, &rows, &rows);
        let of = |store: &KvStore, layer: usize, block: u32| -> Vec<f32> {
            let Paged { store, stride, keys, values, .. } = store.layer(layer, &[]);
            assert_eq!(values, keys + 64);
            store[block as usize * stride + keys..][..128].to_vec()
        };
        let tokens = |head: usize, first: usize| (first..first + 32).map(move |token| (2 * token + head) as f32);
        let halves: Vec<f32> = tokens(0, 0).chain(tokens(1, 0)).collect();
        assert_eq!(of(&store, 1, 2), [&halves[..], &halves[..]].concat());
        assert_eq!(of(&store, 1, 0)[32..40], rows[64..].iter().copied().skip(1).step_by(2).collect::<Vec<_>>());
        store.copy(2, 1);
        assert_eq!(of(&store, 1, 1), of(&store, 1, 2));
        assert_eq!(of(&store, 0, 1), [0.0; 128]);
    }

    #[test]
    fn more_room_than_there_are_addresses_is_refused() {
        for blocks in [usize::MAX, usize::MAX / BLOCK_TOKENS, 1 << 31, 1 << 33] {
            let refused = KvStore::new(48, 64, 128, blocks).unwrap_err();
            assert!(matches!(refused, Error::Invalid { field: "kv_tokens_max", .. }), "{refused}");
        }
    }
}
