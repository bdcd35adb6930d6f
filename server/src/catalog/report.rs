//! What is told of the weights of a release: every tensor, and what the model says first.

use inference::checkpoint::{TensorFacts, digest_of_all};
use inference::{Checkpoint, Engine, Event, LoadOptions, Prompt, Request, Sampling};
use serde_json::{Value, json};

use super::publish::Order;
use super::size::human_bytes;
use crate::integrity::sha256_hex;

/// What every model is asked to continue: the token that begins a text, and the first three of the vocabulary that are words.
const PROMPT: [u32; 4] = [2, 4, 5, 6];
/// Tokens it makes of that.
const TOKENS: usize = 16;
/// The likeliest continuation of a fixed prompt: who runs the same weights on the same kind of machine gets the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FirstWords {
    token_ids: Vec<u32>,
    fingerprint: String,
}

impl FirstWords {
    fn to_json(&self) -> Value {
        let ids: Vec<String> = self.token_ids.iter().map(ToString::to_string).collect();
        json!({
            "prompt_token_ids": PROMPT, "token_ids": self.token_ids, "sha256": sha256_hex(ids.join(",").as_bytes()),
            "engine": self.fingerprint,
        })
    }
}

/// Lets the model speak, with its weights as they are stored, if it fits the `memory_bytes` that the engine of this portal has. The error says
/// why it cannot: most often, the machine cannot hold it, which the engine foresees before it loads anything.
pub(super) fn first_words(checkpoint: &Checkpoint, tensors: &[TensorFacts], memory_bytes: u64) -> Result<FirstWords, String> {
    let weights_bytes: u64 = tensors.iter().map(|tensor| tensor.count * tensor.dtype.bytes() as u64).sum();
    if weights_bytes > memory_bytes {
        let (weights, memory) = (human_bytes(weights_bytes), human_bytes(memory_bytes));
        return Err(format!("its weights take {weights}, and the engine has {memory} (SLUICE_ENGINE_MEMORY_BYTES)"));
    }
    // One short answer, so one sequence: what more would be foreseen for nobody.
    let options = LoadOptions { running_max: 1, kv_tokens_max: PROMPT.len() + TOKENS, ..LoadOptions::default() };
    let engine = Engine::load(checkpoint, &options).map_err(|cause| cause.to_string())?;
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    let request = Request { max_tokens: TOKENS, ignore_eos: true, sampling, ..Request::new(Prompt::Ids(PROMPT.to_vec())) };
    let mut generation = engine.submit(request).map_err(|cause| cause.to_string())?;
    let mut token_ids = Vec::with_capacity(TOKENS);
    while let Some(event) = generation.blocking_next() {
        match event {
            Event::Started { .. } => {}
            Event::Token { id, .. } => token_ids.push(id),
            Event::Finished { .. } => return Ok(FirstWords { token_ids, fingerprint: engine.fingerprint().to_owned() }),
            Event::Failed(cause) => return Err(cause.to_string()),
        }
    }
    Err("the engine ended without an answer".into())
}

/// `tensors.json` of a release.
pub(super) fn report(order: &Order<'_>, revision: &str, tensors: &[TensorFacts], words: &Result<FirstWords, String>) -> String {
    let mut report = tensors_json(tensors);
    report["model"] = json!(order.name.to_string());
    report["revision"] = json!(revision);
    report["generation"] = json!(words.as_ref().ok().map(FirstWords::to_json));
    // Why there is none.
    if let Err(why) = words {
        report["generation_left_out"] = json!(why);
    }
    report.to_string()
}

/// Tensors by their names, with the digest of all of them.
pub fn tensors_json(tensors: &[TensorFacts]) -> Value {
    let tensor = |facts: &TensorFacts| {
        json!({
            "name": facts.name, "file": facts.file, "dtype": facts.dtype.name(), "shape": facts.shape, "digest": facts.digest,
            "count": facts.count, "finite": facts.finite, "absmax": facts.absmax, "mean": facts.mean, "std": facts.std,
        })
    };
    let tensors_json: Vec<Value> = tensors.iter().map(tensor).collect();
    json!({ "format": "sluice-tensors-1", "digest": digest_of_all(tensors), "tensors": tensors_json })
}
