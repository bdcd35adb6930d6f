//! How likely each token was, by the raw logits: before temperature, bias and penalties.

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
    }

    #[test]
    fn the_likeliest_come_first_and_padding_never() {
        let logprobs = LogProbs::of(&[1.0, 2.0, f32::NEG_INFINITY, 2.0]);
        assert_eq!(logprobs.top(4).iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 3, 0]);
        assert_eq!(logprobs.top(1), [(1, logprobs.get(1))]);
    }
}
