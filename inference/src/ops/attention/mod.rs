//! out[i, d] = Σ_t softmax_t(q[i] · k[t]) · v[t, d], for some queries of one head of one sequence; q is scaled already.
//!
//! * `q` (queries, head_dim), rows `stride` apart    * `kv`: the sequence's keys and values, in tiles    * `out` (queries, head_dim)
//!
//! Keys and values are kept as singles, or as halves, which are widened when they are read: [`Numbers`].
//!
//! Query i sees the first `seen` + i tokens, which is the causal mask. Scores are sums over d in order, the highest is taken off, and values
//! are summed over t in order, all in f32. The weights' total is that of sixteen sums, each over every sixteenth token. Faster versions compute
//! exp within 2 ulp and divide otherwise; all of them keep the order, so a query's bits depend neither on the other queries nor on where the
//! blocks lie.

pub(crate) mod simd;

use half::f16;

pub(crate) use simd::Scratch;

/// Tokens in a block of the KV cache.
pub const BLOCK_TOKENS: usize = 32;
/// The most queries computed at once.
pub(crate) const QUERIES_MAX: usize = 32;
/// How many sums the weights' total is made of.
const TOTALS: usize = 16;

/// Numbers that are kept of tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbers<'a> {
    Singles(&'a [f32]),
    Halves(&'a [f16]),
}

/// The keys and values of one sequence in one layer. Each block has a tile (head_dim, `BLOCK_TOKENS`) of keys for each head, so that
/// the tokens lie side by side, and a tile (`BLOCK_TOKENS`, head_dim) of values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paged<'a> {
    /// All blocks there are, one behind the other.
    pub(crate) store: Numbers<'a>,
    /// Numbers of a block.
    pub(crate) stride: usize,
    /// Where in a block the layer's keys begin.
    pub(crate) keys: usize,
    /// Where in a block the layer's values begin.
    pub(crate) values: usize,
    pub(crate) head_dim: usize,
    /// Which blocks are the sequence's, in order.
    pub(crate) blocks: &'a [u32],
}

impl Paged<'_> {
    /// Keys of a head in the sequence's block `number`, and its values, in the store.
    fn tiles<'s, T>(&self, store: &'s [T], head: usize, number: usize) -> (&'s [T], &'s [T]) {
        let size = self.head_dim * BLOCK_TOKENS;
        let block = self.blocks[number] as usize * self.stride + head * size;
        (&store[block + self.keys..][..size], &store[block + self.values..][..size])
    }
}

/// The queries of one head, and what they see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queries<'a> {
    pub(crate) q: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) count: usize,
    /// Tokens that the first query sees; each that follows sees one more.
    pub(crate) seen: usize,
    pub(crate) kv: Paged<'a>,
    pub(crate) head: usize,
}

impl<'a> Queries<'a> {
    fn row(&self, number: usize) -> &'a [f32] {
        &self.q[number * self.stride..][..self.kv.head_dim]
    }

    /// Checks what the versions rely on.
    fn check(&self, out: &[f32]) {
        assert!(self.count > 0 && self.seen > 0, "there must be queries, and tokens for them to see");
        assert!(self.count <= QUERIES_MAX, "{} queries at once", self.count);
        assert_eq!(out.len(), self.count * self.kv.head_dim, "out must be queries × head_dim");
        assert!(self.seen + self.count - 1 <= self.kv.blocks.len() * BLOCK_TOKENS, "every token must lie in a block");
    }
}

/// The reference: as plain as can be, and the meaning of every other version.
#[cfg(test)]
fn attention(queries: &Queries<'_>, out: &mut [f32]) {
    queries.check(out);
    let head_dim = queries.kv.head_dim;
    for (number, out) in out.chunks_mut(head_dim).enumerate() {
        let store: Vec<f32> = match queries.kv.store {
            Numbers::Singles(store) => store.to_vec(),
            Numbers::Halves(store) => store.iter().map(|number| number.to_f32()).collect(),
        };
        let tiles = |t: usize| queries.kv.tiles(&store, queries.head, t / BLOCK_TOKENS);
        let score = |t| (0..head_dim).map(|d| queries.row(number)[d] * tiles(t).0[d * BLOCK_TOKENS + t % BLOCK_TOKENS]).sum::<f32>();
        let scores: Vec<f32> = (0..queries.seen + number).map(score).collect();
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = scores.iter().map(|score| (score - highest).exp()).collect();
        let total: f32 = (0..TOTALS).map(|first| weights.iter().skip(first).step_by(TOTALS).sum::<f32>()).sum();
        for (d, out) in out.iter_mut().enumerate() {
            *out = weights.iter().enumerate().map(|(t, weight)| weight / total * tiles(t).1[t % BLOCK_TOKENS * head_dim + d]).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Tier;
    use proptest::prelude::*;

    const HEADS: usize = 2;

    /// Numbers of −1 to 1.
    fn numbers(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn run(tier: Tier, queries: &Queries<'_>) -> Vec<f32> {
        let mut out = vec![f32::NAN; queries.count * queries.kv.head_dim];
        // As if something else had been there.
        let mut scratch = Scratch::default();
        scratch.fill(f32::NAN, 1 << 14);
        simd::attention(tier, queries, &mut scratch, &mut out);
        out
    }

    proptest! {
        #[test]
        fn every_tier_agrees_with_the_reference_and_each_query_with_itself_alone(
            head_dim in prop_oneof![Just(1usize), Just(15), Just(16), Just(17), Just(64), Just(80), Just(128)],
            count in 1usize..QUERIES_MAX + 1,
            seen in 1usize..66,
            head in 0..HEADS,
            halves: bool,
            seed: u32,
        ) {
            let (half, stride) = (HEADS * head_dim * BLOCK_TOKENS, HEADS * head_dim);
            let (q, mut store) = (numbers(seed, count * stride), numbers(!seed, 3 * 2 * half));
            // What is no token of the sequence is not even finite.
            let (blocks, tokens) = ([2, 0, 1], seen + count - 1);
            for (place, t) in (tokens..3 * BLOCK_TOKENS).flat_map(|t| (0..HEADS * head_dim).map(move |place| (place, t))) {
                let (tile, d, t, block) = (place / head_dim * head_dim * BLOCK_TOKENS, place % head_dim, t % BLOCK_TOKENS, blocks[t / BLOCK_TOKENS]);
                store[block as usize * 2 * half + tile + d * BLOCK_TOKENS + t] = f32::NAN;
                store[block as usize * 2 * half + half + tile + t * head_dim + d] = f32::NAN;
            }
            let rounded: Vec<f16> = store.iter().map(|number| f16::from_f32(*number)).collect();
            let store = if halves { Numbers::Halves(&rounded) } else { Numbers::Singles(&store) };
            let kv = Paged { store, stride: 2 * half, keys: 0, values: half, head_dim, blocks: &blocks };
            let queries = Queries { q: &q[head * head_dim..], stride, count, seen, kv, head };
            let mut expected = vec![0.0; count * head_dim];
            attention(&queries, &mut expected);
            for tier in Tier::available() {
                let found = run(tier, &queries);
                for (found, expected) in found.iter().zip(&expected) {
                    prop_assert!((found - expected).abs() < 2e-5, "{tier:?}: {found} should be {expected}");
                }
                for (number, found) in found.chunks(head_dim).enumerate() {
                    let one = Queries { q: &queries.q[number * stride..], count: 1, seen: seen + number, ..queries };
                    prop_assert_eq!(found, &run(tier, &one)[..], "{:?}: query {} of {}", tier, number, count);
                }
            }
        }
    }

    #[test]
    fn a_token_that_is_no_number_spoils_only_who_sees_it() {
        let (head_dim, count, spoilt) = (17, 13, 36);
        let tile = head_dim * BLOCK_TOKENS;
        let mut store = numbers(7, 4 * tile);
        store[3 * tile + spoilt % BLOCK_TOKENS * head_dim..][..head_dim].fill(f32::INFINITY);
        let kv = Paged { store: Numbers::Singles(&store), stride: 2 * tile, keys: 0, values: tile, head_dim, blocks: &[0, 1] };
        let q = numbers(9, count * head_dim);
        for tier in Tier::available() {
            let out = run(tier, &Queries { q: &q, stride: head_dim, count, seen: 30, kv, head: 0 });
            for (number, out) in out.chunks(head_dim).enumerate() {
                assert_eq!(out.iter().all(|number| number.is_finite()), 30 + number <= spoilt, "{tier:?}: query {number}");
            }
        }
    }

    #[test]
    fn one_token_is_its_own_answer_and_huge_scores_do_not_overflow() {
        let mut store = vec![f32::NAN; 2 * BLOCK_TOKENS];
        store[..2].copy_from_slice(&[1e4, -1e4]);
        store[BLOCK_TOKENS..][..2].copy_from_slice(&[3.0, 5.0]);
        let kv = Paged { store: Numbers::Singles(&store), stride: 0, keys: 0, values: BLOCK_TOKENS, head_dim: 1, blocks: &[0] };
        for tier in Tier::available() {
            let of = |seen| run(tier, &Queries { q: &[1e4], stride: 1, count: 1, seen, kv, head: 0 });
            assert_eq!((of(1), of(2)), (vec![3.0], vec![3.0]), "{tier:?}");
        }
    }
}
