//! How long it will take: the steps ahead, and how long a step takes.

use std::time::Duration;

use super::Limits;

/// How much a new step counts in the mean.
const NEWEST: f64 = 0.1;
/// So many tokens of prompts are read in a step however long it takes: up to here they cost little more than the answers beside them.
const PROMPT_TOKENS_MIN: usize = 8;
/// The shortest time after which it is worth asking again.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest time anybody is sent away for: estimates of the far future are poor.
const RETRY_MAX: Duration = Duration::from_secs(120);

/// What a step did, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) took: Duration,
    /// Tokens of prompts that it read, beside one for each answer under way.
    pub(crate) prompt_tokens: usize,
}

/// How long steps take: means in which older steps count less and less. Reading a prompt is told apart from answering: the one takes
/// its time for each token, the other about the same for one answer and for several.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pace {
    /// A step that reads no prompts.
    answer_seconds: Option<f64>,
    /// Seconds that reading prompts took and tokens that were read; their quotient is the mean.
    prompts: (f64, f64),
}

impl Pace {
    /// A step has been done.
    pub(crate) fn note(&mut self, step: Step) {
        let took = step.took.as_secs_f64();
        if step.prompt_tokens == 0 {
            self.answer_seconds = Some(self.answer_seconds.map_or(took, |mean| mean + NEWEST * (took - mean)));
            return;
        }
        // What answers take beside it, or the weights' way through the memory, would have been the same without prompts.
        let own = (took - self.answer_seconds.unwrap_or(0.0)).max(0.0);
        let (seconds, tokens) = self.prompts;
        self.prompts = (seconds * (1.0 - NEWEST) + own, tokens * (1.0 - NEWEST) + step.prompt_tokens as f64);
    }

    /// How many tokens of prompts can be read in this time; at least a few, so that every prompt is read.
    pub(crate) fn prompt_tokens_in(self, time: Duration) -> usize {
        let tokens = self.prompt_token_seconds().map_or(0.0, |seconds| time.as_secs_f64() / seconds);
        (tokens as usize).max(PROMPT_TOKENS_MIN)
    }

    /// How long this work will take; unknown before the first step.
    pub(crate) fn time_for(self, work: Work, limits: Limits) -> Option<Duration> {
        let prompt_token = self.prompt_token_seconds()?;
        let answer_step = self.answer_seconds.unwrap_or(prompt_token);
        let steps = work.answer_tokens as f64 / limits.running_max as f64;
        Duration::try_from_secs_f64(answer_step * steps + prompt_token * work.prompt_tokens as f64).ok()
    }

    /// When one of `requests` that share this work will have left, so that another may come.
    pub(crate) fn retry_after(self, work: Work, requests: usize, limits: Limits) -> Duration {
        let all = self.time_for(work, limits).unwrap_or(RETRY_MIN);
        let one = all / u32::try_from(requests.max(1)).unwrap_or(u32::MAX);
        one.clamp(RETRY_MIN, RETRY_MAX)
    }

    /// Until a prompt has been read, its tokens are taken to cost what those of answers do.
    fn prompt_token_seconds(self) -> Option<f64> {
        let (seconds, tokens) = self.prompts;
        if tokens > 0.0 { Some(seconds / tokens) } else { self.answer_seconds }
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

    fn limits(running_max: usize) -> Limits {
        Limits {
            running_max,
            account_running_max: running_max,
            waiting_max: 1,
            account_waiting_max: 1,
            step_tokens_max: 128,
            stall_max: Duration::from_millis(100),
        }
    }

    fn step(ms: u64, prompt_tokens: usize) -> Step {
        Step { took: Duration::from_millis(ms), prompt_tokens }
    }

    #[test]
    fn the_estimate_adds_up_prompts_and_answers_and_stays_within_reason() {
        let mut pace = Pace::default();
        let work = Work { prompt_tokens: 1280, answer_tokens: 800 };
        assert_eq!(pace.time_for(work, limits(8)), None);
        assert_eq!(pace.retry_after(work, 4, limits(8)), RETRY_MIN);
        pace.note(step(1280, 128));
        pace.note(step(50, 0));
        // 1280 tokens of 10 ms, and 100 steps of 50 ms.
        assert_eq!(pace.time_for(work, limits(8)).map(|time| time.as_millis()), Some(17_800));
        assert_eq!(pace.retry_after(work, 4, limits(8)).as_millis(), 4450);
        let endless = Work { prompt_tokens: usize::MAX, answer_tokens: usize::MAX };
        assert_eq!(pace.retry_after(endless, 1, limits(1)), RETRY_MAX);
        for _ in 0..100 {
            pace.note(step(100, 0));
        }
        assert_eq!(pace.time_for(work, limits(8)).map(|time| time.as_secs()), Some(22), "prompts are not taken to be slower for that");
    }

    #[test]
    fn what_is_read_beside_answers_is_as_much_as_the_time_allows() {
        let time = Duration::from_millis(100);
        let mut pace = Pace::default();
        assert_eq!(pace.prompt_tokens_in(time), PROMPT_TOKENS_MIN, "unknown");
        pace.note(step(900, 128));
        assert_eq!(pace.prompt_tokens_in(time), 14, "7 ms a token");
        // The step of an answer is 80 ms, and 14 tokens beside it take 98 more.
        pace.note(step(80, 0));
        for _ in 0..100 {
            pace.note(step(178, 14));
        }
        assert_eq!(pace.prompt_tokens_in(time), 14);
        // A machine four times as slow: the floor.
        for _ in 0..100 {
            pace.note(step(80 + 8 * 28, 8));
        }
        assert_eq!(pace.prompt_tokens_in(time), PROMPT_TOKENS_MIN);
        // And one that is fast: no limit of its own. A step that took less than one without prompts does no harm.
        for _ in 0..200 {
            pace.note(step(1, 128));
        }
        assert!(pace.prompt_tokens_in(time) > 10_000);
    }
}
