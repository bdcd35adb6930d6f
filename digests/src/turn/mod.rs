//! One turn: so many bytes of two contents at once.
//!
//! * `turn`: the bytes, the same for both    * `at`: how many turns came before, in each content
//! * `sha256`: both states, overwritten      * returned: the BLAKE3 subtree of the turn at its place in each content

mod simd;

use blake3::hazmat::{ChainingValue, HasherExt};
use sha2::block_api::compress256;

/// 16 KiB: sixteen chunks of BLAKE3, one for each lane of AVX-512; stays in the nearest cache.
pub(crate) const TURN_BYTES: usize = 16 << 10;
/// Where SHA-256 begins (FIPS 180-4, 5.3.3), and BLAKE3, which took its numbers.
pub(crate) const START: [u32; 8] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// The bytes of a turn.
pub(crate) type Turn = [u8; TURN_BYTES];

/// What this processor can do. The kernels of a tier are called only where it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Any processor.
    Plain,
    /// The SHA extensions, with SSE 4.1.
    Sha,
    /// The SHA extensions and AVX-512 F.
    ShaAvx512,
}

impl Tier {
    /// The fastest that is here.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("sha") && std::is_x86_feature_detected!("sse4.1") {
            return if std::is_x86_feature_detected!("avx512f") { Tier::ShaAvx512 } else { Tier::Sha };
        }
        Tier::Plain
    }

    /// All that are here.
    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Tier::Plain, Tier::Sha, Tier::ShaAvx512].into_iter().take(Self::best() as usize + 1)
    }
}

/// Takes a turn. The tier must come from [`Tier::best`] or be below it.
pub(crate) fn take(tier: Tier, turn: &Turn, at: [u64; 2], sha256: [&mut [u32; 8]; 2]) -> [ChainingValue; 2] {
    match tier {
        Tier::Plain => {
            for state in sha256 {
                compress256(state, turn.as_chunks().0);
            }
            at.map(|at| subtree(turn, at))
        }
        Tier::Sha => {
            simd::sha256(turn, sha256);
            at.map(|at| subtree(turn, at))
        }
        Tier::ShaAvx512 => simd::all(turn, at, sha256),
    }
}

fn subtree(turn: &Turn, at: u64) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(at * TURN_BYTES as u64).update(turn);
    hasher.finalize_non_root()
}
