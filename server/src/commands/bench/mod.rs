//! `sluice bench`: how fast a model runs on this machine, beside what the machine's memory allows; and how well, as perplexity.

mod perplexity;
mod speed;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use inference::{BLOCK_TOKENS, Checkpoint, DeviceChoice, Engine, LoadOptions, OptConfig, PackedCache, Precision, STEP_TOKENS_MAX};
use serde_json::{Value, json};

use super::{result, say};
use crate::error::{Error, FieldError};
use crate::playground::Fault;

/// `sluice bench DIR`
#[derive(Args)]
pub struct Bench {
    /// A folder of weights
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// How exactly to compute, one after the other
    #[arg(long, value_name = "P,…", value_delimiter = ',', default_value = "exact", value_parser = super::precision)]
    precision: Vec<Precision>,
    /// How many answers at once, one measurement each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,32")]
    batch: Vec<usize>,
    /// Tokens of each prompt when decoding is measured
    #[arg(long, default_value_t = 32)]
    prompt: usize,
    /// Tokens of each answer
    #[arg(long, default_value_t = 64)]
    new: usize,
    /// Tokens of the one prompt when reading is measured; 0 leaves that out
    #[arg(long, default_value_t = 512)]
    prefill: usize,
    /// Repetitions; the median counts
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Compute threads; 0 takes one for each core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Keep packed weights in this folder, as the portal does, and load each model a second time, from there
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Where to compute: auto (an NVIDIA card, if there is one that holds the model), cpu or cuda
    #[arg(long, default_value = "auto", value_parser = super::device)]
    device: DeviceChoice,
    /// Also find the perplexity of this text in each precision, and how far it is from `exact`
    #[arg(long, value_name = "FILE")]
    perplexity: Option<PathBuf>,
    /// One JSON object a measurement
    #[arg(long)]
    json: bool,
}

/// Runs `sluice bench`, off the async threads: its answers are waited for as they are made.
pub async fn run(bench: Bench) -> Result<(), Error> {
    tokio::task::spawn_blocking(move || bench.run()).await.map_err(Error::internal)?
}

impl Bench {
    fn run(&self) -> Result<(), Error> {
        let checkpoint = Checkpoint::open_dir(&self.folder).map_err(Fault::from)?;
        let config = checkpoint.config().map_err(Fault::from)?;
        self.check(&config)?;
        let text = self.perplexity.as_deref().map(read).transpose()?;
        let mut exact = None;
        for precision in self.precisions(text.is_some()) {
            speed::forget_peak_memory();
            let (engine, loads) = speed::load(&checkpoint, &self.options(precision))?;
            let quality = text.as_deref().map(|text| perplexity::of(&engine, text)).transpose()?;
            if precision == Precision::Exact {
                exact = quality;
            }
            if self.precision.contains(&precision) {
                self.measure(precision, &engine, &loads, quality, exact)?;
            }
            engine.shutdown();
        }
        Ok(())
    }

    /// Everything wrong with the numbers, before anything is loaded.
    fn check(&self, config: &OptConfig) -> Result<(), Error> {
        let context = config.max_position_embeddings;
        let mut faults = Vec::new();
        if self.batch.contains(&0) || self.batch.iter().any(|batch| *batch > 256) {
            faults.push(FieldError::new("--batch", "takes numbers from 1 to 256"));
        }
        if self.prompt == 0 || self.new < 2 || self.prompt + self.new > context {
            faults.push(FieldError::new("--prompt and --new", format!("are at least 1 and 2, and together at most {context}")));
        }
        if self.prefill >= context {
            faults.push(FieldError::new("--prefill", format!("is less than {context}, the model's context")));
        }
        if self.repeat == 0 {
            faults.push(FieldError::new("--repeat", "is at least 1"));
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
    }

    /// The precisions to load, each once; `exact` first where the others are compared with it.
    fn precisions(&self, compared: bool) -> Vec<Precision> {
        let mut all = if compared { vec![Precision::Exact] } else { Vec::new() };
        for precision in &self.precision {
            if !all.contains(precision) {
                all.push(*precision);
            }
        }
        all
    }

    fn options(&self, precision: Precision) -> LoadOptions {
        let most = self.batch.iter().copied().max().unwrap_or(1);
        // Every answer in blocks of its own.
        let kv_tokens = (most * (self.prompt + self.new).next_multiple_of(BLOCK_TOKENS)).max(self.prefill + 1);
        // All prompts of a batch are read in one step, so that their answers run beside one another from the first token to the last.
        let step_tokens = (most * self.prompt).max(self.prefill).min(STEP_TOKENS_MAX);
        let default = LoadOptions::default();
        LoadOptions {
            threads: self.threads,
            running_max: most,
            waiting_max: most,
            kv_tokens_max: if self.perplexity.is_some() { 0 } else { kv_tokens.next_multiple_of(1024) },
            precision,
            device: self.device,
            cache: self.cache.clone().map(|folder| PackedCache { folder, bytes_max: u64::MAX }),
            step_tokens_max: default.step_tokens_max.max(step_tokens),
            stall_max: Duration::MAX,
            ..default
        }
    }

    fn measure(
        &self,
        precision: Precision,
        engine: &Engine,
        loads: &speed::Loads,
        quality: Option<f64>,
        exact: Option<f64>,
    ) -> Result<(), Error> {
        let info = engine.info();
        let prefill = (self.prefill > 0).then(|| speed::prefill(engine, precision, self.prefill, self.repeat)).transpose()?;
        let (prefill, prefill_share) = prefill.map_or((None, None), |(rate, share)| (Some(rate.median), share.map(|share| share.median)));
        let mut peak = speed::peak_memory();
        for batch in &self.batch {
            speed::forget_peak_memory();
            let decode = speed::decode(engine, *batch, self.prompt, self.new, self.repeat)?;
            peak = peak.max(speed::peak_memory());
            let row = json!({
                "model": self.folder, "precision": precision.name(), "kernels": info.kernels, "threads": info.threads,
                "batch": batch, "prompt_tokens": self.prompt, "new_tokens": self.new,
                "decode_tokens_per_s": decode.tokens.median, "decode_min": decode.tokens.min, "decode_max": decode.tokens.max,
                "prefill_tokens": self.prefill, "prefill_tokens_per_s": prefill, "prefill_share_of_peak": prefill_share,
                "load_s": loads.packed_s, "cached_load_s": loads.cached_s, "peak_rss_bytes": peak, "weights_bytes": info.weights_bytes, "step_bytes": info.step_bytes,
                "read_bandwidth_bytes_per_s": decode.bandwidth.median, "bandwidth_share": decode.share.median,
                "perplexity": quality, "perplexity_to_exact": quality.zip(exact).map(|(quality, exact)| quality / exact - 1.0),
            });
            self.show(&row);
        }
        Ok(())
    }

    fn show(&self, row: &Value) {
        if self.json {
            return result(&row.to_string());
        }
        let number = |name: &str| row[name].as_f64().unwrap_or(f64::NAN);
        result(&format!(
            "{:<6} batch {:>3}: {:>8.1} tokens/s ({:.1} to {:.1}), {:>3.0} % of {:.1} GB/s read; reads {} tokens at {:.0}/s, {:.0} % of the arithmetic; loaded in {:.2} s; {:.0} MB at most",
            row["precision"].as_str().unwrap_or_default(),
            row["batch"],
            number("decode_tokens_per_s"),
            number("decode_min"),
            number("decode_max"),
            100.0 * number("bandwidth_share"),
            number("read_bandwidth_bytes_per_s") / 1e9,
            row["prefill_tokens"],
            number("prefill_tokens_per_s"),
            100.0 * number("prefill_share_of_peak"),
            number(if row["load_s"].is_null() { "cached_load_s" } else { "load_s" }),
            number("peak_rss_bytes") / 1e6,
        ));
        if let Some(perplexity) = row["perplexity"].as_f64() {
            result(&format!("       perplexity {perplexity:.4}, {:+.3} % to exact", 100.0 * number("perplexity_to_exact")));
        }
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(|cause| FieldError::new("--perplexity", format!("{}: {cause}", path.display())))?;
    let text = String::from_utf8(bytes).map_err(|_| FieldError::new("--perplexity", format!("{} is not UTF-8 text", path.display())))?;
    if text.trim().is_empty() {
        return Err(FieldError::new("--perplexity", format!("{} holds no text", path.display())).into());
    }
    say(&format!("Perplexity of {} ({} bytes) is found too, which takes a while.", path.display(), text.len()));
    Ok(text)
}
