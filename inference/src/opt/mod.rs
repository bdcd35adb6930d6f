//! The OPT family: its shape, its weights and its forward pass. Knows no scheduling and no text.

mod config;
mod model;
mod on_card;
mod on_cpu;
mod packed;
mod weights;

pub use crate::ops::attention::BLOCK_TOKENS;
pub(crate) use config::CONFIG_FILE;
pub use config::{Activation, Footprint, OptConfig};
pub(crate) use model::Demand;
pub use model::{Kv, Model, NUMERICS_VERSION, Span};
pub(crate) use weights::{expected_tensors, plain_name};
