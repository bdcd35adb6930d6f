//! How likely each token was, by the raw logits: before temperature, bias and penalties.

use super::row;

/// Log-probabilities of raw logits: log-softmax in f64.
pub(crate) struct LogProbs<'a> {
    logits: &'a [f32],
    log_total: f64,
}

impl<'a> LogProbs<'a> {
    pub(crate) fn of(logits: &'a [f32]) -> Self {
        let highest = f64::from(row::highest(logits));
        let total: f64 = logits.iter().map(|logit| (f64::from(*logit) - highest).exp()).sum();
        Self { logits, log_total: highest + total.ln() }
    }

    pub(crate) fn get(&self, token: u32) -> f32 {
        (f64::from(self.logits[token as usize]) - self.log_total) as f32
    }

    /// The `count` likeliest tokens, likeliest first, of equals the lower id first.
    pub(crate) fn top(&self, count: usize) -> Vec<(u32, f32)> {
        if count == 0 {
            return Vec::new();
        }
        let least = row::nth_highest(self.logits, count).unwrap_or(f32::MIN);
        let mut tokens: Vec<(u32, f32)> = (0..).zip(self.logits.iter().copied()).filter(|(_, logit)| *logit >= least).collect();
        tokens.sort_unstable_by(super::by_weight);
        tokens.truncate(count);
        tokens.iter().map(|(token, _)| (*token, self.get(*token))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn log_probabilities_sum_to_one(logits in proptest::collection::vec(-30f32..30.0, 1..40)) {
            let logprobs = LogProbs::of(&logits);
            let sum: f64 = logprobs.top(logits.len()).iter().map(|(_, logprob)| f64::from(*logprob).exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        }

        #[test]
        fn the_likeliest_are_the_first_of_all_in_order(logits in proptest::collection::vec(prop_oneof![-9f32..9.0, (-2i8..2).prop_map(f32::from), Just(f32::NEG_INFINITY)], 1..200), count in 0usize..30) {
            prop_assume!(logits.iter().any(|logit| logit.is_finite()));
            let logprobs = LogProbs::of(&logits);
            let mut all: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).filter(|(_, logit)| logit.is_finite()).collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let expected: Vec<(u32, f32)> = all.iter().take(count).map(|(token, _)| (*token, logprobs.get(*token))).collect();
            prop_assert_eq!(logprobs.top(count), expected);
        }
    }

    #[test]
    fn the_likeliest_come_first_and_padding_never() {
        let logprobs = LogProbs::of(&[1.0, 2.0, f32::NEG_INFINITY, 2.0]);
        assert_eq!(logprobs.top(4).iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 3, 0]);
        assert_eq!(logprobs.top(1), [(1, logprobs.get(1))]);
    }
}
