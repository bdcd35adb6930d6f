//! How far a publication or a conversion is: one line drawn over and over on a terminal, a line every few seconds anywhere else.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::say;
use crate::catalog::{Meter, Phase, human_bytes};

/// How often a terminal is drawn on.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// How often a log is told: seldom enough to be read, often enough to see that it goes on.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What a meter reads: the phase, the bytes done, the bytes in all.
type Reading = (Phase, u64, u64);

/// A meter that is shown on stderr until it is stopped.
pub(super) struct Shown {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Shown {
    /// Begins to show it.
    pub(super) fn start(meter: &Arc<Meter>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let meter = meter.clone();
        let read = move || meter.read();
        let task = tokio::spawn(async move {
            if std::io::stderr().is_terminal() {
                show(read, stopped, DRAW_EVERY, DRAW_EVERY, draw).await;
                draw("");
            } else {
                show(read, stopped, DRAW_EVERY, TELL_EVERY, say).await;
            }
        });
        Self { task, stop }
    }

    /// Ends it, and clears the line.
    pub(super) async fn stop(self) {
        // Nobody listening means that it ended already.
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

/// Reads every `look`, so that phases are told apart in time, and says a line every `tell`.
async fn show(read: impl Fn() -> Reading, mut stopped: watch::Receiver<bool>, look: Duration, tell: Duration, mut say: impl FnMut(&str)) {
    let mut pace = Pace::new();
    let mut told = Instant::now();
    while tokio::time::timeout(look, stopped.changed()).await.is_err() {
        let line = pace.line(read());
        if told.elapsed() >= tell {
            say(&line);
            told = Instant::now();
        }
    }
}

/// Writes over the line that was drawn before.
pub(super) fn draw(line: &str) {
    // A terminal that is gone needs no progress.
    let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
    let _ = std::io::stderr().flush();
}

/// Rate and time left of the phase that runs.
struct Pace {
    phase: Phase,
    since: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { phase: Phase::Checking, since: Instant::now() }
    }

    fn line(&mut self, (phase, done_bytes, total_bytes): Reading) -> String {
        if phase != self.phase {
            *self = Self { phase, since: Instant::now() };
        }
        let verb = match phase {
            Phase::Checking => "Checking",
            Phase::Converting => "Rewriting as safetensors:",
            Phase::Storing => "Storing",
        };
        format!("{verb} {}", progress(done_bytes, total_bytes, done_bytes, self.since.elapsed().as_secs_f64()))
    }
}

/// "1.2 GB of 2.6 GB (46 %), 410 MB/s, 4 s left". The rate is that of `now_bytes`, what was done in the time.
pub(super) fn progress(done_bytes: u64, total_bytes: u64, now_bytes: u64, elapsed_s: f64) -> String {
    let share = done_bytes.saturating_mul(100).checked_div(total_bytes).unwrap_or(100);
    let mut line = format!("{} of {} ({share} %)", human_bytes(done_bytes), human_bytes(total_bytes));
    let rate = now_bytes as f64 / elapsed_s.max(0.001);
    // The first moments say nothing about the rate.
    if elapsed_s > 0.5 && rate >= 1.0 {
        let left_s = (total_bytes.saturating_sub(done_bytes) as f64 / rate).ceil() as u64;
        line += &format!(", {}/s, {} left", human_bytes(rate as u64), time(left_s));
    }
    line
}

fn time(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn progress_says_bytes_rate_and_time_left() {
        assert_eq!(progress(1_200_000_000, 2_600_000_000, 1_200_000_000, 3.0), "1.2 GB of 2.6 GB (46 %), 400 MB/s, 4 s left");
        assert_eq!(progress(0, 0, 0, 0.1), "0 B of 0 B (100 %)");
        assert_eq!(progress(1_000_000_000, 1_001_000_000_000, 1_000_000_000, 10.0), "1.0 GB of 1.0 TB (0 %), 100 MB/s, 2 h 46 min left");
    }

    #[test]
    fn every_phase_says_how_much_of_how_much_is_done_and_how_long_it_takes() {
        for (phase, verb) in [(Phase::Checking, "Checking"), (Phase::Converting, "Rewriting as safetensors:"), (Phase::Storing, "Storing")]
        {
            let mut pace = Pace { phase, since: Instant::now() - Duration::from_secs(10) };
            let line = pace.line((phase, 1_000_000_000, 3_000_000_000));
            assert!(line.starts_with(&format!("{verb} 1.0 GB of 3.0 GB (33 %), ")), "{line}");
            assert!(line.contains(" MB/s, ") && line.ends_with(" s left"), "{line}");
        }
    }

    #[tokio::test]
    async fn where_there_is_no_terminal_a_line_comes_now_and_then() {
        let (stop, stopped) = watch::channel(false);
        let looks = AtomicU64::new(0);
        let read = || (Phase::Converting, looks.fetch_add(1, Ordering::Relaxed), 1_000_000);
        let (look, tell) = (Duration::from_millis(1), Duration::from_millis(50));
        let mut lines = Vec::new();
        let say = |line: &str| {
            lines.push(line.to_owned());
            if lines.len() == 3 {
                let _ = stop.send(true);
            }
        };
        show(read, stopped, look, tell, say).await;
        assert_eq!(lines.len(), 3);
        assert!(looks.into_inner() > 6, "it looks more often than it tells");
        assert!(lines.iter().all(|line| line.starts_with("Rewriting as safetensors: ")), "{lines:?}");
    }
}
