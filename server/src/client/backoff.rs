//! How long to wait before asking again: as long as the portal says, else longer each time, never all clients at once.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, RETRY_AFTER};
use time::format_description::well_known::Rfc2822;

/// The first wait, and the longest.
const FIRST: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(30);

/// How often something failed in a row.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tries(u32);

impl Tries {
    /// Counts a failure and says how long to wait: a random time up to twice the last bound ("full jitter"), so that
    /// clients that were cut off together do not come back together. At least a tenth of the bound.
    pub(super) fn failed(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.0.min(16)).min(LONGEST);
        self.0 += 1;
        let share = f64::from(random()) / f64::from(u32::MAX);
        bound.mul_f64(0.1 + 0.9 * share)
    }

    /// Failures in a row.
    pub(super) fn count(self) -> u32 {
        self.0
    }
}

/// A time near `wait`, a little later: those who were told the same time should not come at the same moment.
pub(super) fn spread(wait: Duration) -> Duration {
    let share = f64::from(random()) / f64::from(u32::MAX);
    wait + wait.min(Duration::from_secs(5)).mul_f64(0.2 * share)
}

fn random() -> u32 {
    // Without randomness all wait the longest, which is no harm.
    getrandom::u32().unwrap_or(u32::MAX)
}

/// How long an answer asks us to wait: `Retry-After` in seconds or as a date (compared with the answer's own `Date`, because our
/// clock may be wrong), else `RateLimit` with nothing left.
pub(super) fn told(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
    if let Some(after) = text(&RETRY_AFTER) {
        if let Ok(seconds) = after.trim().parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        let date = |text: &str| time::OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok();
        let (then, now) = (date(after)?, date(text(&reqwest::header::DATE)?)?);
        return Some((then - now).try_into().unwrap_or(Duration::ZERO));
    }
    exhausted(headers)
}

/// When a limit with nothing left begins anew: `RateLimit: "name";r=0;t=30`, or the older pair of headers.
pub(super) fn exhausted(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &'static str| headers.get(HeaderName::from_static(name))?.to_str().ok();
    let number = |text: &str| text.trim().parse::<u64>().ok();
    if let Some(limits) = text("ratelimit") {
        let of = |limit: &str, key: &str| limit.split(';').find_map(|part| number(part.trim().strip_prefix(key)?.strip_prefix('=')?));
        let waits = limits.split(',').filter(|limit| of(limit, "r") == Some(0)).filter_map(|limit| of(limit, "t"));
        if let Some(longest) = waits.max() {
            return Some(Duration::from_secs(longest));
        }
    }
    (number(text("ratelimit-remaining")?)? == 0).then_some(())?;
    Some(Duration::from_secs(number(text("ratelimit-reset")?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn waits_grow_and_stay_bounded_and_differ() {
        let mut tries = Tries::default();
        let waits: Vec<Duration> = (0..40).map(|_| tries.failed()).collect();
        assert!(waits[0] <= FIRST && waits.iter().all(|wait| *wait <= LONGEST && *wait >= FIRST / 10));
        assert!(waits[20..].iter().collect::<std::collections::HashSet<_>>().len() > 10);
        assert_eq!(tries.count(), 40);
    }

    #[test]
    fn what_the_portal_asks_for_is_understood_in_every_form() {
        let seconds = |lines: &[(&'static str, &'static str)]| told(&headers(lines)).map(|wait| wait.as_secs());
        assert_eq!(seconds(&[("retry-after", "7")]), Some(7));
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(seconds(&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"), date]), Some(30));
        assert_eq!(seconds(&[("retry-after", "Wed, 21 Oct 2015 07:27:30 GMT"), date]), Some(0));
        assert_eq!(seconds(&[("ratelimit", "\"bytes\";r=0;t=40, \"requests\";r=3;t=90")]), Some(40));
        assert_eq!(seconds(&[("ratelimit", "\"bytes\";r=5;t=40")]), None);
        assert_eq!(seconds(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "12")]), Some(12));
        assert_eq!(seconds(&[("retry-after", "soon")]), None);
        assert_eq!(seconds(&[]), None);
    }
}
