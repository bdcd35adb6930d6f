//! The whole chain as plain as can be, one step after the other over every token: the meaning of the sampler, to the bit.

use proptest::prelude::*;

use super::{LogProbs, Sampler, rng};
use crate::request::Sampling;

/// The token for the place behind `prompt` and `answer`.
fn choose(settings: &Sampling, prompt: &[u32], answer: &[u32], choice: u32, logits: &[f32], barred: &[u32]) -> Option<u32> {
    let place = (prompt.len() + answer.len()) as u64;
    let mut all: Vec<(u32, f32)> =
        (0..).zip(logits.iter().copied()).filter(|(token, logit)| logit.is_finite() && !barred.contains(token)).collect();
    for (token, logit) in &mut all {
        let mut by = settings.logit_bias.iter().rev().find(|(biased, _)| biased == token).map_or(0.0, |(_, bias)| *bias);
        let times = answer.iter().filter(|made| *made == token).count();
        if times > 0 {
            by -= settings.presence_penalty + settings.frequency_penalty * times as f32;
        }
        *logit += by;
        if prompt.contains(token) || answer.contains(token) {
            *logit = if *logit > 0.0 { *logit / settings.repetition_penalty } else { *logit * settings.repetition_penalty };
        }
    }
    let highest = all.iter().map(|(_, logit)| *logit).reduce(f32::max)?;
    if settings.temperature <= 0.0 {
        return all.iter().find(|(_, logit)| *logit == highest).map(|(token, _)| *token);
    }
    for (_, weight) in &mut all {
        *weight = ((*weight - highest) / settings.temperature).exp();
    }
    let total = |all: &[(u32, f32)]| all.iter().map(|(_, weight)| f64::from(*weight)).sum::<f64>();
    let until = |all: &mut Vec<(u32, f32)>, wanted: f64| {
        let mut reached = 0.0;
        let last = all.iter().position(|(_, weight)| {
            reached += f64::from(*weight);
            reached >= wanted
        });
        all.truncate(last.map_or(all.len(), |last| last + 1));
    };
    let heaviest_first = |all: &mut Vec<(u32, f32)>| all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if let Some(k) = settings.top_k {
        heaviest_first(&mut all);
        all.truncate(k as usize);
    }
    if settings.top_p < 1.0 {
        let wanted = total(&all) * f64::from(settings.top_p);
        heaviest_first(&mut all);
        until(&mut all, wanted);
    }
    if settings.min_p > 0.0 {
        let heaviest = all.iter().map(|(_, weight)| *weight).fold(0.0, f32::max);
        all.retain(|(_, weight)| *weight >= settings.min_p * heaviest);
    }
    if settings.typical_p < 1.0 {
        let whole = total(&all);
        let surprise = |weight: f32| -(f64::from(weight) / whole).ln();
        let likely = all.iter().filter(|(_, weight)| *weight > 0.0);
        let expected: f64 = likely.map(|(_, weight)| f64::from(*weight) / whole * surprise(*weight)).sum();
        let distance = |weight: f32| (surprise(weight) - expected).abs();
        all.sort_by(|a, b| distance(a.1).total_cmp(&distance(b.1)).then(a.0.cmp(&b.0)));
        until(&mut all, whole * f64::from(settings.typical_p));
    }
    let mut left = rng::uniform(settings.seed, choice, place) * total(&all);
    let drawn = all.iter().find(|(_, weight)| {
        left -= f64::from(*weight);
        left < 0.0
    });
    drawn.or_else(|| all.iter().rev().find(|(_, weight)| *weight > 0.0)).map(|(token, _)| *token)
}

/// Logits near each other, many of them equal, far apart, or of tokens that cannot be drawn.
fn row() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![
        6 => -12f32..12.0,
        3 => (-40i8..40).prop_map(|half| f32::from(half) / 2.0),
        1 => -900f32..30.0,
        1 => Just(f32::NEG_INFINITY),
    ];
    let longest = prop_oneof![3 => Just(60usize), 1 => Just(4000)];
    longest
        .prop_flat_map(move |longest| proptest::collection::vec(logit.clone(), longest / 2..longest))
        .prop_filter("nothing to draw", |row| row.iter().filter(|logit| logit.is_finite()).count() > 4)
}

fn share() -> impl Strategy<Value = f32> {
    prop_oneof![4 => Just(1.0), 4 => 0.01f32..1.0, 1 => Just(0.0), 1 => 0.98f32..1.0]
}

fn settings() -> impl Strategy<Value = Sampling> {
    let temperature = prop_oneof![1 => Just(0.0), 4 => Just(1.0), 4 => 0.05f32..3.0, 1 => Just(0.001), 1 => Just(100.0)];
    let top_k = prop_oneof![5 => Just(None), 4 => (1u32..60).prop_map(Some), 1 => (60u32..6000).prop_map(Some)];
    let min_p = prop_oneof![5 => Just(0.0), 4 => 0.0001f32..1.0, 1 => Just(1e-38)];
    let bias = prop_oneof![-100f32..100.0, Just(100.0), Just(-100.0)];
    let penalty = || prop_oneof![Just(0.0), -2f32..2.0];
    let repetition = prop_oneof![2 => Just(1.0), 1 => 0.5f32..2.0];
    let filters = (temperature, top_k, share(), min_p, share(), any::<u64>());
    (filters, proptest::collection::vec((0u32..30, bias), 0..6), penalty(), penalty(), repetition).prop_map(
        |((temperature, top_k, top_p, min_p, typical_p, seed), logit_bias, presence_penalty, frequency_penalty, repetition_penalty)| {
            Sampling {
                temperature,
                top_k,
                top_p,
                min_p,
                typical_p,
                seed,
                logit_bias,
                presence_penalty,
                frequency_penalty,
                repetition_penalty,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_sampler_draws_what_the_plain_chain_draws(
        settings in settings(),
        row in row(),
        prompt in proptest::collection::vec(0u32..30, 1..20),
        barred in proptest::collection::vec(0u32..30, 0..3),
        choice in 0u32..4,
    ) {
        let mut sampler = Sampler::new(&settings, &prompt, choice);
        let mut answer = Vec::new();
        for step in 0..6 {
            // Another row at each step, of the same numbers.
            let mut logits = row.clone();
            logits.rotate_left(step * 7 % row.len());
            let expected = choose(&settings, &prompt, &answer, choice, &logits, &barred);
            let token = sampler.choose(&logits, (prompt.len() + answer.len()) as u64, &barred);
            prop_assert_eq!(token, expected, "step {}, answer {:?}", step, answer);
            answer.extend(token);
        }
    }

    /// Log-probabilities are of the raw logits, whatever the settings; those of the reference are summed in the order of the tokens.
    #[test]
    fn log_probabilities_are_those_of_the_plain_sum(row in row(), count in 0usize..25) {
        let highest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let total: f64 = row.iter().map(|logit| (f64::from(*logit) - highest).exp()).sum();
        let logprobs = LogProbs::of(&row);
        for (token, logit) in (0..).zip(&row) {
            prop_assert_eq!(logprobs.get(token).to_bits(), ((f64::from(*logit) - (highest + total.ln())) as f32).to_bits());
        }
        prop_assert!(logprobs.top(count).iter().map(|(_, logprob)| *logprob).is_sorted_by(|a, b| a >= b));
    }
}
