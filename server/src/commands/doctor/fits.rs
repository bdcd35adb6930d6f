//! Which models fit here: the published sizes in each precision, by the engine's own arithmetic. Pure.

use inference::{OptConfig, Precision};
use serde_json::{Value, json};

use super::engine::Hardware;
use crate::catalog::human_bytes;

/// The published models: name, width, layers, heads. (Zhang et al., "OPT: Open Pre-trained Transformer Language Models", table 1.)
const FAMILY: [(&str, usize, usize, usize); 9] = [
    ("opt-125m", 768, 12, 12),
    ("opt-350m", 1_024, 24, 16),
    ("opt-1.3b", 2_048, 24, 32),
    ("opt-2.7b", 2_560, 32, 32),
    ("opt-6.7b", 4_096, 32, 32),
    ("opt-13b", 5_120, 40, 40),
    ("opt-30b", 7_168, 48, 56),
    ("opt-66b", 9_216, 64, 72),
    ("opt-175b", 12_288, 96, 96),
];

/// Where one model fits in one precision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fit {
    model: &'static str,
    precision: Precision,
    /// Weights, and keys and values of one full context.
    needed_bytes: u64,
    cpu: bool,
    /// By number.
    cards: Vec<u32>,
}

/// Every model in every precision, beside what is free of this machine's memory, of which models may have `budget_bytes`, and of its cards'.
pub(super) fn fits(hardware: &Hardware, budget_bytes: u64) -> Vec<Fit> {
    let room_bytes = hardware.memory.map_or(budget_bytes, |memory| memory.available_bytes.min(budget_bytes));
    let mut fits = Vec::new();
    for (model, hidden, layers, heads) in FAMILY {
        let config = shape(hidden, layers, heads);
        for precision in Precision::ALL {
            let needed_bytes = needed_bytes(&config, precision);
            let cards = hardware
                .cards
                .all()
                .iter()
                .filter(|card| card.is_able() && needed_bytes <= card.free_bytes)
                .map(|card| card.ordinal)
                .collect();
            fits.push(Fit { model, precision, needed_bytes, cpu: needed_bytes <= room_bytes, cards });
        }
    }
    fits
}

fn shape(hidden: usize, layers: usize, heads: usize) -> OptConfig {
    // The one of this width has a narrower embedding, and norms behind its blocks.
    let is_350m = hidden == 1_024;
    let json = json!({
        "model_type": "opt", "hidden_size": hidden, "ffn_dim": 4 * hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "word_embed_proj_dim": if is_350m { 512 } else { hidden }, "do_layer_norm_before": !is_350m,
    });
    OptConfig::parse(json.to_string().as_bytes()).expect("a published shape is valid")
}

/// `exact` holds the weights in the 16 bits that they are published in, and computes keys and values in 32.
fn needed_bytes(config: &OptConfig, precision: Precision) -> u64 {
    let (weight_bits, kept_bits) = match precision {
        Precision::Exact => (16, 32),
        Precision::Bf16 => (16, 16),
        Precision::Int8 => (8, 16),
        Precision::Int4 => (4, 16),
    };
    config.footprint(weight_bits).weights_bytes + config.footprint(kept_bits).kv_bytes_context
}

/// A line for each model.
pub(super) fn table(fits: &[Fit]) -> Vec<String> {
    let cell = |fit: &Fit| format!("{:>7} {}", human_bytes(fit.needed_bytes), fit.places());
    let width = fits.iter().map(|fit| cell(fit).chars().count()).max().unwrap_or(0) + 2;
    let line = |name: &str, cells: Vec<String>| {
        let cells: String = cells.into_iter().map(|cell| format!("{cell:<width$}")).collect();
        format!("      {name:<13} {cells}").trim_end().to_owned()
    };
    let mut lines = vec![
        "      What fits now, with one full context: cpu (within SLUICE_ENGINE_MEMORY_BYTES), cards by number, or nowhere (-).".to_owned(),
        line("", Precision::ALL.iter().map(|precision| format!("{:>7}", precision.name())).collect()),
    ];
    lines.extend(fits.chunks(Precision::ALL.len()).map(|row| line(row[0].model, row.iter().map(cell).collect())));
    lines
}

impl Fit {
    fn places(&self) -> String {
        let cpu = self.cpu.then(|| "cpu".to_owned());
        let places: Vec<String> = cpu.into_iter().chain(self.cards.iter().map(u32::to_string)).collect();
        if places.is_empty() { "-".to_owned() } else { places.join("+") }
    }

    pub(super) fn json(&self) -> Value {
        let Self { model, precision, needed_bytes, cpu, cards } = self;
        json!({ "model": model, "precision": precision.name(), "needed_bytes": needed_bytes, "cpu": cpu, "cards": cards })
    }
}

#[cfg(test)]
mod tests {
    use inference::{Card, Cards, MachineMemory};

    use super::*;

    fn machine(free_gb: u64, cards_gb: &[u64]) -> Hardware {
        let card = |(ordinal, gb): (usize, &u64)| Card {
            ordinal: ordinal as u32,
            pci_bus_id: String::new(),
            name: "card".into(),
            total_bytes: gb * 1_000_000_000,
            free_bytes: gb * 1_000_000_000,
            compute_capability: (9, 0),
        };
        let cards = cards_gb.iter().enumerate().map(card).collect();
        Hardware {
            cores: 1,
            memory: Some(MachineMemory { total_bytes: 64_000_000_000, available_bytes: free_gb * 1_000_000_000 }),
            cards: Cards::Found { driver: String::new(), cuda: String::new(), cards },
        }
    }

    fn of<'a>(fits: &'a [Fit], model: &str, precision: Precision) -> &'a Fit {
        fits.iter().find(|fit| fit.model == model && fit.precision == precision).expect("every model in every precision")
    }

    #[test]
    fn what_fits_is_what_the_published_sizes_take() {
        let found = fits(&machine(16, &[24, 141]), u64::MAX);
        assert_eq!(found.len(), 36);
        // 13.3 GB of weights; 1 GiB of keys and values in halves, 2 GiB in `exact`.
        let medium = of(&found, "opt-6.7b", Precision::Exact);
        assert!((15_300_000_000..15_600_000_000).contains(&medium.needed_bytes), "{medium:?}");
        assert_eq!(medium.places(), "cpu+0+1");
        assert_eq!(of(&found, "opt-30b", Precision::Exact).places(), "1");
        assert_eq!(of(&found, "opt-30b", Precision::Int4).places(), "0+1");
        assert_eq!(
            (of(&found, "opt-175b", Precision::Int4).places(), of(&found, "opt-175b", Precision::Int8).places()),
            ("1".into(), "-".into())
        );
        // The portal gives its models no more than its setting.
        assert_eq!(of(&fits(&machine(16, &[]), 10_000_000_000), "opt-6.7b", Precision::Exact).places(), "-");
    }

    #[test]
    fn the_table_has_a_line_for_each_model() {
        let lines = table(&fits(&machine(4, &[]), u64::MAX));
        assert_eq!(lines.len(), 2 + FAMILY.len());
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["exact", "bf16", "int8", "int4"]);
        assert_eq!(lines[2].split_whitespace().take(4).collect::<Vec<_>>(), ["opt-125m", "401", "MB", "cpu"]);
        assert!(lines.iter().all(|line| line.chars().count() < 120), "{lines:#?}");
    }
}
