//! Logits to one token. The order is: bias, presence and frequency penalties, repetition penalty, temperature, top-k, top-p, min-p,
//! typical-p, draw. The draw depends on the seed, the number of the answer and the token's place alone, so batches, order and retries
//! cannot change it.

mod filters;
mod logprobs;
#[cfg(test)]
mod reference;
pub(crate) mod rng;
mod row;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use filters::Candidates;
pub(crate) use logprobs::LogProbs;

use crate::request::Sampling;

/// Scaled logits nearer to each other than this may weigh the same.
const ALIKE: f32 = 1e-4;
/// Below this, weights lose digits, and many that differ weigh the same.
const TELLS_APART: f32 = -80.0;

/// One answer's way of choosing.
#[derive(Debug)]
pub(crate) struct Sampler {
    settings: Sampling,
    /// Which of the answers to its prompt it is.
    choice: u32,
    /// How often each token has been generated; counted only where a penalty asks for it.
    made: HashMap<u32, u32>,
    /// The tokens of prompt and answer; noted only where the repetition penalty asks for it.
    seen: HashSet<u32>,
    /// A row of adjusted logits, later weights; kept between calls for its memory, as are the candidates.
    row: Vec<f32>,
    candidates: Candidates,
}

impl Sampler {
    pub(crate) fn new(settings: &Sampling, prompt: &[u32], choice: u32) -> Self {
        let seen = if settings.repetition_penalty == 1.0 { HashSet::new() } else { prompt.iter().copied().collect() };
        Self { settings: settings.clone(), choice, made: HashMap::new(), seen, row: Vec::new(), candidates: Vec::new() }
    }

    /// Chooses the token for `place` (the number of tokens before it), none of `barred`. `logits` are raw, and numbers; rows without a token
    /// are −∞ in them. `None` if every token is barred.
    pub(crate) fn choose(&mut self, logits: &[f32], place: u64, barred: &[u32]) -> Option<u32> {
        let plain = self.settings.logit_bias.is_empty() && self.made.is_empty() && self.seen.is_empty() && barred.is_empty();
        let token = if plain && self.settings.temperature <= 0.0 {
            likeliest(logits)?
        } else {
            self.adjust(logits, barred);
            if self.settings.temperature <= 0.0 { likeliest(&self.row)? } else { self.draw(place)? }
        };
        if self.settings.presence_penalty != 0.0 || self.settings.frequency_penalty != 0.0 {
            *self.made.entry(token).or_default() += 1;
        }
        if self.settings.repetition_penalty != 1.0 {
            self.seen.insert(token);
        }
        Some(token)
    }

    /// Fills the row: the logits moved by bias and penalties, which concern few of them; those of barred tokens are −∞.
    fn adjust(&mut self, logits: &[f32], barred: &[u32]) {
        let Self { settings, made, seen, row, .. } = self;
        row.clear();
        row.extend_from_slice(logits);
        // The last of several for one token counts.
        let mut moves: HashMap<u32, f32> = settings.logit_bias.iter().copied().collect();
        for (token, times) in made {
            *moves.entry(*token).or_default() -= settings.presence_penalty + settings.frequency_penalty * *times as f32;
        }
        let mut change = |token: u32, to: &dyn Fn(f32) -> f32| {
            if let Some(logit) = row.get_mut(token as usize) {
                *logit = to(*logit);
            }
        };
        for (token, by) in moves {
            change(token, &|logit| logit + by);
        }
        let penalty = settings.repetition_penalty;
        for token in seen.iter() {
            change(*token, &|logit| if logit > 0.0 { logit / penalty } else { logit * penalty });
        }
        for token in barred {
            change(*token, &|_| f32::NEG_INFINITY);
        }
    }

    /// Draws from the row. `None` if nothing in it can be drawn.
    fn draw(&mut self, place: u64) -> Option<u32> {
        let Sampling { temperature, top_k, top_p, min_p, typical_p, seed, .. } = self.settings;
        let Self { row, candidates, choice, .. } = self;
        let highest = row::highest(row);
        if highest == f32::NEG_INFINITY {
            return None;
        }
        let scaled = |logit: f32| (logit - highest) / temperature;
        let draw = rng::uniform(seed, *choice, place);
        let top_k = top_k.map(|k| k as usize).filter(|k| *k < row.len());
        // Where only the likeliest are asked for, the others need no weight, which is what takes time. What cannot be told apart from
        // the least of them without its weight gets one: the weights decide, not the logits.
        let of_k = top_k.and_then(|k| row::nth_highest(row, k)).map(scaled).filter(|least| *least > TELLS_APART);
        let of_min_p = (min_p > 0.0 && top_p >= 1.0 && top_k.is_none()).then(|| min_p.ln()).filter(|least| *least > TELLS_APART);
        candidates.clear();
        if let Some(least) = of_k.or(of_min_p) {
            let logits = (0..).zip(row.iter().map(|logit| scaled(*logit)));
            candidates.extend(logits.filter(|(_, logit)| *logit >= least - ALIKE).map(|(token, logit)| (token, logit.exp())));
        } else {
            // From here on the row holds weights: probabilities up to a common factor.
            for logit in row.iter_mut() {
                *logit = scaled(*logit).exp();
            }
            let filtered = self.settings.top_k.is_some() || top_p < 1.0 || min_p > 0.0 || typical_p < 1.0;
            if !filtered {
                return pick((0..row.len() as u32).zip(row.iter().copied()), draw);
            }
            if self.settings.top_k.is_none() && top_p < 1.0 {
                let wanted = row.iter().map(|weight| f64::from(*weight)).sum::<f64>() * f64::from(top_p);
                filters::nucleus_of(row, wanted, candidates);
            } else {
                candidates.extend((0..).zip(row.iter().copied()));
            }
        }
        if let Some(k) = self.settings.top_k {
            filters::keep_likeliest(candidates, k as usize);
            if top_p < 1.0 {
                let wanted = filters::total(candidates) * f64::from(top_p);
                filters::keep_nucleus(candidates, wanted);
            }
        }
        if min_p > 0.0 {
            filters::keep_likely(candidates, min_p);
        }
        if typical_p < 1.0 {
            filters::keep_typical(candidates, typical_p);
        }
        pick(candidates.iter().copied(), draw)
    }
}

/// The candidate at which a part `draw` of the whole weight is passed.
fn pick(candidates: impl DoubleEndedIterator<Item = (u32, f32)> + Clone, draw: f64) -> Option<u32> {
    let total: f64 = candidates.clone().map(|(_, weight)| f64::from(weight)).sum();
    let mut left = draw * total;
    for (token, weight) in candidates.clone() {
        left -= f64::from(weight);
        if left < 0.0 {
            return Some(token);
        }
    }
    // Rounding may leave a crumb at the end; it belongs to the last token that can be drawn at all.
    candidates.rev().find(|(_, weight)| *weight > 0.0).map(|(token, _)| token)
}

/// The token with the highest logit; of equals the lowest id. `None` if there is none above −∞.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let highest = row::highest(logits);
    if highest == f32::NEG_INFINITY {
        return None;
    }
    row::first_of(logits, highest)
}

/// The heavier first, of equals the lower id.
fn by_weight(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use proptest::prelude::*;

    fn settings(temperature: f32) -> Sampling {
        Sampling { temperature, ..Sampling::default() }
    }

    fn sampler(settings: &Sampling) -> Sampler {
        Sampler::new(settings, &[], 0)
    }

    /// How often each token is drawn over many places.
    fn shares(settings: &Sampling, logits: &[f32]) -> Vec<f64> {
        // Fewer draws of longer rows.
        let draws = if logits.len() > 100 { 1_000 } else { 20_000 };
        let mut sampler = sampler(settings);
        let mut counts = vec![0.0; logits.len()];
        for place in 0..draws {
            counts[sampler.choose(logits, place, &[]).unwrap() as usize] += 1.0 / draws as f64;
        }
        counts
    }

    #[test]
    fn temperature_zero_takes_the_first_of_the_highest() {
        let mut sampler = sampler(&settings(0.0));
        assert_eq!(sampler.choose(&[1.0, 3.0, f32::NEG_INFINITY, 3.0], 0, &[]), Some(1));
        assert_eq!(sampler.choose(&[f32::NEG_INFINITY; 2], 0, &[]), None);
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits = [0.0, 2f32.ln(), 5f32.ln(), f32::NEG_INFINITY];
        for (share, expected) in shares(&settings(1.0), &logits).iter().zip([0.125, 0.25, 0.625, 0.0]) {
            assert!((share - expected).abs() < 0.015, "{share} should be near {expected}");
        }
        // At temperature 0.5 probabilities go with the square.
        for (share, expected) in shares(&settings(0.5), &logits).iter().zip([1.0 / 30.0, 4.0 / 30.0, 25.0 / 30.0, 0.0]) {
            assert!((share - expected).abs() < 0.015, "{share} should be near {expected}");
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let logits = [0.0, 2f32.ln(), 5f32.ln(), f32::NEG_INFINITY];
        let of = |top_k, top_p| shares(&Sampling { top_k, top_p, ..settings(1.0) }, &logits);
        assert_eq!(of(Some(1), 1.0), [0.0, 0.0, 1.0, 0.0].map(|share: f64| share * of(Some(1), 1.0)[2]));
        let two = of(Some(2), 1.0);
        assert!(two[0] == 0.0 && (two[1] - 2.0 / 7.0).abs() < 0.015);
        let nucleus = of(None, 0.7);
        assert!(nucleus[0] == 0.0 && (nucleus[1] - 2.0 / 7.0).abs() < 0.015);
        assert!(of(None, 0.5)[2] > 0.999);
    }

    #[test]
    fn a_nucleus_wider_than_the_short_cut_is_kept_whole() {
        let flat = vec![0.0; 5000];
        let drawn = shares(&Sampling { top_p: 0.9, ..settings(1.0) }, &flat);
        assert!(drawn[4400..4500].iter().sum::<f64>() > 0.0 && drawn[4501..].iter().sum::<f64>() == 0.0);
    }

    #[test]
    fn min_p_and_typical_p_cut_by_likelihood_and_by_surprise() {
        let logits = [1f32, 2.0, 5.0, 8.0].map(f32::ln);
        let of = |change: &dyn Fn(&mut Sampling)| {
            let mut settings = settings(1.0);
            change(&mut settings);
            shares(&settings, &logits).iter().map(|share| *share > 0.0).collect::<Vec<bool>>()
        };
        assert_eq!(of(&|settings| settings.min_p = 0.2), [false, true, true, true]);
        assert_eq!(of(&|settings| settings.min_p = 0.5), [false, false, true, true]);
        assert_eq!(of(&|settings| settings.min_p = 1.0), [false, false, false, true]);
        // The entropy is 1.12 nats; 5/16 is 0.04 away from it, 8/16 is 0.43, 2/16 is 0.96.
        assert_eq!(of(&|settings| settings.typical_p = 0.3), [false, false, true, false]);
        assert_eq!(of(&|settings| settings.typical_p = 0.8), [false, false, true, true]);
        assert_eq!(of(&|settings| settings.typical_p = 0.9), [false, true, true, true]);
        // Top-p goes first, and what it leaves is all that min-p and typical-p see.
        assert_eq!(of(&|settings| (settings.top_p, settings.typical_p) = (0.8, 0.5)), [false, false, false, true]);
    }

    #[test]
    fn answers_to_one_prompt_differ_and_each_can_be_had_again() {
        let logits = [0.0; 50];
        let answer = |choice| {
            let mut sampler = Sampler::new(&settings(1.0), &[], choice);
            (0..20).map(|place| sampler.choose(&logits, place, &[]).unwrap()).collect::<Vec<u32>>()
        };
        assert_ne!(answer(0), answer(1));
        assert_eq!(answer(1), answer(1));
    }

    #[test]
    fn what_is_barred_is_not_drawn_at_any_temperature() {
        for temperature in [0.0, 1.0] {
            let mut sampler = sampler(&Sampling { logit_bias: vec![(2, 100.0)], ..settings(temperature) });
            assert_eq!(sampler.choose(&[0.0, 1e3, 0.0], 0, &[1]), Some(2));
            assert_eq!(sampler.choose(&[0.0, 1.0, 0.0], 0, &[0, 1, 2]), None);
        }
    }

    #[test]
    fn what_the_text_has_already_is_less_likely_by_its_factor() {
        let with = |logits: &[f32]| Sampler::new(&Sampling { repetition_penalty: 2.0, ..settings(0.0) }, &[0], 0).choose(logits, 1, &[]);
        assert_eq!(with(&[3.0, 2.0]), Some(1), "halved where positive");
        assert_eq!(with(&[5.0, 2.0]), Some(0));
        assert_eq!(with(&[-1.0, -1.5]), Some(1), "doubled where negative");
        let mut answer = sampler(&Sampling { repetition_penalty: 2.0, ..settings(0.0) });
        assert_eq!([0, 1, 2].map(|place| answer.choose(&[1.0, 0.9, 0.8], place, &[]).unwrap()), [0, 1, 2], "the answer counts too");
        let mut biased = Sampler::new(&Sampling { repetition_penalty: 2.0, logit_bias: vec![(0, 3.0)], ..settings(0.0) }, &[0], 0);
        assert_eq!(biased.choose(&[1.0, 1.5], 1, &[]), Some(0), "bias comes before: (1 + 3) / 2");
    }

    #[test]
    fn bias_and_penalties_move_the_choice() {
        let logits = [1.0, 0.5, 0.0];
        let mut biased = sampler(&Sampling { logit_bias: vec![(2, 5.0), (0, -100.0)], ..settings(0.0) });
        assert_eq!(biased.choose(&logits, 0, &[]), Some(2));
        let mut varied = sampler(&Sampling { presence_penalty: 0.6, ..settings(0.0) });
        assert_eq!([0, 1, 2].map(|place| varied.choose(&logits, place, &[]).unwrap()), [0, 1, 0]);
        let mut ever_more = sampler(&Sampling { frequency_penalty: 0.4, ..settings(0.0) });
        assert_eq!([0, 1, 2, 3].map(|place| ever_more.choose(&logits, place, &[]).unwrap()), [0, 0, 1, 0]);
    }

    proptest! {
        #[test]
        fn the_draw_depends_on_seed_and_place_alone(seed: u64, place: u64, logits in proptest::collection::vec(-9f32..9.0, 1..50), top_k in proptest::option::of(1u32..60), top_p in 0.01f32..=1.0) {
            let settings = Sampling { seed, top_k, top_p, ..settings(0.8) };
            let fresh = sampler(&settings).choose(&logits, place, &[]);
            let mut used = sampler(&settings);
            used.choose(&logits, place ^ 1, &[]);
            prop_assert_eq!(used.choose(&logits, place, &[]), fresh);
            prop_assert!(fresh.is_some());
        }
    }
}
