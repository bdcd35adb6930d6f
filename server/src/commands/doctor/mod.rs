//! `sluice doctor`: is everything there that a portal needs, and what to do where it is not. Changes nothing that a start would not make, and
//! is safe beside a portal that runs.

mod database;
mod engine;
mod fits;
mod ground;
mod stores;

use clap::Args;
use serde_json::{Value, json};

use super::{Exit, result};
use crate::config::Config;

/// `sluice doctor`
#[derive(Args)]
pub struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `sluice doctor`.
pub async fn run(doctor: &Doctor) -> Exit {
    let mut report = Report { json: doctor.json, findings: Vec::new() };
    let engine = examine(&mut report).await;
    let healthy = report.findings.iter().all(|finding| finding.state != State::Failed);
    if doctor.json {
        let checks: Vec<Value> = report.findings.iter().map(Finding::json).collect();
        result(&json!({ "healthy": healthy, "checks": checks, "engine": engine }).to_string());
    }
    if healthy { Exit::Done } else { Exit::Failed }
}

/// Every check, one after the other. Gives what there is to compute with, where the settings can be read.
async fn examine(report: &mut Report) -> Option<Value> {
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().for_each(|fault| report.add(Finding::failed("settings", fault.to_string(), "correct it, as the example shows")));
            report.add(Finding::skipped("the rest", "needs settings that can be read"));
            return None;
        }
    };
    report.add(ground::settings(&Config::not_understood()));
    report.add(ground::public_url(&config));
    report.add(ground::data_folder(&config));
    database::examine(&config, report).await;
    report.add(Box::pin(stores::objects(&config)).await);
    report.add(stores::mail(&config).await);
    report.add(stores::keys(&config));
    let hardware = engine::Hardware::here();
    report.add(engine::cpu(&config, &hardware));
    report.add(engine::cards(&config, &hardware));
    let fits = fits::fits(&hardware, config.engine.memory_bytes);
    if !report.json {
        fits::table(&fits).iter().for_each(|line| result(line));
    }
    Some(engine::json(&config, &hardware, &fits))
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It does its work.
    Right,
    /// It does its work, and somebody should know something about it.
    Note,
    /// It does not do its work.
    Failed,
    /// It could not be looked at.
    Skipped,
}

/// What was found of one part.
#[derive(Debug)]
struct Finding {
    part: &'static str,
    state: State,
    text: String,
    /// What to do.
    advice: Option<String>,
}

impl Finding {
    fn right(part: &'static str, text: impl Into<String>) -> Self {
        Self { part, state: State::Right, text: text.into(), advice: None }
    }

    fn note(part: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { part, state: State::Note, text: text.into(), advice: Some(advice.into()) }
    }

    fn failed(part: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { part, state: State::Failed, text: text.into(), advice: Some(advice.into()) }
    }

    fn skipped(part: &'static str, text: impl Into<String>) -> Self {
        Self { part, state: State::Skipped, text: text.into(), advice: None }
    }

    fn lines(&self) -> Vec<String> {
        let mark = match self.state {
            State::Right => "ok",
            State::Note => "note",
            State::Failed => "FAIL",
            State::Skipped => "skip",
        };
        let advice = self.advice.iter().map(|advice| format!("{:20}-> {advice}", ""));
        [format!("{mark:<5} {:<13} {}", self.part, self.text)].into_iter().chain(advice).collect()
    }

    fn json(&self) -> Value {
        let state = match self.state {
            State::Right => "ok",
            State::Note => "note",
            State::Failed => "failed",
            State::Skipped => "skipped",
        };
        json!({ "check": self.part, "state": state, "text": self.text, "advice": self.advice })
    }
}

/// What was found so far; for people it is said as it comes.
struct Report {
    json: bool,
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, finding: Finding) {
        if !self.json {
            finding.lines().iter().for_each(|line| result(line));
        }
        self.findings.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_wrong_and_the_next_what_to_do() {
        let finding = Finding::failed("mail", "it does not answer", "start it");
        assert_eq!(finding.lines(), ["FAIL  mail          it does not answer", "                    -> start it"]);
        assert_eq!(finding.json()["state"], "failed");
        assert_eq!(Finding::right("keys", "one signs").lines(), ["ok    keys          one signs"]);
    }
}
