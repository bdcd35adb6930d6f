//! Chance without state: the draw for a place can be repeated at any time, in any order.

/// A number in [0, 1) that depends on the seed, the number of the answer and the token's place alone.
pub(crate) fn uniform(seed: u64, choice: u32, place: u64) -> f64 {
    let [a, b, ..] = philox4x32([place as u32, (place >> 32) as u32, choice, 0], [seed as u32, (seed >> 32) as u32]);
    let bits = u64::from(a) << 32 | u64::from(b);
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a keyed counter, without state.
fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let first = u64::from(counter[0]) * 0xD251_1F53;
        let second = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(second >> 32) as u32 ^ counter[1] ^ key[0], second as u32, (first >> 32) as u32 ^ counter[3] ^ key[1], first as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_numbers() {
        // Random123's known answers.
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    }

    #[test]
    fn seeds_answers_and_places_give_numbers_of_their_own() {
        let all = [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1), (1 << 32, 0, 0), (1, 0, 1 << 32)]
            .map(|(seed, choice, place)| uniform(seed, choice, place));
        for (place, number) in all.iter().enumerate() {
            assert!((0.0..1.0).contains(number) && !all[..place].contains(number));
        }
    }
}
