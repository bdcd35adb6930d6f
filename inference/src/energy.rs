//! What an answer takes of a card's energy: an estimate, from the counter that the card keeps (NVML), above what it draws idle, shared by
//! computed tokens. What cannot be measured is not told.

mod ledger;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
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
    source: Source,
    ledger: Mutex<Ledger>,
    /// To the thread that reads the counter. `None`: whoever wants it reads it.
    reader: Option<SyncSender<()>>,
}

/// Where readings come from.
enum Source {
    /// The driver; times count from when it was first asked.
    Card { device: Device<'static>, opened: Instant },
    /// A card made of numbers.
    #[cfg(test)]
    Made(tests::MadeCard),
}

/// How often to look whether the card rests.
const REST_EVERY: Duration = Duration::from_secs(1);

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
        self.card.noting(Ledger::begin);
    }

    /// The step is done. `shares`: the tokens it computed for each answer.
    pub(crate) fn end(&mut self, took: Duration, shares: &[(&Tally, usize)]) {
        self.in_step = false;
        let model = &self.model;
        self.card.noting(|ledger, now_s| ledger.end(now_s, took.as_secs_f64(), shares, model));
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
    let source = Source::Card { device, opened: Instant::now() };
    let (reader, wanted) = sync_channel(1);
    let card = Arc::new(Metered { uuid, source, ledger: Mutex::new(Ledger::new(0.0)), reader: Some(reader) });
    let of_thread = Arc::downgrade(&card);
    // Where there is no thread, the first who asks is told so, and nothing is known of the card.
    let _ = std::thread::Builder::new().name("energy".to_owned()).spawn(move || read_for(&of_thread, &wanted));
    all.push(Arc::downgrade(&card));
    Ok(Some(card))
}

/// Reads the counter when that is wanted, and what the card draws when it rests, until nobody is metered on the card any more.
fn read_for(card: &Weak<Metered>, wanted: &Receiver<()>) {
    loop {
        let wanted = wanted.recv_timeout(REST_EVERY);
        let Some(card) = card.upgrade() else { return };
        match wanted {
            Ok(()) => card.tell(card.source.counter()),
            Err(RecvTimeoutError::Timeout) => card.rest(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Metered {
    /// Notes something, and has the counter read if the ledger then wants it.
    fn noting(&self, note: impl FnOnce(&mut Ledger, f64) -> bool) {
        let is_wanted = note(&mut self.ledger(), self.source.now_s());
        match &self.reader {
            _ if !is_wanted => {}
            None => self.tell(self.source.counter()),
            Some(reader) => {
                if reader.try_send(()).is_err() {
                    self.tell(None);
                }
            }
        }
    }

    fn tell(&self, millijoules: Option<u64>) {
        let now_s = self.source.now_s();
        let mut ledger = self.ledger();
        let known_until_now = ledger.fault().is_none();
        ledger.read(now_s, millijoules);
        if let Some(fault) = ledger.fault().filter(|_| known_until_now) {
            tracing::warn!(card = self.uuid, fault, "energy is not told any more: the card's counter cannot be believed");
        }
    }

    /// Notes what the card draws, if it rests. What is told while work begins is not believed.
    fn rest(&self) {
        let has_rested = || self.ledger().has_rested(self.source.now_s());
        if has_rested()
            && let Some(watts) = self.source.watts()
            && has_rested()
        {
            self.ledger().draws_idle(watts);
        }
    }

    /// What a panic leaves is an estimate still.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn now_s(&self) -> f64 {
        match self {
            Source::Card { opened, .. } => opened.elapsed().as_secs_f64(),
            #[cfg(test)]
            Source::Made(card) => card.now_s(),
        }
    }

    /// Millijoules since the driver was loaded.
    fn counter(&self) -> Option<u64> {
        match self {
            Source::Card { device, .. } => device.total_energy_consumption().ok(),
            #[cfg(test)]
            Source::Made(card) => card.counter(),
        }
    }

    fn watts(&self) -> Option<f64> {
        match self {
            Source::Card { device, .. } => device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
            #[cfg(test)]
            Source::Made(_) => None,
        }
    }
}

impl std::fmt::Debug for Metered {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Metered").field("uuid", &self.uuid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const IDLE_WATTS: f64 = 100.0;
    const BUSY_WATTS: f64 = 300.0;

    /// It has rested for ten seconds; from then on every look at its clock is a hundredth of a second after the last, and it computes.
    pub(super) struct MadeCard {
        looks: AtomicU64,
        /// Looks after which the counter cannot be read any more.
        readable_looks: u64,
    }

    impl MadeCard {
        pub(super) fn now_s(&self) -> f64 {
            10.0 + self.looks.fetch_add(1, Ordering::Relaxed) as f64 / 100.0
        }

        pub(super) fn counter(&self) -> Option<u64> {
            let looks = self.looks.load(Ordering::Relaxed);
            (looks <= self.readable_looks).then_some(((10.0 * IDLE_WATTS + looks as f64 / 100.0 * BUSY_WATTS) * 1e3) as u64)
        }
    }

    impl EnergyMeter {
        /// Of a card that draws three times as much as idle while it computes.
        pub(crate) fn made(readable_looks: u64) -> Self {
            let source = Source::Made(MadeCard { looks: AtomicU64::new(0), readable_looks });
            let mut ledger = Ledger::new(0.0);
            ledger.draws_idle(IDLE_WATTS);
            let card = Arc::new(Metered { uuid: "made".into(), source, ledger: Mutex::new(ledger), reader: None });
            Self { card, model: Tally::default(), in_step: false }
        }
    }

    /// With a card that counts or without one: it answers.
    #[test]
    fn a_card_that_is_not_there_has_no_meter() {
        assert!(EnergyMeter::of_card(10_000).is_none());
        assert!(EnergyMeter::at_bus("FFFF:FF:1F.7").is_none());
    }
}
