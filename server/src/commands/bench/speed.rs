//! Times: loading, reading a prompt, making tokens. All through the engine's own door, as a request of the portal goes.

use std::time::Instant;

use inference::{Checkpoint, Engine, Event, Generation, LoadOptions, Precision, Prompt, Request};

use crate::error::Error;
use crate::playground::Fault;

/// Tokens per second over all repetitions.
pub(super) struct Rate {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Rate {
    fn of(mut rates: Vec<f64>) -> Self {
        rates.sort_by(f64::total_cmp);
        Self { median: rates[rates.len() / 2], min: rates[0], max: rates[rates.len() - 1] }
    }
}

/// Seconds of loading: from the files, and from the cache.
#[derive(Default)]
pub(super) struct Loads {
    pub(super) packed_s: Option<f64>,
    pub(super) cached_s: Option<f64>,
}

/// Loads the model; with a cache until it comes from there, but not more than twice.
pub(super) fn load(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<(Engine, Loads), Error> {
    let mut loads = Loads::default();
    loop {
        let begun = Instant::now();
        let engine = Engine::load(checkpoint, options).map_err(Fault::from)?;
        let seconds = Some(begun.elapsed().as_secs_f64());
        match engine.info().from_cache {
            true => loads.cached_s = seconds,
            false if options.cache.is_some() && loads.packed_s.is_none() => {
                loads.packed_s = seconds;
                // Waits until its weights are in the cache.
                engine.shutdown();
                continue;
            }
            false => loads.packed_s = loads.packed_s.or(seconds),
        }
        return Ok((engine, loads));
    }
}

/// Tokens per second of one prompt of `tokens`, up to the first token of its answer; and what share that is of the cores' arithmetic, measured
/// beside each repetition. (A card's is measured by others: `deploy/bench/cuda.sh`.)
pub(super) fn prefill(engine: &Engine, precision: Precision, tokens: usize, repeat: usize) -> Result<(Rate, Option<Rate>), Error> {
    let (mut ids, info) = (Ids::new(engine), engine.info());
    run(engine, &mut ids, 1, tokens, 1)?;
    let mut shares = Vec::new();
    let rates = (0..repeat).map(|_| {
        if info.on_card {
            return Ok(tokens as f64 / run(engine, &mut ids, 1, tokens, 1)?);
        }
        let peak = inference::peak_operations(precision, info.threads).map_err(Fault::from)?;
        let rate = tokens as f64 / run(engine, &mut ids, 1, tokens, 1)?;
        shares.push(rate * info.layer_operations as f64 / peak);
        Ok(rate)
    });
    let rates = Rate::of(rates.collect::<Result<_, Error>>()?);
    Ok((rates, (!shares.is_empty()).then(|| Rate::of(shares))))
}

/// How fast answers are made.
pub(super) struct Decoded {
    /// Tokens per second, of all together.
    pub(super) tokens: Rate,
    /// Bytes per second at which the weights were read, when nothing was to be computed, beside each repetition.
    pub(super) bandwidth: Rate,
    /// What share of that was used: the bytes of a whole step in the time it took.
    pub(super) share: Rate,
}

/// Tokens per second of `batch` answers together, the reading of their prompts taken off: (N - 1) tokens each in the time that N
/// tokens take more than one.
pub(super) fn decode(engine: &Engine, batch: usize, prompt: usize, new: usize, repeat: usize) -> Result<Decoded, Error> {
    let (mut ids, step_bytes) = (Ids::new(engine), engine.info().step_bytes);
    run(engine, &mut ids, batch, prompt, new)?;
    let (mut tokens, mut bandwidths, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repeat {
        let before = engine.read_probe().bandwidth().map_err(Fault::from)?;
        let first = run(engine, &mut ids, batch, prompt, 1)?;
        let all = run(engine, &mut ids, batch, prompt, new)?;
        let bandwidth = (before + engine.read_probe().bandwidth().map_err(Fault::from)?) / 2.0;
        let steps_per_s = (new - 1) as f64 / (all - first).max(f64::EPSILON);
        tokens.push(batch as f64 * steps_per_s);
        bandwidths.push(bandwidth);
        shares.push(steps_per_s * step_bytes as f64 / bandwidth);
    }
    Ok(Decoded { tokens: Rate::of(tokens), bandwidth: Rate::of(bandwidths), share: Rate::of(shares) })
}

/// Seconds until `batch` answers of `new` tokens to fresh prompts are complete.
fn run(engine: &Engine, ids: &mut Ids<'_>, batch: usize, prompt: usize, new: usize) -> Result<f64, Error> {
    let requests: Vec<Request> = (0..batch)
        .map(|_| {
            let mut request = Request::new(Prompt::Ids(ids.prompt(prompt)));
            request.max_tokens = new;
            request.sampling.temperature = 0.0;
            request.ignore_eos = true;
            request
        })
        .collect();
    let begun = Instant::now();
    let running: Vec<Generation> =
        requests.into_iter().map(|request| engine.submit(request)).collect::<Result<_, _>>().map_err(Fault::from)?;
    for mut generation in running {
        while let Some(event) = generation.blocking_next() {
            if let Event::Failed(cause) = event {
                return Err(Fault::from(cause).into());
            }
        }
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Prompts that never repeat, the same in every run of the command.
struct Ids<'a> {
    engine: &'a Engine,
    state: u64,
}

impl<'a> Ids<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self { engine, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// The ids of the special tokens, at the front of the vocabulary, are left out, and those that have no token.
    fn prompt(&mut self, tokens: usize) -> Vec<u32> {
        let vocab = self.engine.info().config.vocab_size as u64;
        let mut draw = || {
            // xorshift64 (Marsaglia, "Xorshift RNGs", 2003)
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            let first = 4.min(vocab - 1);
            u32::try_from(first + self.state % (vocab - first)).unwrap_or(0)
        };
        std::iter::repeat_with(&mut draw).filter(|id| self.engine.has_token(*id)).take(tokens).collect()
    }
}

/// The most memory this process has had since it was last forgotten, in bytes; nothing where the system does not tell (proc(5), VmHWM).
pub(super) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Lets the peak begin anew, so that each precision has its own (proc(5), clear_refs).
pub(super) fn forget_peak_memory() {
    if let Err(cause) = std::fs::write("/proc/self/clear_refs", "5") {
        tracing::warn!(%cause, "peak memory is that of the whole run");
    }
}
