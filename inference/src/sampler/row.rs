//! What is asked of a whole row of logits, of which there are 50,000: each in one pass that a compiler can do several at a time.

/// Independent maxima, so that one need not wait for the other.
const LANES: usize = 16;

/// The first place of this value.
pub(super) fn first_of(row: &[f32], value: f32) -> Option<u32> {
    /// Looked through without leaving early, which goes many at a time.
    const CHUNK: usize = 256;
    let chunk = row.chunks(CHUNK).position(|chunk| chunk.iter().fold(false, |any, logit| any | (*logit == value)))?;
    let within = row[chunk * CHUNK..].iter().position(|logit| *logit == value)?;
    u32::try_from(chunk * CHUNK + within).ok()
}

/// The highest of all; −∞ for none. What is not a number is passed over.
pub(super) fn highest(row: &[f32]) -> f32 {
    let higher = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = higher(*lane, *value);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, higher)
}

/// The `count`th highest, of those above −∞; nothing if there are fewer.
pub(super) fn nth_highest(row: &[f32], count: usize) -> Option<f32> {
    let last = count.checked_sub(1)?;
    let down = |a: &f32, b: &f32| b.total_cmp(a);
    // Those that may be among them; from time to time only the highest stay, and nothing below comes in any more.
    let room = 2 * count + LANES;
    let mut best: Vec<f32> = Vec::with_capacity(room);
    let mut least = f32::NEG_INFINITY;
    for value in row {
        if *value > least {
            best.push(*value);
            if best.len() == room {
                least = *best.select_nth_unstable_by(last, down).1;
                best.truncate(count);
            }
        }
    }
    (best.len() >= count).then(|| *best.select_nth_unstable_by(last, down).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_agree_with_sorting(row in proptest::collection::vec(prop_oneof![5 => -9f32..9.0, 3 => (-3i8..3).prop_map(f32::from), 1 => Just(f32::NEG_INFINITY)], 0..300), count in 0usize..40) {
            let mut sorted: Vec<f32> = row.iter().copied().filter(|value| *value > f32::NEG_INFINITY).collect();
            sorted.sort_by(|a, b| b.total_cmp(a));
            prop_assert_eq!(highest(&row), sorted.first().copied().unwrap_or(f32::NEG_INFINITY));
            prop_assert_eq!(nth_highest(&row, count), count.checked_sub(1).and_then(|last| sorted.get(last).copied()));
        }
    }
}
