//! Can my machine run it? Memory by precision, beside machines that people have. Pure arithmetic. Keys and values count as most engines
//! keep them; the page says what ours does.

use inference::OptConfig;

use crate::catalog::human_bytes;

const GIB: u64 = 1 << 30;

/// How the weights may be held, the widest first: bits, and what it is called.
const PRECISIONS: [(u32, &str); 4] = [(32, "fp32"), (16, "fp16"), (8, "int8"), (4, "int4")];

/// A machine, and the memory a model may use of it.
struct Machine {
    name: &'static str,
    memory_gib: u64,
    /// What the system, the driver and the program itself take.
    taken_gib: u64,
}

/// What people have, by memory. The system of a computer takes 4 GiB, the driver and working buffers of a GPU 1 GiB.
const MACHINES: &[Machine] = &[
    Machine { name: "Laptop with 8 GB", memory_gib: 8, taken_gib: 4 },
    Machine { name: "GPU with 8 GB (RTX 4060)", memory_gib: 8, taken_gib: 1 },
    Machine { name: "Laptop with 16 GB", memory_gib: 16, taken_gib: 4 },
    Machine { name: "GPU with 16 GB (T4, V100, RTX 4080)", memory_gib: 16, taken_gib: 1 },
    Machine { name: "GPU with 24 GB (A10, L4, RTX 4090)", memory_gib: 24, taken_gib: 1 },
    Machine { name: "Laptop or desktop with 32 GB", memory_gib: 32, taken_gib: 4 },
    Machine { name: "GPU with 48 GB (A6000, L40S)", memory_gib: 48, taken_gib: 1 },
    Machine { name: "Workstation with 64 GB", memory_gib: 64, taken_gib: 4 },
    Machine { name: "GPU with 80 GB (A100, H100)", memory_gib: 80, taken_gib: 1 },
    Machine { name: "GPU with 96 GB (RTX PRO 6000)", memory_gib: 96, taken_gib: 1 },
    Machine { name: "GPU with 141 GB (H200)", memory_gib: 141, taken_gib: 1 },
    Machine { name: "GPU with 192 GB (MI300X, B200)", memory_gib: 192, taken_gib: 1 },
    Machine { name: "Server with 8 GPUs of 80 GB", memory_gib: 640, taken_gib: 8 },
];

/// The memory a model takes at one precision.
pub(super) struct Need {
    pub(super) precision: &'static str,
    pub(super) weights: String,
    pub(super) cache: String,
    pub(super) total: String,
    total_bytes: u64,
}

/// Whether a machine holds the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// At 16 bits, as it is published, or wider.
    Fits(&'static str),
    /// Only with weights rounded to so many bits.
    FitsRounded(&'static str),
    /// Not even at 4 bits.
    DoesNotFit,
}

/// One line of the table.
pub(super) struct Line {
    pub(super) machine: &'static str,
    pub(super) verdict: Verdict,
}

/// Everything the page says about memory.
pub(super) struct Memory {
    pub(super) parameters: String,
    /// Tokens of the whole context, for which the cache is counted.
    pub(super) context_tokens: usize,
    pub(super) needs: Vec<Need>,
    pub(super) lines: Vec<Line>,
}

impl Memory {
    /// For a release's `config.json`; nothing if it is not an OPT's.
    pub(super) fn of(config_json: Option<&serde_json::Value>) -> Option<Self> {
        let config = OptConfig::parse(config_json?.to_string().as_bytes()).ok()?;
        let needs: Vec<Need> = PRECISIONS.iter().map(|(bits, precision)| need(&config, *bits, precision)).collect();
        let lines = MACHINES.iter().map(|machine| Line { machine: machine.name, verdict: verdict(machine, &needs) }).collect();
        Some(Self { parameters: count(config.footprint(16).parameters), context_tokens: config.max_position_embeddings, needs, lines })
    }
}

fn need(config: &OptConfig, bits: u32, precision: &'static str) -> Need {
    let footprint = config.footprint(bits);
    let total_bytes = footprint.weights_bytes + footprint.kv_bytes_context;
    Need {
        precision,
        weights: human_bytes(footprint.weights_bytes),
        cache: human_bytes(footprint.kv_bytes_context),
        total: human_bytes(total_bytes),
        total_bytes,
    }
}

/// The widest precision at which the model fits, as a verdict.
fn verdict(machine: &Machine, needs: &[Need]) -> Verdict {
    let room_bytes = (machine.memory_gib - machine.taken_gib) * GIB;
    match needs.iter().find(|need| need.total_bytes <= room_bytes).map(|need| need.precision) {
        Some(precision @ ("fp32" | "fp16")) => Verdict::Fits(precision),
        Some(precision) => Verdict::FitsRounded(precision),
        None => Verdict::DoesNotFit,
    }
}

/// 125,239,296 → "125 million".
fn count(number: u64) -> String {
    let (value, unit) = if number >= 999_500_000 { (number as f64 / 1e9, "billion") } else { (number as f64 / 1e6, "million") };
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn opt(hidden: u64, layers: u64, heads: u64) -> Memory {
        let config = serde_json::json!({
            "model_type": "opt", "hidden_size": hidden, "ffn_dim": 4 * hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        });
        Memory::of(Some(&config)).unwrap()
    }

    fn on(memory: &Memory, machine: &str) -> Verdict {
        memory.lines.iter().find(|line| line.machine.contains(machine)).unwrap().verdict
    }

    /// Sizes of weights and cache as the papers' tables give them.
    #[test]
    fn the_published_sizes_need_what_their_tables_say() {
        let small = opt(768, 12, 12);
        assert_eq!(small.parameters, "125 million");
        assert_eq!((small.needs[1].weights.as_str(), small.needs[1].cache.as_str()), ("250 MB", "75 MB"));
        assert_eq!(on(&small, "Laptop with 8 GB"), Verdict::Fits("fp32"));

        let medium = opt(4096, 32, 32);
        assert_eq!((medium.parameters.as_str(), medium.needs[1].total.as_str()), ("6.7 billion", "14 GB"));
        assert_eq!(on(&medium, "GPU with 8 GB"), Verdict::FitsRounded("int4"));
        assert_eq!(on(&medium, "GPU with 16 GB"), Verdict::Fits("fp16"));
        assert_eq!(on(&medium, "Laptop with 16 GB"), Verdict::FitsRounded("int8"));

        let large = opt(12288, 96, 96);
        assert_eq!(large.parameters, "175 billion");
        assert_eq!(on(&large, "GPU with 80 GB"), Verdict::DoesNotFit);
        assert_eq!(on(&large, "GPU with 141 GB"), Verdict::FitsRounded("int4"));
        assert_eq!(on(&large, "8 GPUs"), Verdict::Fits("fp16"));
    }

    #[test]
    fn what_is_no_opt_is_not_guessed_at() {
        assert!(Memory::of(None).is_none());
        assert!(Memory::of(Some(&serde_json::json!({ "model_type": "llama" }))).is_none());
    }

    #[test]
    fn machines_stand_in_the_order_of_their_memory() {
        assert!(MACHINES.is_sorted_by_key(|machine| machine.memory_gib));
    }
}
