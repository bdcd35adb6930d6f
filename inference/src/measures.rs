//! How long answers took, counted while they are made: what a dashboard draws. Bounds and meanings are those of vLLM's metrics, so that
//! numbers of both can stand beside each other.

use std::time::{Duration, Instant};

use crate::request::FinishReason;
use crate::sequence::Progress;

/// Upper bounds of the buckets in milliseconds: of the time to a first token.
const FIRST_TOKEN_MS: &[u64] = &[
    1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 20_000, 40_000, 80_000, 160_000, 640_000, 2_560_000,
];
/// Between one token and the next.
const NEXT_TOKEN_MS: &[u64] =
    &[10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 20_000, 40_000, 80_000];
/// Of a whole answer, and of the wait before it.
const ANSWER_MS: &[u64] = &[
    300, 500, 800, 1_000, 1_500, 2_000, 2_500, 5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000, 60_000, 120_000, 240_000, 480_000,
    960_000, 1_920_000, 7_680_000,
];

/// Times, sorted into buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    bounds_ms: &'static [u64],
    /// One more than there are bounds: the last is for what lies above all.
    counts: Vec<u64>,
    sum: Duration,
}

impl Histogram {
    fn new(bounds_ms: &'static [u64]) -> Self {
        Self { bounds_ms, counts: vec![0; bounds_ms.len() + 1], sum: Duration::ZERO }
    }

    fn note(&mut self, time: Duration) {
        let place = self.bounds_ms.partition_point(|bound| Duration::from_millis(*bound) < time);
        self.counts[place] += 1;
        self.sum += time;
    }

    /// For each bound, in seconds, how many times were not longer.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        self.bounds_ms.iter().map(|bound| *bound as f64 / 1e3).zip(counts)
    }

    /// How many times there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// What was measured of the answers of a model since it was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Measures {
    /// Tokens of prompts that were answered; a prompt with several answers counts once.
    pub prompt_tokens: u64,
    /// Answers that ended by themselves, with a stop string or token.
    pub stopped: u64,
    /// Answers that ended at their limit.
    pub ended_by_length: u64,
    /// From asking to being taken up.
    pub queue_time: Histogram,
    /// From asking to the first token.
    pub first_token: Histogram,
    /// From one token to the next.
    pub next_token: Histogram,
    /// From asking to the end of the answer.
    pub answer: Histogram,
    /// An estimate of the energy that the card took for them, above what it takes idle. `None` where that cannot be told.
    pub energy_joules: Option<f64>,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            prompt_tokens: 0,
            stopped: 0,
            ended_by_length: 0,
            queue_time: Histogram::new(ANSWER_MS),
            first_token: Histogram::new(FIRST_TOKEN_MS),
            next_token: Histogram::new(NEXT_TOKEN_MS),
            answer: Histogram::new(ANSWER_MS),
            energy_joules: None,
        }
    }
}

impl Measures {
    /// Counts what the step that ended `now` brought an answer, which has `made` tokens by then.
    pub(crate) fn note(&mut self, times: &mut Times, made: usize, progress: &Progress, now: Instant) {
        if made > times.told || matches!(progress, Progress::Ends(_)) {
            self.prompt_tokens += std::mem::take(&mut times.untold_prompt_tokens) as u64;
        }
        if made > times.told {
            times.told = made;
            match times.last_token.replace(now) {
                Some(before) => self.next_token.note(now - before),
                None => {
                    self.queue_time.note(times.begun - times.asked);
                    self.first_token.note(now - times.asked);
                }
            }
        }
        let Progress::Ends(reason) = progress else { return };
        self.answer.note(now - times.asked);
        match reason {
            FinishReason::Stop => self.stopped += 1,
            FinishReason::Length => self.ended_by_length += 1,
        }
    }
}

/// When what happened to an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    asked: Instant,
    begun: Instant,
    last_token: Option<Instant>,
    /// Tokens that have been counted.
    told: usize,
    /// Those of the prompt, until they are.
    untold_prompt_tokens: usize,
}

impl Times {
    /// Of an answer that was asked for at `asked` and is taken up now.
    pub(crate) fn begun(asked: Instant, prompt_tokens: usize) -> Self {
        Self { asked, begun: Instant::now(), last_token: None, told: 0, untold_prompt_tokens: prompt_tokens }
    }

    /// Of another answer to the same prompt, which counts once.
    pub(crate) fn of_fork(self) -> Self {
        Self { untold_prompt_tokens: 0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_counts_all_that_is_not_longer() {
        let mut histogram = Histogram::new(&[10, 100]);
        for ms in [10, 11, 100, 500] {
            histogram.note(Duration::from_millis(ms));
        }
        assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(0.01, 1), (0.1, 3)]);
        assert_eq!((histogram.count(), histogram.sum()), (4, Duration::from_millis(621)));
    }
}
