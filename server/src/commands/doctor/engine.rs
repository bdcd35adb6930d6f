//! What there is to compute with.

use inference::{Card, Cards, DeviceChoice, MachineMemory, Tier};
use serde_json::{Value, json};

use super::Finding;
use super::fits::Fit;
use crate::catalog::human_bytes;
use crate::config::Config;

/// This machine, as the engine sees it.
pub(super) struct Hardware {
    pub(super) cores: usize,
    pub(super) memory: Option<MachineMemory>,
    pub(super) cards: Cards,
}

impl Hardware {
    pub(super) fn here() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cores, memory: inference::available_memory(), cards: inference::cards() }
    }
}

pub(super) fn cpu(config: &Config, hardware: &Hardware) -> Finding {
    let budget = human_bytes(config.engine.memory_bytes);
    let memory = hardware.memory.map_or_else(
        || "memory unknown".to_owned(),
        |memory| format!("{} of {} free", human_bytes(memory.available_bytes), human_bytes(memory.total_bytes)),
    );
    let text = format!("{} cores with {}, {memory}, {budget} for models", hardware.cores, Tier::fastest().name());
    match hardware.memory {
        Some(memory) if memory.available_bytes < config.engine.memory_bytes / 4 => Finding::note(
            "engine",
            text,
            "free memory, or lower SLUICE_ENGINE_MEMORY_BYTES: models are refused that do not fit what is free (a portal that runs holds its own)",
        ),
        _ => Finding::right("engine", text),
    }
}

pub(super) fn cards(config: &Config, hardware: &Hardware) -> Finding {
    let part = "cards";
    match (&hardware.cards, config.engine.device) {
        (Cards::Found { driver, cuda, cards }, device) => {
            let able = cards.iter().any(Card::is_able);
            let cards: Vec<String> = cards.iter().map(describe).collect();
            let use_ = if device == DeviceChoice::Cpu { "; not used (SLUICE_ENGINE_DEVICE=cpu)" } else { "" };
            let text = format!("{} (driver {driver}, CUDA {cuda}){use_}", cards.join("; "));
            match (able, device) {
                (false, DeviceChoice::Cuda) => Finding::failed(part, text, "set SLUICE_ENGINE_DEVICE=auto: models then run on the CPU"),
                (false, DeviceChoice::Auto | DeviceChoice::Cpu) => Finding::note(part, text, "nothing: models run on the CPU"),
                (true, _) => Finding::right(part, text),
            }
        }
        (Cards::Missing { why }, DeviceChoice::Cuda) => Finding::failed(
            part,
            format!("SLUICE_ENGINE_DEVICE=cuda, and there is none: {why}"),
            "install the driver, give this container the cards (`--gpus all`), or set SLUICE_ENGINE_DEVICE=auto",
        ),
        (Cards::Missing { why }, DeviceChoice::Auto | DeviceChoice::Cpu) => Finding::right(part, format!("{why}; models run on the CPU")),
    }
}

fn describe(card: &Card) -> String {
    let (major, minor) = card.compute_capability;
    let (free, total) = (human_bytes(card.free_bytes), human_bytes(card.total_bytes));
    let too_old = if card.is_able() { "" } else { ", which is too old for the engine (8.0)" };
    format!("card {}: {}, {free} of {total} free, compute capability {major}.{minor}{too_old}", card.ordinal, card.name)
}

/// The same for programs.
pub(super) fn json(config: &Config, hardware: &Hardware, fits: &[Fit]) -> Value {
    let card = |card: &Card| {
        let (major, minor) = card.compute_capability;
        json!({
            "ordinal": card.ordinal, "pci_bus_id": card.pci_bus_id, "name": card.name, "total_bytes": card.total_bytes,
            "free_bytes": card.free_bytes, "compute_capability": format!("{major}.{minor}"),
        })
    };
    let (driver, cuda, missing) = match &hardware.cards {
        Cards::Found { driver, cuda, .. } => (Some(driver), Some(cuda), None),
        Cards::Missing { why } => (None, None, Some(why)),
    };
    json!({
        "device": config.engine.device.name(), "precision": config.engine.precision.name(), "memory_bytes": config.engine.memory_bytes,
        "cores": hardware.cores, "kernels": Tier::fastest().name(),
        "machine_total_bytes": hardware.memory.map(|memory| memory.total_bytes),
        "machine_available_bytes": hardware.memory.map(|memory| memory.available_bytes),
        "driver": driver, "cuda": cuda, "cards": hardware.cards.all().iter().map(card).collect::<Vec<_>>(), "no_cards_because": missing,
        "fits": fits.iter().map(Fit::json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn machine(cards: Cards) -> Hardware {
        Hardware { cores: 4, memory: Some(MachineMemory { total_bytes: 16_000_000_000, available_bytes: 12_000_000_000 }), cards }
    }

    #[test]
    fn cards_are_missed_only_where_they_are_wanted() {
        let told = |device: &'static str, cards: Cards| {
            let config = Config::from_lookup(|variable| (variable == "SLUICE_ENGINE_DEVICE").then(|| device.to_owned()));
            super::cards(&config.expect("valid settings"), &machine(cards))
        };
        let none = || Cards::Missing { why: "no NVIDIA driver on this machine".into() };
        assert_eq!((told("auto", none()).state, told("cpu", none()).state), (State::Right, State::Right));
        let wanted = told("cuda", none());
        assert!(wanted.state == State::Failed && wanted.advice.is_some_and(|advice| advice.contains("SLUICE_ENGINE_DEVICE=auto")));
        let card = Card {
            ordinal: 0,
            pci_bus_id: "00000000:3B:00.0".into(),
            name: "NVIDIA H100".into(),
            total_bytes: 85_000_000_000,
            free_bytes: 84_000_000_000,
            compute_capability: (9, 0),
        };
        let found = |cards| Cards::Found { driver: "580.1".into(), cuda: "13.0".into(), cards };
        let old = Card { compute_capability: (7, 5), ..card.clone() };
        assert_eq!((told("cuda", found(vec![old.clone()])).state, told("auto", found(vec![old])).state), (State::Failed, State::Note));
        let found = told("cuda", found(vec![card]));
        assert_eq!(found.text, "card 0: NVIDIA H100, 84 GB of 85 GB free, compute capability 9.0 (driver 580.1, CUDA 13.0)");
    }
}
