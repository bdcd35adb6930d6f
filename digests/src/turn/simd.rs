//! The kernels for x86-64. What is interleaved here is independent of each other: a round of SHA-256 waits four cycles for the round
//! before, and meanwhile the processor has room for the same round of the other state and for BLAKE3, whose vectors lie in other registers.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{all, sha256};

/// Elsewhere these tiers are never seen.
#[cfg(not(target_arch = "x86_64"))]
mod elsewhere {
    use blake3::hazmat::ChainingValue;

    use super::super::Turn;

    pub(crate) fn sha256(_: &Turn, _: [&mut [u32; 8]; 2]) {
        unreachable!("no such processor");
    }

    pub(crate) fn all(_: &Turn, _: [u64; 2], _: [&mut [u32; 8]; 2]) -> [ChainingValue; 2] {
        unreachable!("no such processor");
    }
}
#[cfg(not(target_arch = "x86_64"))]
pub(super) use elsewhere::{all, sha256};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;

    use blake3::hazmat::ChainingValue;

    use super::super::{START, TURN_BYTES, Turn};

    /// A block, of SHA-256 and of BLAKE3.
    const BLOCK_BYTES: usize = 64;
    /// A chunk of BLAKE3; a turn has one for each lane.
    const LEAF_BYTES: usize = 1 << 10;
    const LANES: usize = TURN_BYTES / LEAF_BYTES;
    const LEAF_BLOCKS: usize = LEAF_BYTES / BLOCK_BYTES;

    /// The constants of SHA-256 (FIPS 180-4, 4.2.2).
    #[rustfmt::skip]
    static K: [u32; 64] = [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    ];
    /// How far ahead of its reading memory is asked for: two turns, measured; one came too late, four gained nothing.
    const AHEAD_BYTES: usize = 2 * TURN_BYTES;
    /// Flags of BLAKE3's blocks.
    const CHUNK_START: u32 = 1;
    const CHUNK_END: u32 = 2;
    const PARENT: u32 = 4;

    /// Both states of SHA-256 over a turn.
    pub(crate) fn sha256(turn: &Turn, states: [&mut [u32; 8]; 2]) {
        // SAFETY: `Tier::Sha` was seen on this processor.
        unsafe { sha256_sha(turn, states) }
    }

    /// Both states of SHA-256, and both subtrees of BLAKE3.
    pub(crate) fn all(turn: &Turn, at: [u64; 2], states: [&mut [u32; 8]; 2]) -> [ChainingValue; 2] {
        // SAFETY: `Tier::ShaAvx512` was seen on this processor.
        unsafe { all_sha_avx512(turn, at, states) }
    }

    /// The two states in the order of the instructions: ABEF and CDGH of each.
    #[derive(Clone, Copy)]
    struct States {
        abef: [__m128i; 2],
        cdgh: [__m128i; 2],
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn load(states: [&[u32; 8]; 2]) -> States {
        let [one, other] = states.map(|s| {
            let word = |n: usize| s[n].cast_signed();
            (_mm_set_epi32(word(0), word(1), word(4), word(5)), _mm_set_epi32(word(2), word(3), word(6), word(7)))
        });
        States { abef: [one.0, other.0], cdgh: [one.1, other.1] }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn store(states: &States, into: [&mut [u32; 8]; 2]) {
        for (n, state) in into.into_iter().enumerate() {
            let (abef, cdgh) = (states.abef[n], states.cdgh[n]);
            let words = [
                _mm_extract_epi32::<3>(abef),
                _mm_extract_epi32::<2>(abef),
                _mm_extract_epi32::<3>(cdgh),
                _mm_extract_epi32::<2>(cdgh),
                _mm_extract_epi32::<1>(abef),
                _mm_extract_epi32::<0>(abef),
                _mm_extract_epi32::<1>(cdgh),
                _mm_extract_epi32::<0>(cdgh),
            ];
            *state = words.map(i32::cast_unsigned);
        }
    }

    /// Four rounds of both states: `$w` are the words, `$n` says which of the sixteen fours it is.
    macro_rules! four {
        ($s:ident, $w:ident, $n:literal) => {
            // SAFETY: `K` has sixteen fours.
            let keyed = _mm_add_epi32($w, unsafe { _mm_loadu_si128(K.as_ptr().add(4 * $n).cast()) });
            $s.cdgh[0] = _mm_sha256rnds2_epu32($s.cdgh[0], $s.abef[0], keyed);
            $s.cdgh[1] = _mm_sha256rnds2_epu32($s.cdgh[1], $s.abef[1], keyed);
            let keyed = _mm_shuffle_epi32::<0x0e>(keyed);
            $s.abef[0] = _mm_sha256rnds2_epu32($s.abef[0], $s.cdgh[0], keyed);
            $s.abef[1] = _mm_sha256rnds2_epu32($s.abef[1], $s.cdgh[1], keyed);
        };
    }

    /// The next four words, in place of the oldest.
    macro_rules! next {
        ($a:ident, $b:ident, $c:ident, $d:ident) => {
            $a = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32($a, $b), _mm_alignr_epi8::<4>($d, $c)), $d);
        };
    }

    /// One block of SHA-256 at `$from`, for both states, with eight pieces of other work in between.
    macro_rules! block {
        ($s:ident, $from:expr, $e0:block, $e1:block, $e2:block, $e3:block, $e4:block, $e5:block, $e6:block, $e7:block) => {{
            let (from, before): (*const u8, _) = ($from, $s);
            let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
            // SAFETY: whoever calls has a whole block there.
            let word = |n: usize| unsafe { _mm_shuffle_epi8(_mm_loadu_si128(from.add(16 * n).cast()), swap) };
            let (mut a, mut b, mut c, mut d) = (word(0), word(1), word(2), word(3));
            four!($s, a, 0);
            four!($s, b, 1);
            $e0
            four!($s, c, 2);
            four!($s, d, 3);
            $e1
            next!(a, b, c, d);
            four!($s, a, 4);
            next!(b, c, d, a);
            four!($s, b, 5);
            $e2
            next!(c, d, a, b);
            four!($s, c, 6);
            next!(d, a, b, c);
            four!($s, d, 7);
            $e3
            next!(a, b, c, d);
            four!($s, a, 8);
            next!(b, c, d, a);
            four!($s, b, 9);
            $e4
            next!(c, d, a, b);
            four!($s, c, 10);
            next!(d, a, b, c);
            four!($s, d, 11);
            $e5
            next!(a, b, c, d);
            four!($s, a, 12);
            next!(b, c, d, a);
            four!($s, b, 13);
            $e6
            next!(c, d, a, b);
            four!($s, c, 14);
            next!(d, a, b, c);
            four!($s, d, 15);
            $e7
            for n in 0..2 {
                $s.abef[n] = _mm_add_epi32($s.abef[n], before.abef[n]);
                $s.cdgh[n] = _mm_add_epi32($s.cdgh[n], before.cdgh[n]);
            }
        }};
    }

    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn sha256_sha(turn: &Turn, states: [&mut [u32; 8]; 2]) {
        let [one, other] = states;
        let mut s = load([one, other]);
        for block in turn.as_chunks::<BLOCK_BYTES>().0 {
            block!(s, block.as_ptr(), {}, {}, {}, {}, {}, {}, {}, {});
        }
        store(&s, [one, other]);
    }

    /// One row of BLAKE3's state: words added to it, where there are some.
    macro_rules! plus {
        ($v:ident, [$a0:literal $a1:literal $a2:literal $a3:literal], $m:ident [$x0:literal $x1:literal $x2:literal $x3:literal]) => {
            $v[$a0] = _mm512_add_epi32($v[$a0], $m[$x0]);
            $v[$a1] = _mm512_add_epi32($v[$a1], $m[$x1]);
            $v[$a2] = _mm512_add_epi32($v[$a2], $m[$x2]);
            $v[$a3] = _mm512_add_epi32($v[$a3], $m[$x3]);
        };
    }

    /// A quarter of a quarter-round, on four columns or diagonals of sixteen states at once: a += b, then c is mixed with a and turned.
    macro_rules! mix {
        ($v:ident, $turn:literal, $([$a:literal $b:literal $c:literal])*) => {
            $($v[$a] = _mm512_add_epi32($v[$a], $v[$b]);)*
            $($v[$c] = _mm512_xor_si512($v[$c], $v[$a]);)*
            $($v[$c] = _mm512_ror_epi32::<$turn>($v[$c]);)*
        };
    }

    /// Keeps what was mixed where it stands among the rounds of SHA-256: the compiler would put all of one after all of the other, too far
    /// apart for the processor to see both.
    macro_rules! here {
        ($s:ident, $v:ident, $c0:literal, $c1:literal, $c2:literal, $c3:literal) => {
            // SAFETY: no instruction at all; what it takes it gives back.
            unsafe {
                asm!(
                    "/* {} {} {} {} {} {} */",
                    inout(xmm_reg) $s.abef[0],
                    inout(xmm_reg) $s.abef[1],
                    inout(zmm_reg) $v[$c0],
                    inout(zmm_reg) $v[$c1],
                    inout(zmm_reg) $v[$c2],
                    inout(zmm_reg) $v[$c3],
                    options(nomem, nostack, preserves_flags)
                );
            }
        };
    }

    /// A round of BLAKE3, with the message words in this order, beside a block of SHA-256.
    macro_rules! round {
        ($s:ident, $from:expr, $v:ident, $m:ident, [$m0:literal $m1:literal $m2:literal $m3:literal $m4:literal $m5:literal $m6:literal $m7:literal
            $m8:literal $m9:literal $m10:literal $m11:literal $m12:literal $m13:literal $m14:literal $m15:literal]) => {
            block!(
                $s,
                $from,
                {
                    plus!($v, [0 1 2 3], $m[$m0 $m2 $m4 $m6]);
                    mix!($v, 16, [0 4 12] [1 5 13] [2 6 14] [3 7 15]);
                    here!($s, $v, 12, 13, 14, 15);
                },
                {
                    mix!($v, 12, [8 12 4] [9 13 5] [10 14 6] [11 15 7]);
                    here!($s, $v, 4, 5, 6, 7);
                },
                {
                    plus!($v, [0 1 2 3], $m[$m1 $m3 $m5 $m7]);
                    mix!($v, 8, [0 4 12] [1 5 13] [2 6 14] [3 7 15]);
                    here!($s, $v, 12, 13, 14, 15);
                },
                {
                    mix!($v, 7, [8 12 4] [9 13 5] [10 14 6] [11 15 7]);
                    here!($s, $v, 4, 5, 6, 7);
                },
                {
                    plus!($v, [0 1 2 3], $m[$m8 $m10 $m12 $m14]);
                    mix!($v, 16, [0 5 15] [1 6 12] [2 7 13] [3 4 14]);
                    here!($s, $v, 12, 13, 14, 15);
                },
                {
                    mix!($v, 12, [10 15 5] [11 12 6] [8 13 7] [9 14 4]);
                    here!($s, $v, 4, 5, 6, 7);
                },
                {
                    plus!($v, [0 1 2 3], $m[$m9 $m11 $m13 $m15]);
                    mix!($v, 8, [0 5 15] [1 6 12] [2 7 13] [3 4 14]);
                    here!($s, $v, 12, 13, 14, 15);
                },
                {
                    mix!($v, 7, [10 15 5] [11 12 6] [8 13 7] [9 14 4]);
                    here!($s, $v, 4, 5, 6, 7);
                }
            );
        };
    }

    /// The same with nothing beside it; takes no block.
    macro_rules! bare_round {
        ($s:ident, $from:expr, $v:ident, $m:ident, [$m0:literal $m1:literal $m2:literal $m3:literal $m4:literal $m5:literal $m6:literal
            $m7:literal $m8:literal $m9:literal $m10:literal $m11:literal $m12:literal $m13:literal $m14:literal $m15:literal]) => {
            plus!($v, [0 1 2 3], $m[$m0 $m2 $m4 $m6]);
            mix!($v, 16, [0 4 12] [1 5 13] [2 6 14] [3 7 15]);
            mix!($v, 12, [8 12 4] [9 13 5] [10 14 6] [11 15 7]);
            plus!($v, [0 1 2 3], $m[$m1 $m3 $m5 $m7]);
            mix!($v, 8, [0 4 12] [1 5 13] [2 6 14] [3 7 15]);
            mix!($v, 7, [8 12 4] [9 13 5] [10 14 6] [11 15 7]);
            plus!($v, [0 1 2 3], $m[$m8 $m10 $m12 $m14]);
            mix!($v, 16, [0 5 15] [1 6 12] [2 7 13] [3 4 14]);
            mix!($v, 12, [10 15 5] [11 12 6] [8 13 7] [9 14 4]);
            plus!($v, [0 1 2 3], $m[$m9 $m11 $m13 $m15]);
            mix!($v, 8, [0 5 15] [1 6 12] [2 7 13] [3 4 14]);
            mix!($v, 7, [10 15 5] [11 12 6] [8 13 7] [9 14 4]);
        };
    }

    /// The seven rounds with the orders of their words: the odd ones as `$odd!`, the even ones as `$even!`.
    macro_rules! seven {
        ($odd:ident $even:ident($($with:tt)*)) => {
            $odd!($($with)*, [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]);
            $even!($($with)*, [2 6 3 10 7 0 4 13 1 11 12 5 9 14 15 8]);
            $odd!($($with)*, [3 4 10 12 13 2 7 14 6 5 9 0 11 15 8 1]);
            $even!($($with)*, [10 7 12 9 14 3 13 15 4 0 11 2 5 8 1 6]);
            $odd!($($with)*, [12 13 9 11 15 10 14 8 7 2 5 3 0 1 6 4]);
            $even!($($with)*, [9 14 11 5 8 12 15 1 13 3 0 10 2 6 4 7]);
            $odd!($($with)*, [11 15 5 0 1 9 8 6 14 10 2 12 3 4 7 13]);
        };
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn all_lanes(word: u32) -> __m512i {
        _mm512_set1_epi32(word.cast_signed())
    }

    /// What BLAKE3 begins a block with.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn begin(h: &[__m512i; 8], counter: [__m512i; 2], flags: u32) -> [__m512i; 16] {
        let iv = |n: usize| all_lanes(START[n]);
        let (length, flags) = (all_lanes(BLOCK_BYTES as u32), all_lanes(flags));
        [h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], iv(0), iv(1), iv(2), iv(3), counter[0], counter[1], length, flags]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn end(v: &[__m512i; 16]) -> [__m512i; 8] {
        std::array::from_fn(|n| _mm512_xor_si512(v[n], v[n + 8]))
    }

    /// The low and high words of the counters of sixteen leaves.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn counters(at: u64) -> [__m512i; 2] {
        let first = at * LANES as u64;
        let low = _mm512_add_epi32(all_lanes(first as u32), _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
        // Sixteen of them never carry: the first is a multiple of sixteen.
        [low, all_lanes((first >> 32) as u32)]
    }

    /// Four words of a block of all sixteen leaves: of each lane one leaf.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn gather(from: *const u8) -> [__m512i; 4] {
        // SAFETY: whoever calls has sixteen leaves there.
        let words = |leaf: usize| unsafe { _mm_loadu_si128(from.add(leaf * LEAF_BYTES).cast()) };
        let rows: [__m512i; 4] = std::array::from_fn(|n| {
            let row = _mm512_castsi128_si512(words(n));
            let row = _mm512_inserti32x4::<1>(row, words(n + 4));
            let row = _mm512_inserti32x4::<2>(row, words(n + 8));
            _mm512_inserti32x4::<3>(row, words(n + 12))
        });
        let (low, high) = (_mm512_unpacklo_epi32(rows[0], rows[1]), _mm512_unpackhi_epi32(rows[0], rows[1]));
        let (low2, high2) = (_mm512_unpacklo_epi32(rows[2], rows[3]), _mm512_unpackhi_epi32(rows[2], rows[3]));
        [
            _mm512_unpacklo_epi64(low, low2),
            _mm512_unpackhi_epi64(low, low2),
            _mm512_unpacklo_epi64(high, high2),
            _mm512_unpackhi_epi64(high, high2),
        ]
    }

    /// What parents are made of: the words of neighbours, first those among `left`, then those among `right`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn pairs(left: &[__m512i; 8], right: &[__m512i; 8]) -> [__m512i; 16] {
        let even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
        let odd = _mm512_add_epi32(even, all_lanes(1));
        std::array::from_fn(|n| match n {
            0..8 => _mm512_permutex2var_epi32(left[n], even, right[n]),
            _ => _mm512_permutex2var_epi32(left[n - 8], odd, right[n - 8]),
        })
    }

    #[target_feature(enable = "sha,sse4.1,ssse3,avx512f")]
    fn all_sha_avx512(turn: &Turn, at: [u64; 2], states: [&mut [u32; 8]; 2]) -> [ChainingValue; 2] {
        let [one, other] = states;
        let mut s = load([one, other]);
        let counters = at.map(|at| counters(at));
        let iv = std::array::from_fn(|n| all_lanes(START[n]));
        let mut h = [iv; 2];
        let mut m = [_mm512_setzero_si512(); 16];
        // SHA-256 goes through the turn block by block, sixteen of them while BLAKE3 takes one block of every leaf.
        let mut next = turn.as_ptr();
        let mut step = || {
            let from = next;
            next = next.wrapping_add(BLOCK_BYTES);
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD_BYTES).cast());
            from
        };
        for n in 0..LEAF_BLOCKS {
            let flags = if n == 0 {
                CHUNK_START
            } else if n == LEAF_BLOCKS - 1 {
                CHUNK_END
            } else {
                0
            };
            let from = turn.as_ptr().wrapping_add(n * BLOCK_BYTES);
            block!(
                s,
                step(),
                { m[..4].copy_from_slice(&gather(from)) },
                {},
                { m[4..8].copy_from_slice(&gather(from.wrapping_add(16))) },
                {},
                { m[8..12].copy_from_slice(&gather(from.wrapping_add(32))) },
                {},
                { m[12..].copy_from_slice(&gather(from.wrapping_add(48))) },
                {}
            );
            let mut v = begin(&h[0], counters[0], flags);
            seven!(round round(s, step(), v, m));
            h[0] = end(&v);
            let mut v = begin(&h[1], counters[1], flags);
            seven!(round round(s, step(), v, m));
            h[1] = end(&v);
        }
        // Four levels of parents, and four blocks of SHA-256 beside each.
        let (mut left, mut right) = (h[0], h[1]);
        for _ in 0..LANES.ilog2() {
            let m = pairs(&left, &right);
            let mut v = begin(&iv, [_mm512_setzero_si512(); 2], PARENT);
            seven!(round bare_round(s, step(), v, m));
            left = end(&v);
            right = left;
        }
        store(&s, [one, other]);
        let lanes = left.map(|word| _mm512_castsi512_si128(word));
        let mut subtrees = [[0; 32]; 2];
        for (n, word) in lanes.into_iter().enumerate() {
            subtrees[0][4 * n..][..4].copy_from_slice(&_mm_extract_epi32::<0>(word).to_le_bytes());
            subtrees[1][4 * n..][..4].copy_from_slice(&_mm_extract_epi32::<1>(word).to_le_bytes());
        }
        subtrees
    }
}
