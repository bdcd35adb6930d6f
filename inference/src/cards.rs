//! What NVIDIA cards this machine has, asked of the driver's own library (NVML), which is loaded if it is there. Needs no CUDA.

use std::sync::OnceLock;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor};

/// The cards of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cards {
    /// There is at least one.
    Found {
        /// The driver's version.
        driver: String,
        /// The newest CUDA that the driver runs.
        cuda: String,
        /// The cards, by their places on the bus.
        cards: Vec<Card>,
    },
    /// There is none, or none that can be used.
    Missing {
        /// Why, in a sentence without its full stop.
        why: String,
    },
}

/// One card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its number, from 0, in the order of the bus. CUDA may count in another.
    pub ordinal: u32,
    /// Where it sits, such as `00000000:3B:00.0`: the same for everybody who counts.
    pub pci_bus_id: String,
    /// What it is called.
    pub name: String,
    /// Its memory.
    pub total_bytes: u64,
    /// What nobody has of it.
    pub free_bytes: u64,
    /// What its processors can do: 9 and 0 are Hopper.
    pub compute_capability: (i32, i32),
}

impl Card {
    /// Whether the engine's kernels run on it: they are made for Ampere (8.0) and later.
    pub fn is_able(&self) -> bool {
        self.compute_capability >= (8, 0)
    }
}

impl Cards {
    /// The cards, none where there are none.
    pub fn all(&self) -> &[Card] {
        match self {
            Cards::Found { cards, .. } => cards,
            Cards::Missing { .. } => &[],
        }
    }
}

/// The cards there are now. Never fails: a machine without is told as one.
pub fn cards() -> Cards {
    let nvml = match nvml() {
        Ok(nvml) => nvml,
        Err(error) => return Cards::Missing { why: why(&error) },
    };
    match seen(nvml) {
        Ok(Cards::Found { cards, .. }) if cards.is_empty() => Cards::Missing { why: "the NVIDIA driver sees no card".to_owned() },
        Ok(cards) => cards,
        Err(error) => Cards::Missing { why: why(&error) },
    }
}

fn seen(nvml: &Nvml) -> Result<Cards, NvmlError> {
    let driver = nvml.sys_driver_version()?;
    let cuda = nvml.sys_cuda_driver_version()?;
    let cuda = format!("{}.{}", cuda_driver_version_major(cuda), cuda_driver_version_minor(cuda));
    let cards = (0..nvml.device_count()?).map(|ordinal| card(ordinal, &nvml.device_by_index(ordinal)?));
    Ok(Cards::Found { driver, cuda, cards: cards.collect::<Result<_, NvmlError>>()? })
}

fn card(ordinal: u32, device: &Device<'_>) -> Result<Card, NvmlError> {
    let (memory, capability) = (device.memory_info()?, device.cuda_compute_capability()?);
    Ok(Card {
        ordinal,
        pci_bus_id: device.pci_info()?.bus_id,
        name: device.name()?,
        total_bytes: memory.total,
        free_bytes: memory.free,
        compute_capability: (capability.major, capability.minor),
    })
}

/// The driver's library, loaded once. A driver that comes later is found by who asks later.
pub(crate) fn nvml() -> Result<&'static Nvml, NvmlError> {
    static NVML: OnceLock<Nvml> = OnceLock::new();
    if let Some(nvml) = NVML.get() {
        return Ok(nvml);
    }
    let nvml = Nvml::init()?;
    Ok(NVML.get_or_init(|| nvml))
}

/// What an error of the library says of the machine.
fn why(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => "no NVIDIA driver on this machine".to_owned(),
        NvmlError::DriverNotLoaded => "the NVIDIA driver is installed and not loaded".to_owned(),
        NvmlError::LibRmVersionMismatch => "the NVIDIA driver was updated and the machine has not been restarted since".to_owned(),
        NvmlError::NoPermission | NvmlError::OperatingSystem => "this user, or this container, may not use the NVIDIA cards".to_owned(),
        other => format!("the NVIDIA driver does not answer: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a card or without: it answers, and what it says is whole.
    #[test]
    fn a_machine_tells_what_it_has() {
        match cards() {
            Cards::Found { driver, cuda, cards } => {
                assert!(!driver.is_empty() && cuda.contains('.') && !cards.is_empty());
                for (place, card) in cards.iter().enumerate() {
                    assert_eq!(card.ordinal as usize, place);
                    assert!(!card.name.is_empty() && card.free_bytes <= card.total_bytes && card.compute_capability.0 > 0, "{card:?}");
                }
            }
            Cards::Missing { why } => assert!(!why.is_empty() && !why.ends_with('.'), "{why}"),
        }
    }

    #[test]
    fn a_machine_without_a_driver_is_no_fault() {
        let cards = Cards::Missing { why: why(&NvmlError::LibraryNotFound) };
        assert_eq!(cards, Cards::Missing { why: "no NVIDIA driver on this machine".to_owned() });
        assert!(cards.all().is_empty());
    }
}
