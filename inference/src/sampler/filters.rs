//! Which candidates may be drawn. Each is a token and its weight, the probability up to a common factor. What a filter leaves is in
//! an order that depends on tokens and weights alone, so that the draw does not depend on how they were selected.

use std::cmp::Ordering;

type Candidates = Vec<(u32, f32)>;

/// Keeps the `count` heaviest, heaviest first.
pub(super) fn keep_likeliest(candidates: &mut Candidates, count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, by_weight);
        candidates.truncate(count);
    }
    candidates.sort_unstable_by(by_weight);
}

/// Keeps the smallest set of heaviest candidates that holds `top_p` of the weight, heaviest first.
pub(super) fn keep_nucleus(candidates: &mut Candidates, top_p: f32) {
    /// The nucleus is nearly always smaller than this; sorting all 50,000 takes milliseconds.
    const LIKELY_NUCLEUS: usize = 1024;
    let wanted = total(candidates) * f64::from(top_p);
    let mut sorted = candidates.len();
    if candidates.len() > LIKELY_NUCLEUS {
        candidates.select_nth_unstable_by(LIKELY_NUCLEUS, by_weight);
        if total(&candidates[..LIKELY_NUCLEUS]) >= wanted {
            sorted = LIKELY_NUCLEUS;
        }
    }
    candidates.truncate(sorted);
    candidates.sort_unstable_by(by_weight);
    keep_until(candidates, wanted);
}

/// Keeps those at least `min_p` as heavy as the heaviest.
pub(super) fn keep_likely(candidates: &mut Candidates, min_p: f32) {
    let heaviest = candidates.iter().map(|(_, weight)| *weight).fold(0.0, f32::max);
    candidates.retain(|(_, weight)| *weight >= min_p * heaviest);
}

/// Keeps the candidates whose surprise (−ln p) is nearest to the expected one, the entropy, until they hold `typical_p` of the weight.
pub(super) fn keep_typical(candidates: &mut Candidates, typical_p: f32) {
    let total = total(candidates);
    let surprise = |weight: f32| -(f64::from(weight) / total).ln();
    let expected: f64 =
        candidates.iter().filter(|(_, weight)| *weight > 0.0).map(|(_, weight)| f64::from(*weight) / total * surprise(*weight)).sum();
    let distance = |weight: f32| (surprise(weight) - expected).abs();
    candidates.sort_unstable_by(|a, b| distance(a.1).total_cmp(&distance(b.1)).then(a.0.cmp(&b.0)));
    keep_until(candidates, total * f64::from(typical_p));
}

/// Keeps the first until they weigh `wanted`, the one included with which they do.
fn keep_until(candidates: &mut Candidates, wanted: f64) {
    let mut reached = 0.0;
    let last = candidates.iter().position(|(_, weight)| {
        reached += f64::from(*weight);
        reached >= wanted
    });
    candidates.truncate(last.map_or(candidates.len(), |last| last + 1));
}

fn total(candidates: &[(u32, f32)]) -> f64 {
    candidates.iter().map(|(_, weight)| f64::from(*weight)).sum()
}

fn by_weight(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}
