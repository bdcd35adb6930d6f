//! What the background loops did last: kept in memory, for the admin's page and `/metrics`. A start forgets it; what the loops work on is
//! in the database.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// One loop.
#[derive(Debug, Clone)]
pub struct Job {
    /// What it is called in the log, too.
    pub name: &'static str,
    /// How long it rests between two runs.
    pub every: Duration,
    /// Runs that ended.
    pub runs: u64,
    /// Runs that ended with an error.
    pub failures: u64,
    /// Since when it runs, if it does.
    pub running_since: Option<Timestamp>,
    /// When the last run ended.
    pub last_at: Option<Timestamp>,
    /// How long that took.
    pub last_took: Duration,
    /// Whether it failed.
    pub failed: bool,
    /// What the last failure was, and when, even if it went well since.
    pub last_fault: Option<(Timestamp, String)>,
}

/// How a loop goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Its first run has not ended.
    Begins,
    /// It runs.
    Running,
    /// It waits for its next run.
    Rests,
    /// Its last run failed.
    Failed,
}

impl JobState {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Begins => "begins",
            JobState::Running => "running",
            JobState::Rests => "rests",
            JobState::Failed => "failed",
        }
    }
}

impl Job {
    /// How it goes.
    pub fn state(&self) -> JobState {
        match (self.failed, self.running_since, self.last_at) {
            (true, _, _) => JobState::Failed,
            (false, Some(_), _) => JobState::Running,
            (false, None, Some(_)) => JobState::Rests,
            (false, None, None) => JobState::Begins,
        }
    }
}

/// Every loop, in the order they were started.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<Vec<Job>>);

impl Jobs {
    /// A loop begins a run.
    pub fn begun(&self, name: &'static str, every: Duration, now: Timestamp) {
        let mut jobs = self.lock();
        match jobs.iter_mut().find(|job| job.name == name) {
            Some(job) => job.running_since = Some(now),
            None => jobs.push(Job {
                name,
                every,
                runs: 0,
                failures: 0,
                running_since: Some(now),
                last_at: None,
                last_took: Duration::ZERO,
                failed: false,
                last_fault: None,
            }),
        }
    }

    /// A run has ended, after so long, with this error if it failed.
    pub fn ended(&self, name: &'static str, now: Timestamp, took: Duration, fault: Option<String>) {
        let mut jobs = self.lock();
        let Some(job) = jobs.iter_mut().find(|job| job.name == name) else { return };
        job.runs += 1;
        job.running_since = None;
        job.last_at = Some(now);
        job.last_took = took;
        job.failed = fault.is_some();
        if let Some(fault) = fault {
            job.failures += 1;
            job.last_fault = Some((now, fault));
        }
    }

    /// As they are.
    pub fn all(&self) -> Vec<Job> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Job>> {
        // Nothing panics while holding it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_failure_is_remembered_when_the_next_run_goes_well() {
        let (jobs, now) = (Jobs::default(), datetime!(2026-03-02 09:00 UTC));
        for fault in [None, Some("the disk is full".to_owned()), None] {
            jobs.begun("ledger", Duration::from_secs(1), now);
            assert_eq!(jobs.all()[0].running_since, Some(now));
            jobs.ended("ledger", now, Duration::from_millis(3), fault);
        }
        let job = &jobs.all()[0];
        assert_eq!((job.runs, job.failures, job.failed, job.running_since), (3, 1, false, None));
        assert_eq!(job.last_fault, Some((now, "the disk is full".into())));
    }
}
