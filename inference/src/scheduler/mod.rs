//! Who runs when. A step reads a bounded number of tokens: one for each answer under way, the rest shared fairly between the
//! accounts whose prompts are being read. Sees numbers and names, no tensors.
//!
//! * `queue`: who waits, and whose turn it is to begin.    * `shares`: how a step is shared out.
//! * `batch`: who runs, with which memory.    * `victims`: who gives way when it runs out.    * `pace`: how long it will take.

mod batch;
mod pace;
mod queue;
mod shares;
mod victims;

pub(crate) use batch::{Batch, Limits, Plan};
pub(crate) use pace::{Pace, Step, Work};
pub(crate) use queue::{Queue, Refused};
