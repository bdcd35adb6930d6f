//! Logits to one token. The order is: bias, presence and frequency penalties, repetition penalty, temperature, top-k, top-p, min-p,
//! typical-p, draw. The draw depends on the seed, the number of the answer and the token's place alone, so batches, order and retries
//! cannot change it.

mod filters;
mod logprobs;
mod rng;

use std::collections::{HashMap, HashSet};

pub(crate) use logprobs::LogProbs;

use crate::request::Sampling;

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
    /// Token and its adjusted logit; kept between calls for its memory.
    candidates: Vec<(u32, f32)>,
}

impl Sampler {
    pub(crate) fn new(settings: &Sampling, prompt: &[u32], choice: u32) -> Self {
        let seen = if settings.repetition_penalty == 1.0 { HashSet::new() } else { prompt.iter().copied().collect() };
        Self { settings: settings.clone(), choice, made: HashMap::new(), seen, candidates: Vec::new() }
    }

    /// Chooses the token for `place` (the number of tokens before it), none of `barred`. `logits` are raw; rows without a token are −∞ in
    /// them. `None` if no logit is a finite number.
    pub(crate) fn choose(&mut self, logits: &[f32], place: u64, barred: &[u32]) -> Option<u32> {
        let plain = self.settings.logit_bias.is_empty() && self.made.is_empty() && self.seen.is_empty() && barred.is_empty();
        let token = if plain && self.settings.temperature <= 0.0 {
            likeliest((0..).zip(logits.iter().copied()).filter(|(_, logit)| logit.is_finite()))?
        } else {
            self.adjust(logits, barred);
            if self.settings.temperature <= 0.0 { likeliest(self.candidates.iter().copied())? } else { self.draw(place)? }
        };
        if self.settings.presence_penalty != 0.0 || self.settings.frequency_penalty != 0.0 {
            *self.made.entry(token).or_default() += 1;
        }
        if self.settings.repetition_penalty != 1.0 {
            self.seen.insert(token);
        }
        Some(token)
    }

    /// Fills the candidates: every token with a finite logit, moved by bias and penalties.
    fn adjust(&mut self, logits: &[f32], barred: &[u32]) {
        let settings = &self.settings;
        let mut moves: HashMap<u32, f32> = settings.logit_bias.iter().copied().collect();
        for (token, times) in &self.made {
            *moves.entry(*token).or_default() -= settings.presence_penalty + settings.frequency_penalty * *times as f32;
        }
        self.candidates.clear();
        self.candidates.extend((0..).zip(logits.iter().copied()).filter(|(token, logit)| logit.is_finite() && !barred.contains(token)));
        if moves.is_empty() && self.seen.is_empty() {
            return;
        }
        for (token, logit) in &mut self.candidates {
            *logit += moves.get(token).copied().unwrap_or(0.0);
            if self.seen.contains(token) {
                *logit = if *logit > 0.0 { *logit / settings.repetition_penalty } else { *logit * settings.repetition_penalty };
            }
        }
    }

    fn draw(&mut self, place: u64) -> Option<u32> {
        let Sampling { temperature, top_k, top_p, min_p, typical_p, seed, .. } = self.settings;
        let candidates = &mut self.candidates;
        let highest = candidates.iter().map(|(_, logit)| *logit).reduce(f32::max)?;
        // From here on the second of each pair is a weight: the probability up to a common factor.
        for (_, weight) in candidates.iter_mut() {
            *weight = ((*weight - highest) / temperature).exp();
        }
        if let Some(k) = top_k {
            filters::keep_likeliest(candidates, k as usize);
        }
        if top_p < 1.0 {
            filters::keep_nucleus(candidates, top_p);
        }
        if min_p > 0.0 {
            filters::keep_likely(candidates, min_p);
        }
        if typical_p < 1.0 {
            filters::keep_typical(candidates, typical_p);
        }
        let total: f64 = candidates.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let mut left = rng::uniform(seed, self.choice, place) * total;
        for (token, weight) in candidates.iter() {
            left -= f64::from(*weight);
            if left < 0.0 {
                return Some(*token);
            }
        }
        // Rounding may leave a crumb at the end; it belongs to the last token that can be drawn at all.
        candidates.iter().rev().find(|(_, weight)| *weight > 0.0).map(|(token, _)| *token)
    }
}

/// The token with the highest logit; of equals the lowest id.
fn likeliest(candidates: impl Iterator<Item = (u32, f32)>) -> Option<u32> {
    candidates.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(token, _)| token)
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
        assert_eq!(sampler.choose(&[f32::NAN, f32::NEG_INFINITY], 0, &[]), None);
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
            assert_eq!(sampler.choose(&[0.0, 1.0], 0, &[0, 1]), None);
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
