//! Which candidates may be drawn. Each is a token and its weight, the probability up to a common factor. What a filter leaves is in
//! an order that depends on tokens and weights alone, so that the draw does not depend on how they were selected.

use std::cmp::Ordering;

use super::by_weight;

pub(super) type Candidates = Vec<(u32, f32)>;

/// What is looked for is nearly always among so many; sorting all 50,000 takes milliseconds.
const LIKELY_ENOUGH: usize = 1024;

/// Keeps the `count` heaviest, heaviest first.
pub(super) fn keep_likeliest(candidates: &mut Candidates, count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, by_weight);
        candidates.truncate(count);
    }
    candidates.sort_unstable_by(by_weight);
}

/// Keeps the smallest set of heaviest candidates that weighs `wanted`, heaviest first; all if they do not weigh so much.
pub(super) fn keep_nucleus(candidates: &mut Candidates, wanted: f64) {
    keep_first(candidates, by_weight, |(_, weight)| *weight, wanted);
}

/// The same of all tokens by their `weights`, the heaviest of which is 1.
pub(super) fn nucleus_of(weights: &[f32], wanted: f64, candidates: &mut Candidates) {
    // Most weigh next to nothing and need not even be looked at, where the others are enough.
    for least in [1.0 / 1024.0, 0.0] {
        candidates.clear();
        candidates.extend((0..).zip(weights.iter().copied()).filter(|(_, weight)| *weight > least));
        // Near enough that only rounding could tell, it is not taken for certain.
        if least == 0.0 || total(candidates) > wanted * (1.0 + 1e-9) {
            return keep_nucleus(candidates, wanted);
        }
    }
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
    // Each logarithm once: it is wanted for the mean, and for every comparison.
    let mut surprises: Vec<(u32, f32, f64)> = candidates.iter().map(|(token, weight)| (*token, *weight, surprise(*weight))).collect();
    let expected: f64 =
        surprises.iter().filter(|(_, weight, _)| *weight > 0.0).map(|(_, weight, surprise)| f64::from(*weight) / total * surprise).sum();
    for (_, _, surprise) in &mut surprises {
        *surprise = (*surprise - expected).abs();
    }
    keep_first(&mut surprises, |a, b| a.2.total_cmp(&b.2).then(a.0.cmp(&b.0)), |(_, weight, _)| *weight, total * f64::from(typical_p));
    candidates.clear();
    candidates.extend(surprises.into_iter().map(|(token, weight, _)| (token, weight)));
}

/// Keeps the first by `order` until they weigh `wanted`, the one included with which they do. No two are equal by `order`.
fn keep_first<T>(candidates: &mut Vec<T>, order: impl Fn(&T, &T) -> Ordering, weight: impl Fn(&T) -> f32, wanted: f64) {
    let reaches = |sorted: &[T]| {
        let mut reached = 0.0;
        sorted.iter().position(|candidate| {
            reached += f64::from(weight(candidate));
            reached >= wanted
        })
    };
    if candidates.len() > LIKELY_ENOUGH {
        candidates.select_nth_unstable_by(LIKELY_ENOUGH, &order);
        candidates[..LIKELY_ENOUGH].sort_unstable_by(&order);
        if let Some(last) = reaches(&candidates[..LIKELY_ENOUGH]) {
            candidates.truncate(last + 1);
            return;
        }
    }
    candidates.sort_unstable_by(&order);
    if let Some(last) = reaches(candidates) {
        candidates.truncate(last + 1);
    }
}

pub(super) fn total(candidates: &Candidates) -> f64 {
    candidates.iter().map(|(_, weight)| f64::from(*weight)).sum()
}
