//! What a dashboard made for vLLM reads of the engine, after something was generated.

use std::collections::HashMap;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use server::catalog::Gate;
use sqlx::PgPool;
use tests::{Person, TestPortal};

const VERSE: &str = "lab/verse";

/// The value of each line, by what stands before it.
async fn numbers(portal: &TestPortal) -> HashMap<String, f64> {
    let page = portal.visitor().fetch("/metrics").await;
    let lines = page.text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

async fn completes(program: &Person, body: Value) -> Value {
    let answer = program.request(Method::POST, "/v1/completions").json(&body).send().await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_was_generated_is_told_under_the_names_of_vllm(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/opt-verse-6m");
    let files = ["config.json", "model.safetensors", "tokenizer.json"].map(|name| (name, std::fs::read(folder.join(name)).unwrap()));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let offer = portal.offers(VERSE, Gate::Open, &files).await;
    let ada = portal.researcher("ada").await;
    let program = ada.with_token(&ada.makes_token(&["api"]).await);
    assert!(numbers(&portal).await.keys().all(|name| !name.starts_with("vllm:")), "no model is in memory");

    let one =
        completes(&program, json!({ "model": VERSE, "prompt": "The sea was", "max_tokens": 5, "temperature": 0, "ignore_eos": true }));
    let one = one.await["usage"].clone();
    let two = completes(&program, json!({ "model": VERSE, "prompt": "A lock", "max_tokens": 3, "n": 2, "seed": 7, "ignore_eos": true }));
    let two = two.await["usage"].clone();
    // The last token is on its way to us before the engine has counted it.
    let is_idle = || portal.portal.engine.loaded().iter().all(|model| model.stats.running == 0);
    while !is_idle() {
        tokio::task::yield_now().await;
    }
    let told = numbers(&portal).await;
    let label = format!("model_name=\"{VERSE}\",engine=\"0\",revision=\"{}\"", offer.revision);
    let number = |name: &str| *told.get(&format!("vllm:{name}{{{label}}}")).unwrap_or_else(|| panic!("{name} is not told: {told:?}"));
    let tokens = |kind: &str| one[kind].as_f64().unwrap() + two[kind].as_f64().unwrap();

    assert_eq!((one["completion_tokens"].as_u64(), two["completion_tokens"].as_u64()), (Some(5), Some(6)));
    assert_eq!(number("prompt_tokens_total"), tokens("prompt_tokens"));
    assert_eq!(number("generation_tokens_total"), 11.0);
    assert_eq!((number("num_requests_running"), number("num_requests_waiting"), number("kv_cache_usage_perc")), (0.0, 0.0, 0.0));
    assert_eq!(number("num_preemptions_total"), 0.0);
    assert!(number("prefix_cache_queries_total") >= number("prefix_cache_hits_total"));
    assert_eq!(told[&format!("vllm:request_success_total{{{label},finished_reason=\"length\"}}")], 3.0);
    assert_eq!(told[&format!("vllm:request_success_total{{{label},finished_reason=\"stop\"}}")], 0.0);

    let times = [("time_to_first_token", 3.0), ("inter_token_latency", 8.0), ("e2e_request_latency", 3.0), ("request_queue_time", 3.0)];
    for (name, count) in times {
        assert_eq!(number(&format!("{name}_seconds_count")), count, "{name}");
        let last = told[&format!("vllm:{name}_seconds_bucket{{{label},le=\"+Inf\"}}")];
        let one_second = told[&format!("vllm:{name}_seconds_bucket{{{label},le=\"1.0\"}}")];
        assert!(last == count && one_second <= count, "{name}");
    }
    let (first, whole) = (number("time_to_first_token_seconds_sum"), number("e2e_request_latency_seconds_sum"));
    let between = number("inter_token_latency_seconds_sum");
    assert!(
        first > 0.0 && (first + between - whole).abs() < 1e-6,
        "an answer is its first token and the times between: {first} {between} {whole}"
    );
}
