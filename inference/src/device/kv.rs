//! Where the keys and values of all sequences lie: blocks of [`BLOCK_TOKENS`] tokens. What all layers keep of a block lies together.

use std::ops::Range;

use bytemuck::Pod;
use half::f16;

use super::cpu::Cpu;
use super::shares::Pieces;
use crate::error::Error;
use crate::mmap::HugePages;
use crate::ops::attention::{self, BLOCK_TOKENS, Numbers, Paged};
use crate::options::Precision;

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
    precision: Precision,
}

/// Bits of each number that is kept: as many as are computed with where everything is to be exact, else 16, which is what the released
/// models compute with.
pub(crate) fn kept_bits(precision: Precision) -> u32 {
    match precision {
        Precision::Exact => 32,
        Precision::Bf16 | Precision::Int8 | Precision::Int4 => 16,
    }
}

impl KvStore {
    /// Room for `blocks` blocks. `Invalid` if the system has not even addresses for so much.
    pub(crate) fn new(precision: Precision, layers: usize, (heads, head_dim): (usize, usize), blocks: usize) -> Result<Self, Error> {
        let too_much = || {
            Error::invalid(
                "kv_tokens_max",
                format!("asks for {blocks} blocks of {BLOCK_TOKENS} tokens, more than there is memory; lower it"),
            )
        };
        let half = heads * head_dim * BLOCK_TOKENS;
        let bytes =
            blocks.checked_mul(2 * layers * half * (kept_bits(precision) / 8) as usize).filter(|bytes| isize::try_from(*bytes).is_ok());
        if u32::try_from(blocks).is_err() {
            return Err(too_much());
        }
        let memory = bytes.and_then(|bytes| HugePages::zeroed(bytes).ok()).ok_or_else(too_much)?;
        Ok(Self { memory, blocks, half, layers, head_dim, precision })
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// What one layer keeps of a sequence that lies in `blocks`.
    pub(crate) fn layer<'a>(&'a self, number: usize, blocks: &'a [u32]) -> Paged<'a> {
        let keys = 2 * number * self.half;
        let store = match kept_bits(self.precision) {
            32 => Numbers::Singles(bytemuck::cast_slice(&self.memory)),
            _ => Numbers::Halves(bytemuck::cast_slice(&self.memory)),
        };
        Paged { store, stride: self.block(), keys, values: keys + self.half, head_dim: self.head_dim, blocks }
    }

    /// Numbers of a block.
    fn block(&self) -> usize {
        2 * self.layers * self.half
    }

    /// Writes the rows k and v (tokens, hidden) of one layer. A sequence is told by its new tokens, those before, and the blocks it lies in;
    /// no two may write into one block. Halves are the nearest there are; what is beyond the largest becomes that.
    pub(crate) fn write<'a>(
        &mut self,
        cpu: &Cpu,
        layer: usize,
        sequences: impl Iterator<Item = (usize, usize, &'a [u32])>,
        k: &[f32],
        v: &[f32],
    ) {
        let (hidden, mut first_row, mut arrivals) = (self.half / BLOCK_TOKENS, 0, Vec::new());
        for (tokens, before, blocks) in sequences {
            let mut token = before;
            while token < before + tokens {
                let end = (token / BLOCK_TOKENS * BLOCK_TOKENS + BLOCK_TOKENS).min(before + tokens);
                let rows = (first_row + token - before) * hidden..(first_row + end - before) * hidden;
                arrivals.push(Arrival {
                    block: blocks[token / BLOCK_TOKENS],
                    place: token % BLOCK_TOKENS,
                    k: &k[rows.clone()],
                    v: &v[rows],
                });
                token = end;
            }
            first_row += tokens;
        }
        arrivals.sort_by_key(|arrival| arrival.block);
        let first = |block: u32| block as usize * self.block() + 2 * layer * self.half;
        let pieces = arrivals.iter().map(|arrival| first(arrival.block)..first(arrival.block) + 2 * self.half).collect();
        match kept_bits(self.precision) {
            32 => put::<f32>(cpu, bytemuck::cast_slice_mut(&mut self.memory), pieces, &arrivals, self.head_dim, &|row, out| {
                out.copy_from_slice(row);
            }),
            _ => put::<f16>(cpu, bytemuck::cast_slice_mut(&mut self.memory), pieces, &arrivals, self.head_dim, &|row, out| {
                attention::simd::keep(cpu.tier(), row, out);
            }),
        }
    }

    /// Copies a block, in all layers.
    pub(crate) fn copy(&mut self, from: u32, to: u32) {
        let bytes = self.block() * (kept_bits(self.precision) / 8) as usize;
        self.memory.copy_within(from as usize * bytes..(from as usize + 1) * bytes, to as usize * bytes);
    }
}

/// Tokens that come into one block, from `place` on.
struct Arrival<'a> {
    block: u32,
    place: usize,
    k: &'a [f32],
    v: &'a [f32],
}

/// Puts tokens into the pieces of the store that are theirs, as `round` makes numbers into what is kept.
fn put<T: Pod + Send + Sync>(
    cpu: &Cpu,
    store: &mut [T],
    pieces: Vec<Range<usize>>,
    arrivals: &[Arrival<'_>],
    head_dim: usize,
    round: &(dyn Fn(&[f32], &mut [T]) + Sync),
) {
    let (columns, tile) = (pieces.len(), head_dim * BLOCK_TOKENS);
    let numbers = arrivals.iter().map(|arrival| arrival.k.len() + arrival.v.len()).sum::<usize>();
    let pieces = Pieces::new(store, pieces, (1, columns), cpu.threads().count());
    // Keys lie in a cache line each, which takes as long as some multiplications.
    cpu.share(8 * numbers, &|thread| {
        let mut rounded = vec![T::zeroed(); head_dim];
        while let Some(mut column) = pieces.next(thread) {
            let Arrival { place, k, v, .. } = arrivals[column.number()];
            let piece = column.piece(0);
            let (keys, values) = piece.split_at_mut(piece.len() / 2);
            let hidden = keys.len() / BLOCK_TOKENS;
            for (head, (keys, values)) in keys.chunks_exact_mut(tile).zip(values.chunks_exact_mut(tile)).enumerate() {
                for (number, (k, v)) in k.chunks_exact(hidden).zip(v.chunks_exact(hidden)).enumerate() {
                    let (these, token) = (head * head_dim..(head + 1) * head_dim, place + number);
                    round(&v[these.clone()], &mut values[token * head_dim..][..head_dim]);
                    round(&k[these], &mut rounded);
                    for (row, key) in keys.chunks_exact_mut(BLOCK_TOKENS).zip(&rounded) {
                        row[token] = *key;
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use crate::ops::Tier;

    fn cpu() -> Cpu {
        Cpu::new(2, Tier::fastest()).unwrap()
    }

    /// What a layer keeps in a block.
    fn of(store: &KvStore, layer: usize, block: u32) -> Vec<f32> {
        let Paged { store: numbers, stride, keys, values, .. } = store.layer(layer, &[]);
        assert_eq!(values - keys, store.half);
        let these = block as usize * stride + keys..block as usize * stride + keys + 2 * store.half;
        match numbers {
            Numbers::Singles(store) => store[these].to_vec(),
            Numbers::Halves(store) => store[these].iter().map(|number| number.to_f32()).collect(),
        }
    }

    #[test]
    fn rows_lie_where_the_table_says_and_a_copy_has_them_all() {
        for precision in Precision::ALL {
            // Two heads of one number each: both tiles of a head are the tokens in order.
            let mut store = KvStore::new(precision, 2, (2, 1), 3).unwrap();
            let rows: Vec<f32> = (0..80u8).map(f32::from).collect();
            store.write(
                &cpu(),
                1,
                [(20, 0, &[1][..]), (40, 0, &[2, 0])].into_iter(),
                &[&[0.5; 40][..], &rows].concat(),
                &[&[0.5; 40][..], &rows].concat(),
            );
            let tokens = |head: usize, first: usize| (first..first + 32).map(move |token| (2 * token + head) as f32);
            let halves: Vec<f32> = tokens(0, 0).chain(tokens(1, 0)).collect();
            assert_eq!(of(&store, 1, 2), [&halves[..], &halves[..]].concat());
            assert_eq!(of(&store, 1, 0)[32..40], rows[64..].iter().copied().skip(1).step_by(2).collect::<Vec<_>>());
            store.copy(2, 1);
            assert_eq!(of(&store, 1, 1), of(&store, 1, 2));
            assert_eq!(of(&store, 0, 1), [0.0; 128]);
        }
    }

    #[test]
    fn exact_keeps_every_bit_and_the_others_the_nearest_half() {
        let row = [1.0 + f32::EPSILON, 1e-9, -70_000.0, 65_519.0, f32::NAN, f32::NEG_INFINITY];
        for (precision, expected) in [
            (Precision::Exact, row),
            // The largest half is 65,504.
            (Precision::Bf16, [1.0, 0.0, -65_504.0, 65_504.0, f32::NAN, f32::NEG_INFINITY]),
        ] {
            // Whole vectors, and some more.
            let (row, expected) = (row.repeat(7), expected.repeat(7));
            for tier in Tier::available() {
                let mut store = KvStore::new(precision, 1, (1, 42), 1).unwrap();
                store.write(&Cpu::new(2, tier).unwrap(), 0, [(1, 0, &[0][..])].into_iter(), &row, &row);
                let found = of(&store, 0, 0);
                let (keys, values): (Vec<f32>, &[f32]) = (found.iter().copied().step_by(32).take(42).collect(), &found[42 * 32..][..42]);
                assert_eq!(format!("{keys:?} {values:?}"), format!("{expected:?} {expected:?}"), "{tier:?}");
            }
        }
    }

    #[test]
    fn more_room_than_there_are_addresses_is_refused() {
        for blocks in [usize::MAX, usize::MAX / BLOCK_TOKENS, 1 << 31, 1 << 33] {
            let refused = KvStore::new(Precision::Exact, 48, (64, 128), blocks).unwrap_err();
            assert!(matches!(refused, Error::Invalid { field: "kv_tokens_max", .. }), "{refused}");
        }
    }
}
