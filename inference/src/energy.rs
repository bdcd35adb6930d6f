//! What an answer takes of a card's energy: an estimate, from the counter that the card keeps (NVML), above what it draws idle, shared by
//! computed tokens. What cannot be measured is not told.

mod ledger;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;

use crate::cards::nvml;
use ledger::Ledger;
pub(crate) use ledger::Tally;

/// Meters what one model takes of its card. Models that share a card share its ledger.
#[derive(Debug)]
pub struct EnergyMeter {
    card: Arc<Metered>,
    /// What all answers of this model took.
    model: Tally,
    in_step: bool,
}

/// A card that models are metered on.
struct Metered {
    uuid: String,
    device: Device<'static>,
    opened: Instant,
    ledger: Mutex<Ledger>,
}

/// The cards that are metered now.
static METERED: Mutex<Vec<Weak<Metered>>> = Mutex::new(Vec::new());

impl EnergyMeter {
    /// Of the card with this number in the order of the bus ([`Card::ordinal`](crate::Card::ordinal)). `None` where its energy cannot be
    /// told: no driver, no counter, or a card that is cut into several. Why is in the log.
    pub fn of_card(ordinal: u32) -> Option<Self> {
        Self::opened(nvml().and_then(|nvml| nvml.device_by_index(ordinal)))
    }

    /// Of the card that sits there ([`Card::pci_bus_id`](crate::Card::pci_bus_id)): CUDA may number cards otherwise.
    pub fn at_bus(pci_bus_id: &str) -> Option<Self> {
        Self::opened(nvml().and_then(|nvml| nvml.device_by_pci_bus_id(pci_bus_id)))
    }

    fn opened(device: Result<Device<'static>, NvmlError>) -> Option<Self> {
        match device.and_then(metered) {
            Ok(Some(card)) => Some(Self { card, model: Tally::default(), in_step: false }),
            Ok(None) => {
                tracing::info!("energy is not told: the card is cut into several (MIG), and its counter counts for all of them");
                None
            }
            Err(cause) => {
                tracing::info!(%cause, "energy is not told: the card has no counter that can be read");
                None
            }
        }
    }

    /// A step begins.
    pub(crate) fn begin(&mut self) {
        self.in_step = true;
        self.card.noting(|ledger, now_s, card| ledger.begin(now_s, || card.counter(), || card.watts()));
    }

    /// The step is done. `shares`: the tokens it computed for each answer.
    pub(crate) fn end(&mut self, took: Duration, shares: &[(&Tally, usize)]) {
        self.in_step = false;
        let model = &self.model;
        self.card.noting(|ledger, now_s, card| ledger.end(now_s, took.as_secs_f64(), shares, model, || card.counter()));
    }

    /// What all answers of this model took, as far as it was measured; `None` while nothing can be.
    pub(crate) fn joules(&self) -> Option<f64> {
        self.card.ledger().is_known().then(|| self.model.measured_joules())
    }
}

impl Drop for EnergyMeter {
    fn drop(&mut self) {
        if self.in_step {
            self.card.ledger().abandon();
        }
    }
}

/// The card, as others who run on it have it. `None` if it is cut into several.
fn metered(device: Device<'static>) -> Result<Option<Arc<Metered>>, NvmlError> {
    // Cards from before there was such a thing answer with an error.
    if device.mig_mode().is_ok_and(|mode| mode.current != 0) {
        return Ok(None);
    }
    device.total_energy_consumption()?;
    let uuid = device.uuid()?;
    let mut all = METERED.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|card| card.strong_count() > 0);
    if let Some(card) = all.iter().filter_map(Weak::upgrade).find(|card| card.uuid == uuid) {
        return Ok(Some(card));
    }
    let card = Arc::new(Metered { uuid, device, opened: Instant::now(), ledger: Mutex::new(Ledger::new(0.0)) });
    all.push(Arc::downgrade(&card));
    Ok(Some(card))
}

impl Metered {
    fn noting(&self, note: impl FnOnce(&mut Ledger, f64, &Self)) {
        let mut ledger = self.ledger();
        let known_until_now = ledger.fault().is_none();
        note(&mut ledger, self.opened.elapsed().as_secs_f64(), self);
        if let Some(fault) = ledger.fault().filter(|_| known_until_now) {
            tracing::warn!(card = self.uuid, fault, "energy is not told any more: the card's counter cannot be believed");
        }
    }

    /// Millijoules since the driver was loaded.
    fn counter(&self) -> Option<u64> {
        self.device.total_energy_consumption().ok()
    }

    fn watts(&self) -> Option<f64> {
        self.device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3)
    }

    /// What a panic leaves is an estimate still.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Metered {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Metered").field("uuid", &self.uuid).finish_non_exhaustive()
    }
}
