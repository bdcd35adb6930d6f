//! How long it will take: the steps ahead, and how long a step takes.

use std::time::Duration;

use super::Limits;

/// How much a new step counts in the mean.
const NEWEST: f64 = 0.1;
/// The shortest time after which it is worth asking again.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest time anybody is sent away for: estimates of the far future are poor.
const RETRY_MAX: Duration = Duration::from_secs(120);

/// How long a step takes: a mean in which older steps count less and less.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pace {
    step_seconds: Option<f64>,
}

impl Pace {
    /// A step took so long.
    pub(crate) fn note(&mut self, step: Duration) {
        let newest = step.as_secs_f64();
        self.step_seconds = Some(self.step_seconds.map_or(newest, |mean| mean + NEWEST * (newest - mean)));
    }

    /// How long this work will take; unknown before the first step.
    pub(crate) fn time_for(self, work: Work, limits: Limits) -> Option<Duration> {
        let steps = work.answer_tokens as f64 / limits.running_max as f64 + work.prompt_tokens as f64 / limits.step_tokens_max as f64;
        Duration::try_from_secs_f64(self.step_seconds? * steps).ok()
    }

    /// When one of `requests` that share this work will have left, so that another may come.
    pub(crate) fn retry_after(self, work: Work, requests: usize, limits: Limits) -> Duration {
        let all = self.time_for(work, limits).unwrap_or(RETRY_MIN);
        let one = all / u32::try_from(requests.max(1)).unwrap_or(u32::MAX);
        one.clamp(RETRY_MIN, RETRY_MAX)
    }
}

/// Tokens yet to be read and made, at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) prompt_tokens: usize,
    pub(crate) answer_tokens: usize,
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, work| Self {
            prompt_tokens: sum.prompt_tokens.saturating_add(work.prompt_tokens),
            answer_tokens: sum.answer_tokens.saturating_add(work.answer_tokens),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(running_max: usize, step_tokens_max: usize) -> Limits {
        Limits { running_max, account_running_max: running_max, waiting_max: 1, account_waiting_max: 1, step_tokens_max }
    }

    #[test]
    fn the_estimate_is_steps_by_their_time_and_stays_within_reason() {
        let mut pace = Pace::default();
        let work = Work { prompt_tokens: 1280, answer_tokens: 800 };
        assert_eq!(pace.time_for(work, limits(8, 128)), None);
        assert_eq!(pace.retry_after(work, 4, limits(8, 128)), RETRY_MIN);
        pace.note(Duration::from_millis(100));
        // 100 steps of answers and 10 of prompts.
        assert_eq!(pace.time_for(work, limits(8, 128)).map(|time| time.as_millis()), Some(11_000));
        assert_eq!(pace.retry_after(work, 4, limits(8, 128)).as_millis(), 2750);
        let endless = Work { prompt_tokens: usize::MAX, answer_tokens: usize::MAX };
        assert_eq!(pace.retry_after(endless, 1, limits(1, 1)), RETRY_MAX);
        for _ in 0..100 {
            pace.note(Duration::from_millis(200));
        }
        assert_eq!(pace.time_for(work, limits(8, 128)).map(|time| time.as_secs()), Some(21));
    }
}
