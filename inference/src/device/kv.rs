//! Where the keys and values of all sequences lie: blocks of [`BLOCK_TOKENS`] tokens, in each layer at the same number.

use crate::error::Error;
use crate::ops::attention::{BLOCK_TOKENS, Paged};

/// The keys and values of one layer: (blocks, `BLOCK_TOKENS`, hidden) each.
#[derive(Debug, Default)]
struct LayerKv {
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// All blocks of a model. The room is set aside at load and taken from the system as blocks are first used.
#[derive(Debug)]
pub(crate) struct KvStore {
    layers: Vec<LayerKv>,
    hidden: usize,
    blocks: usize,
}

impl KvStore {
    /// Room for `blocks` blocks. `Invalid` if the system has not even addresses for so much.
    pub(crate) fn new(layers: usize, hidden: usize, blocks: usize) -> Result<Self, Error> {
        let too_much = || {
            Error::invalid(
                "kv_tokens_max",
                format!("asks for {blocks} blocks of {BLOCK_TOKENS} tokens, more than there is memory; lower it"),
            )
        };
        let numbers = blocks.checked_mul(BLOCK_TOKENS).and_then(|rows| rows.checked_mul(hidden)).ok_or_else(too_much)?;
        if u32::try_from(blocks).is_err() {
            return Err(too_much());
        }
        let mut store = Self { layers: Vec::new(), hidden, blocks };
        for _ in 0..layers {
            let mut layer = LayerKv::default();
            layer.keys.try_reserve_exact(numbers).map_err(|_| too_much())?;
            layer.values.try_reserve_exact(numbers).map_err(|_| too_much())?;
            store.layers.push(layer);
        }
        Ok(store)
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// What one layer keeps of a sequence that lies in `blocks`.
    pub(crate) fn layer<'a>(&'a self, number: usize, blocks: &'a [u32]) -> Paged<'a> {
        let LayerKv { keys, values } = &self.layers[number];
        Paged { keys, values, stride: self.hidden, blocks }
    }

    /// Makes the block ready to be written and read. It stays so.
    pub(crate) fn ready(&mut self, block: u32) {
        let numbers = (block as usize + 1) * BLOCK_TOKENS * self.hidden;
        for layer in &mut self.layers {
            if layer.keys.len() < numbers {
                // Within what was set aside, so nothing moves.
                layer.keys.resize(numbers, 0.0);
                layer.values.resize(numbers, 0.0);
            }
        }
    }

    /// Writes the rows k and v (tokens, hidden) of one layer behind the first `before` tokens of a sequence that lies in `blocks`.
    pub(crate) fn write(&mut self, layer: usize, blocks: &[u32], before: usize, k: &[f32], v: &[f32]) {
        let layer = &mut self.layers[layer];
        for (token, (k, v)) in (before..).zip(k.chunks_exact(self.hidden).zip(v.chunks_exact(self.hidden))) {
            let row = blocks[token / BLOCK_TOKENS] as usize * BLOCK_TOKENS + token % BLOCK_TOKENS;
            let place = row * self.hidden..(row + 1) * self.hidden;
            layer.keys[place.clone()].copy_from_slice(k);
            layer.values[place].copy_from_slice(v);
        }
    }

    /// Copies a block, in all layers.
    pub(crate) fn copy(&mut self, from: u32, to: u32) {
        self.ready(from.max(to));
        let numbers = BLOCK_TOKENS * self.hidden;
        let from = from as usize * numbers;
        for layer in &mut self.layers {
            layer.keys.copy_within(from..from + numbers, to as usize * numbers);
            layer.values.copy_within(from..from + numbers, to as usize * numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    #[test]
    fn rows_lie_where_the_table_says_and_a_copy_has_them_all() {
        let mut store = KvStore::new(2, 1, 3).unwrap();
        store.ready(2);
        let rows: Vec<f32> = (0..40u8).map(f32::from).collect();
        store.write(1, &[2, 0], 0, &rows, &rows);
        assert_eq!(store.layer(1, &[]).keys[64..96], rows[..32]);
        assert_eq!(store.layer(1, &[]).values[..8], rows[32..]);
        store.copy(2, 1);
        assert_eq!(store.layer(1, &[]).keys[32..64], rows[..32]);
        assert_eq!(store.layer(0, &[]).keys[32..64], [0.0; 32]);
    }

    #[test]
    fn more_room_than_there_are_addresses_is_refused() {
        for blocks in [usize::MAX, usize::MAX / BLOCK_TOKENS, 1 << 31, 1 << 33] {
            let refused = KvStore::new(48, 1 << 13, blocks).unwrap_err();
            assert!(matches!(refused, Error::Invalid { field: "kv_tokens_max", .. }), "{refused}");
        }
    }
}
