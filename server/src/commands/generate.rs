//! `sluice generate`: the engine on the command line, on a folder of weights or on a model of the portal's store.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use inference::{Checkpoint, DeviceChoice, Engine, Event, FinishReason, LoadOptions, Precision, Prompt, PromptToken, Request, Usage};
use serde_json::{Value, json};

use super::{result, say, with_portal};
use crate::config::Config;
use crate::error::{Error, FieldError};
use crate::playground::{self, Fault, Settings};
use crate::portal::packed_cache;

/// `sluice generate DIR|ORG/NAME`
#[derive(Args)]
pub struct Generate {
    /// A folder of weights, or a model of this portal
    #[arg(value_name = "DIR|ORG/NAME")]
    target: String,
    /// The text to continue
    #[arg(long, required_unless_present = "prompt_ids", conflicts_with = "prompt_ids")]
    prompt: Option<String>,
    /// The token ids to continue, taken as they are
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    prompt_ids: Option<Vec<u32>>,
    /// The most tokens to make; 0 only with --echo
    #[arg(long, default_value_t = 16)]
    max_tokens: i64,
    /// 0 takes the likeliest token each time
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Draw from the likeliest tokens that share this much of the probability
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Draw from so many likeliest tokens; 0 means all
    #[arg(long, default_value_t = 0)]
    top_k: i64,
    /// Same seed, prompt and settings: same text. Without it one is drawn, and told at the end
    #[arg(long)]
    seed: Option<i64>,
    /// A text that ends the answer; may be given several times
    #[arg(long)]
    stop: Vec<String>,
    /// Report each token's log-probability and so many alternatives (with --json)
    #[arg(long, value_name = "K", requires = "json")]
    logprobs: Option<i64>,
    /// The prompt, too
    #[arg(long)]
    echo: bool,
    /// Go on past the end of the text
    #[arg(long)]
    ignore_eos: bool,
    /// Where to compute: auto (an NVIDIA card, if there is one that holds the model), cpu or cuda
    #[arg(long, default_value = "auto", value_parser = super::device)]
    device: DeviceChoice,
    /// How weights are held and multiplied: exact, bf16, int8 or int4
    #[arg(long, default_value = "exact", value_parser = super::precision)]
    precision: Precision,
    /// One JSON object at the end instead of text as it comes
    #[arg(long)]
    json: bool,
}

/// Runs `sluice generate`.
pub async fn run(config: Config, generate: Generate) -> Result<(), Error> {
    let request = generate.request()?;
    let seed = request.sampling.seed;
    // Models of the portal's store find their packed weights in its data folder; beside a folder of somebody's own nothing is written.
    let cache = (!Path::new(&generate.target).is_dir()).then(|| packed_cache(&config));
    let checkpoint = checkpoint(config, &generate.target).await?;
    let options = LoadOptions { precision: generate.precision, device: generate.device, cache, ..LoadOptions::default() };
    let loading = tokio::task::spawn_blocking(move || Engine::load(&checkpoint, &options));
    let engine = loading.await.map_err(Error::internal)?.map_err(Fault::from)?;
    let begun = Instant::now();
    let answer = answer(&engine, request, generate.json).await?;
    if generate.json {
        result(&answer.json(generate.echo).to_string());
    } else {
        print("\n")?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let tokens = answer.usage.completion_tokens;
    say(&format!("{tokens} tokens in {seconds:.2} s ({:.1} tokens/s); ended by {}; seed {seed}", tokens as f64 / seconds, answer.ending()));
    Ok(())
}

impl Generate {
    fn request(&self) -> Result<Request, Error> {
        let prompt = match (&self.prompt, &self.prompt_ids) {
            (_, Some(ids)) => Prompt::Ids(ids.clone()),
            (text, None) => Prompt::Text(text.clone().unwrap_or_default()),
        };
        let settings = Settings {
            max_tokens: Some(self.max_tokens),
            temperature: Some(self.temperature),
            top_p: Some(self.top_p),
            top_k: Some(self.top_k),
            seed: self.seed,
            stop: self.stop.clone(),
            ignore_eos: self.ignore_eos,
            logprobs: self.logprobs,
            echo: self.echo,
            ..Settings::default()
        };
        settings.request(prompt)
    }
}

/// The files of a folder, or of what `main` means for a model of the portal.
async fn checkpoint(config: Config, target: &str) -> Result<Checkpoint, Error> {
    let folder = Path::new(target);
    if folder.is_dir() {
        return Ok(Checkpoint::open_dir(folder).map_err(Fault::from)?);
    }
    if target.split('/').count() != 2 || target.starts_with(['.', '/']) {
        return Err(FieldError::new(target.to_owned(), "is neither a folder nor a model's name such as org/name").into());
    }
    let mut found = None;
    with_portal(config, async |portal| {
        found = Some(playground::checkpoint(portal, target).await?);
        Ok(())
    })
    .await?;
    found.ok_or_else(|| Error::NotFound("model"))
}

/// What has come so far.
#[derive(Default)]
struct Heard {
    prompt: Arc<[PromptToken]>,
    text: String,
    tokens: Vec<Made>,
}

/// One token that was made.
struct Made {
    id: u32,
    logprob: Option<f32>,
    /// The likeliest tokens at its place, and their log-probabilities.
    top: Vec<(u32, f32)>,
}

/// What came, all of it.
struct Answer {
    heard: Heard,
    reason: FinishReason,
    usage: Usage,
}

/// Reads the answer to its end; unless `quiet`, text goes to stdout as it comes (token ids, where there is no tokenizer).
async fn answer(engine: &Engine, request: Request, quiet: bool) -> Result<Answer, Error> {
    let has_text = engine.tokenizer().is_some();
    let show = |text: &str, id: u32| match (quiet, has_text) {
        (true, _) => Ok(()),
        (false, true) => print(text),
        (false, false) => print(&format!("{id} ")),
    };
    let mut generation = engine.submit(request).map_err(Fault::from)?;
    let mut heard = Heard::default();
    while let Some(event) = generation.next().await {
        match event {
            Event::Started { prompt_logprobs, .. } => {
                heard.prompt = prompt_logprobs.unwrap_or_default();
                for token in heard.prompt.iter() {
                    heard.text.push_str(&token.text);
                    show(&token.text, token.id)?;
                }
            }
            Event::Token { id, text, logprob, top } => {
                heard.text.push_str(&text);
                show(&text, id)?;
                heard.tokens.push(Made { id, logprob, top });
            }
            Event::Finished { reason, usage, text_tail } => {
                heard.text.push_str(&text_tail);
                if has_text && !quiet {
                    print(&text_tail)?;
                }
                return Ok(Answer { heard, reason, usage });
            }
            Event::Failed(cause) => return Err(Fault::from(cause).into()),
        }
    }
    Err(Error::internal("the engine ended without an answer"))
}

impl Answer {
    fn ending(&self) -> &'static str {
        match self.reason {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
        }
    }

    fn json(&self, echo: bool) -> Value {
        let mut body = json!({
            "text": self.heard.text,
            "token_ids": self.heard.tokens.iter().map(|token| token.id).collect::<Vec<_>>(),
            "token_logprobs": self.heard.tokens.iter().map(|token| token.logprob).collect::<Vec<_>>(),
            "top_logprobs": self.heard.tokens.iter().map(|token| &token.top).collect::<Vec<_>>(),
        });
        if echo {
            body["prompt_logprobs"] = json!(self.heard.prompt.iter().map(|token| token.logprob).collect::<Vec<_>>());
        }
        body["finish_reason"] = json!(self.ending());
        body["usage"] = json!({
            "prompt_tokens": self.usage.prompt_tokens, "completion_tokens": self.usage.completion_tokens,
            "total_tokens": self.usage.prompt_tokens + self.usage.completion_tokens,
        });
        if let Some(joules) = self.usage.energy_joules {
            body["usage"]["energy_joules_estimate"] = json!(joules);
        }
        body
    }
}

/// A piece of the result, at once. A reader that has gone (`| head`) ends the command.
fn print(piece: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    Ok(stdout.write_all(piece.as_bytes()).and_then(|()| stdout.flush())?)
}
