//! Logits to one token: bias, penalties, temperature, top-k, top-p, draw. The draw depends on the seed and the token's
//! place alone, so batches, order and retries cannot change it.

use std::collections::HashMap;

use crate::request::Sampling;

/// One request's way of choosing.
#[derive(Debug)]
pub(crate) struct Sampler {
    settings: Sampling,
    /// How often each token has been generated.
    made: HashMap<u32, u32>,
    /// Token and its adjusted logit; kept between calls for its memory.
    candidates: Vec<(u32, f32)>,
}

impl Sampler {
    pub(crate) fn new(settings: Sampling) -> Self {
        Self { settings, made: HashMap::new(), candidates: Vec::new() }
    }

    /// Chooses the token for `place` (the number of tokens before it). `logits` are raw; rows without a token are −∞ in them.
    /// `None` if no logit is a finite number.
    pub(crate) fn choose(&mut self, logits: &[f32], place: u64) -> Option<u32> {
        let plain = self.settings.logit_bias.is_empty() && (self.made.is_empty() || !self.penalises());
        let token = if plain && self.settings.temperature <= 0.0 {
            likeliest(logits)?
        } else {
            self.adjust(logits);
            if self.settings.temperature <= 0.0 {
                self.candidates.iter().copied().reduce(better).map(|(token, _)| token)?
            } else {
                self.draw(place)?
            }
        };
        if self.penalises() {
            *self.made.entry(token).or_default() += 1;
        }
        Some(token)
    }

    fn penalises(&self) -> bool {
        self.settings.presence_penalty != 0.0 || self.settings.frequency_penalty != 0.0
    }

    /// Fills the candidates: every token with a finite logit, moved by bias and penalties.
    fn adjust(&mut self, logits: &[f32]) {
        let settings = &self.settings;
        let mut moves: HashMap<u32, f32> = settings.logit_bias.iter().copied().collect();
        for (token, times) in &self.made {
            *moves.entry(*token).or_default() -= settings.presence_penalty + settings.frequency_penalty * *times as f32;
        }
        self.candidates.clear();
        self.candidates.extend((0..).zip(logits.iter().copied()).filter(|(_, logit)| logit.is_finite()));
        if !moves.is_empty() {
            for (token, logit) in &mut self.candidates {
                *logit += moves.get(token).copied().unwrap_or(0.0);
            }
        }
    }

    fn draw(&mut self, place: u64) -> Option<u32> {
        let settings = &self.settings;
        let candidates = &mut self.candidates;
        let highest = candidates.iter().map(|(_, logit)| *logit).reduce(f32::max)?;
        // From here on the second of each pair is a weight: the probability up to a common factor.
        for (_, weight) in candidates.iter_mut() {
            *weight = ((*weight - highest) / settings.temperature).exp();
        }
        let by_weight = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if let Some(k) = settings.top_k.map(|k| k as usize).filter(|k| *k < candidates.len()) {
            candidates.select_nth_unstable_by(k, by_weight);
            candidates.truncate(k);
        }
        // Sorted, so that the draw does not depend on how the candidates were selected.
        if settings.top_p < 1.0 {
            keep_nucleus(candidates, settings.top_p, by_weight);
        } else if settings.top_k.is_some() {
            candidates.sort_unstable_by(by_weight);
        }
        let total: f64 = candidates.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let mut left = uniform(settings.seed, place) * total;
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

/// Keeps the smallest set of heaviest candidates that holds `top_p` of the weight, heaviest first.
fn keep_nucleus(candidates: &mut Vec<(u32, f32)>, top_p: f32, by_weight: impl Fn(&(u32, f32), &(u32, f32)) -> std::cmp::Ordering + Copy) {
    /// The nucleus is nearly always smaller than this; sorting all 50,000 takes milliseconds.
    const LIKELY_NUCLEUS: usize = 1024;
    let total: f64 = candidates.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let wanted = total * f64::from(top_p);
    let mut sorted = candidates.len();
    if candidates.len() > LIKELY_NUCLEUS {
        candidates.select_nth_unstable_by(LIKELY_NUCLEUS, by_weight);
        let heaviest: f64 = candidates[..LIKELY_NUCLEUS].iter().map(|(_, weight)| f64::from(*weight)).sum();
        if heaviest >= wanted {
            sorted = LIKELY_NUCLEUS;
        }
    }
    candidates.truncate(sorted);
    candidates.sort_unstable_by(by_weight);
    let mut reached = 0.0;
    let size = candidates.iter().position(|(_, weight)| {
        reached += f64::from(*weight);
        reached >= wanted
    });
    candidates.truncate(size.map_or(candidates.len(), |last| last + 1));
}

/// The token with the highest logit; of equals the lowest id.
fn likeliest(logits: &[f32]) -> Option<u32> {
    (0..).zip(logits.iter().copied()).filter(|(_, logit)| logit.is_finite()).reduce(better).map(|(token, _)| token)
}

fn better(best: (u32, f32), next: (u32, f32)) -> (u32, f32) {
    if next.1 > best.1 { next } else { best }
}

/// Log-probabilities of raw logits: log-softmax in f64.
pub(crate) struct LogProbs<'a> {
    logits: &'a [f32],
    log_total: f64,
}

impl<'a> LogProbs<'a> {
    pub(crate) fn of(logits: &'a [f32]) -> Self {
        let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let total: f64 = logits.iter().map(|logit| (f64::from(*logit) - highest).exp()).sum();
        Self { logits, log_total: highest + total.ln() }
    }

    pub(crate) fn get(&self, token: u32) -> f32 {
        (f64::from(self.logits[token as usize]) - self.log_total) as f32
    }

    /// The `count` likeliest tokens, likeliest first, of equals the lower id first.
    pub(crate) fn top(&self, count: usize) -> Vec<(u32, f32)> {
        let mut tokens: Vec<(u32, f32)> = (0..).zip(self.logits.iter().copied()).filter(|(_, logit)| logit.is_finite()).collect();
        let by_logit = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if count < tokens.len() {
            tokens.select_nth_unstable_by(count, by_logit);
            tokens.truncate(count);
        }
        tokens.sort_unstable_by(by_logit);
        tokens.iter().map(|(token, _)| (*token, self.get(*token))).collect()
    }
}

/// A number in [0, 1) that depends on seed and place alone.
fn uniform(seed: u64, place: u64) -> f64 {
    let [a, b, ..] = philox4x32([place as u32, (place >> 32) as u32, 0, 0], [seed as u32, (seed >> 32) as u32]);
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
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use proptest::prelude::*;

    fn settings(temperature: f32) -> Sampling {
        Sampling { temperature, ..Sampling::default() }
    }

    /// How often each token is drawn over many places.
    fn shares(settings: &Sampling, logits: &[f32]) -> Vec<f64> {
        // Fewer draws of longer rows.
        let draws = if logits.len() > 100 { 1_000 } else { 20_000 };
        let mut sampler = Sampler::new(settings.clone());
        let mut counts = vec![0.0; logits.len()];
        for place in 0..draws {
            counts[sampler.choose(logits, place).unwrap() as usize] += 1.0 / draws as f64;
        }
        counts
    }

    #[test]
    fn philox_gives_the_published_numbers() {
        // Random123's known answers.
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    }

    #[test]
    fn temperature_zero_takes_the_first_of_the_highest() {
        let mut sampler = Sampler::new(settings(0.0));
        assert_eq!(sampler.choose(&[1.0, 3.0, f32::NEG_INFINITY, 3.0], 0), Some(1));
        assert_eq!(sampler.choose(&[f32::NAN, f32::NEG_INFINITY], 0), None);
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
    fn bias_and_penalties_move_the_choice() {
        let logits = [1.0, 0.5, 0.0];
        let mut biased = Sampler::new(Sampling { logit_bias: vec![(2, 5.0), (0, -100.0)], ..settings(0.0) });
        assert_eq!(biased.choose(&logits, 0), Some(2));
        let mut varied = Sampler::new(Sampling { presence_penalty: 0.6, ..settings(0.0) });
        assert_eq!([0, 1, 2].map(|place| varied.choose(&logits, place).unwrap()), [0, 1, 0]);
        let mut ever_more = Sampler::new(Sampling { frequency_penalty: 0.4, ..settings(0.0) });
        assert_eq!([0, 1, 2, 3].map(|place| ever_more.choose(&logits, place).unwrap()), [0, 0, 1, 0]);
    }

    proptest! {
        #[test]
        fn the_draw_depends_on_seed_and_place_alone(seed: u64, place: u64, logits in proptest::collection::vec(-9f32..9.0, 1..50), top_k in proptest::option::of(1u32..60), top_p in 0.01f32..=1.0) {
            let settings = Sampling { seed, top_k, top_p, ..settings(0.8) };
            let fresh = Sampler::new(settings.clone()).choose(&logits, place);
            let mut used = Sampler::new(settings);
            used.choose(&logits, place ^ 1);
            prop_assert_eq!(used.choose(&logits, place), fresh);
            prop_assert!(fresh.is_some());
        }

        #[test]
        fn log_probabilities_sum_to_one(logits in proptest::collection::vec(-30f32..30.0, 1..40)) {
            let logprobs = LogProbs::of(&logits);
            let sum: f64 = logprobs.top(logits.len()).iter().map(|(_, logprob)| f64::from(*logprob).exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        }
    }
}
