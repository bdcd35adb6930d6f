//! The engine's numbers under vLLM's names and labels, so that dashboards, routers and autoscalers made for vLLM read them as they are.
//! Models that are in memory are told of; one that is dropped takes its numbers along, which Prometheus takes for a restart.

use std::collections::HashMap;
use std::fmt::Write as _;

use inference::{Histogram, LoadedModel};

/// The lines of every loaded model. `names`: what models are called, by revision.
pub(super) fn exposition(loaded: &[LoadedModel], names: &HashMap<String, String>) -> String {
    let labelled: Vec<(String, &LoadedModel)> = loaded.iter().map(|model| (labels(model, names), model)).collect();
    let mut text = String::new();
    for (name, kind, help, value) in NUMBERS {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, model) in &labelled {
            let _ = writeln!(text, "{name}{{{labels}}} {}", value(model));
        }
    }
    if loaded.iter().any(|model| model.measures.energy_joules.is_some()) {
        let _ = writeln!(
            text,
            "# HELP {ENERGY} Joules that the card took for answers, above what it takes idle: an estimate.\n# TYPE {ENERGY} counter"
        );
        for (labels, joules) in labelled.iter().filter_map(|(labels, model)| Some((labels, model.measures.energy_joules?))) {
            let _ = writeln!(text, "{ENERGY}{{{labels}}} {joules}");
        }
    }
    let _ = writeln!(text, "# HELP {SUCCESS} Answers that ended, by how.\n# TYPE {SUCCESS} counter");
    for (labels, model) in &labelled {
        for (reason, count) in [("stop", model.measures.stopped), ("length", model.measures.ended_by_length)] {
            let _ = writeln!(text, "{SUCCESS}{{{labels},finished_reason=\"{reason}\"}} {count}");
        }
    }
    for (name, help, histogram) in TIMES {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (labels, model) in &labelled {
            tell(&mut text, name, labels, histogram(model));
        }
    }
    text
}

const SUCCESS: &str = "vllm:request_success_total";
/// Not one of vLLM's.
const ENERGY: &str = "sluice_engine_energy_joules_total";

type Number = (&'static str, &'static str, &'static str, fn(&LoadedModel) -> f64);

const NUMBERS: &[Number] = &[
    ("vllm:num_requests_running", "gauge", "Answers being made.", |model| model.stats.running as f64),
    ("vllm:num_requests_waiting", "gauge", "Answers in the line.", |model| model.stats.waiting as f64),
    ("vllm:kv_cache_usage_perc", "gauge", "The part of the KV cache in use; 1 is all of it.", |model| {
        model.stats.kv_blocks_in_use as f64 / model.stats.kv_blocks_max.max(1) as f64
    }),
    ("vllm:prompt_tokens_total", "counter", "Tokens of the prompts that were answered.", |model| model.measures.prompt_tokens as f64),
    ("vllm:generation_tokens_total", "counter", "Tokens made.", |model| model.stats.tokens_made as f64),
    ("vllm:prefix_cache_queries_total", "counter", "Tokens of prompts looked for in what was read before.", |model| {
        model.stats.prefix_tokens_asked as f64
    }),
    ("vllm:prefix_cache_hits_total", "counter", "Those of them that were found.", |model| model.stats.prefix_tokens_found as f64),
    ("vllm:num_preemptions_total", "counter", "Times that an answer gave its memory to another.", |model| model.stats.preemptions as f64),
];

type Time = (&'static str, &'static str, fn(&LoadedModel) -> &Histogram);

const TIMES: &[Time] = &[
    ("vllm:time_to_first_token_seconds", "From the request to its first token.", |model| &model.measures.first_token),
    ("vllm:inter_token_latency_seconds", "From one token to the next.", |model| &model.measures.next_token),
    ("vllm:e2e_request_latency_seconds", "From the request to the end of its answer.", |model| &model.measures.answer),
    ("vllm:request_queue_time_seconds", "From the request to its place.", |model| &model.measures.queue_time),
];

fn tell(text: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    for (bound, count) in histogram.buckets() {
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound:?}\"}} {count}");
    }
    let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", histogram.count());
    let _ = writeln!(text, "{name}_sum{{{labels}}} {}", histogram.sum().as_secs_f64());
    let _ = writeln!(text, "{name}_count{{{labels}}} {}", histogram.count());
}

/// Names of models and revisions hold nothing that would have to be escaped.
fn labels(model: &LoadedModel, names: &HashMap<String, String>) -> String {
    let name = names.get(&model.key).unwrap_or(&model.key);
    format!("model_name=\"{name}\",engine=\"0\",revision=\"{}\"", model.key)
}

#[cfg(test)]
mod tests {
    use inference::{EngineStats, Measures};

    use super::*;

    #[test]
    fn energy_is_told_of_models_of_which_it_is_known() {
        let model = |key: &str, energy_joules| LoadedModel {
            key: key.into(),
            memory_bytes: 1,
            stats: EngineStats::default(),
            measures: Measures { energy_joules, ..Measures::default() },
        };
        assert!(!exposition(&[model("a", None)], &HashMap::new()).contains("energy"));
        let text = exposition(&[model("a", None), model("b", Some(12.5))], &HashMap::new());
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("energy") && !line.starts_with('#')).collect();
        assert_eq!(lines, ["sluice_engine_energy_joules_total{model_name=\"b\",engine=\"0\",revision=\"b\"} 12.5"]);
    }
}
