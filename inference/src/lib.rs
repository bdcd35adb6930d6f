//! The OPT engine: text and limits in, a stream of events out. No HTTP, no SQL, no accounts, no async runtime.
//!
//! [`Checkpoint`] names a model's files; [`Engine`] loads them and answers [`Request`]s, each as a [`Generation`] of [`Event`]s; a
//! [`ModelPool`] keeps several engines within a budget of memory. [`checkpoint`] also checks, reads and rewrites such files for publishing.
//!
//! What always holds:
//! * A token is computed the same, bit for bit, whatever else runs beside it, however its prompt is cut into steps, and with any number of threads.
//! * `submit` never waits; who has begun is answered to the end, though it may have to read its tokens again; a dropped `Generation` is gone within one step.
//! * Accounts share the engine evenly; nobody can tell from the time an answer takes what other accounts have asked.
//! * Files are hostile until checked: nothing in them is run, and what is not understood is refused by name.

mod cache;
mod cards;
mod check;
pub mod checkpoint;
mod device;
mod energy;
mod engine;
mod error;
pub mod kernels;
mod kv_cache;
mod line;
mod machine;
mod measures;
mod mmap;
mod ops;
mod opt;
mod options;
mod pool;
mod request;
mod roofline;
mod sampler;
mod scheduler;
mod sequence;
mod stops;
mod tokenizer;
mod vocabulary;
mod worker;
#[cfg(test)]
mod worker_stories;

pub use cache::PackedCache;
pub use cards::{Card, Cards, cards};
pub use checkpoint::Checkpoint;
pub use energy::EnergyMeter;
pub use engine::{Engine, Generation, ModelInfo};
pub use error::{Error, MemoryLimit};
pub use line::EngineStats;
pub use machine::{MachineMemory, available_memory};
pub use measures::{Histogram, Measures};
pub use ops::Tier;
pub use opt::{Activation, BLOCK_TOKENS, Footprint, Kv, Model, NUMERICS_VERSION, OptConfig, Span};
pub use options::{DeviceChoice, LoadOptions, Precision, RUNNING_MAX, STEP_TOKENS_MAX, THREADS_MAX};
pub use pool::{LoadedModel, ModelPool};
pub use request::{
    Event, FinishReason, LOGIT_BIAS_MAX, LOGPROBS_MAX, Prompt, PromptToken, Request, STOP_BYTES_MAX, STOP_STRINGS_MAX, STOP_TOKENS_MAX,
    Sampling, Usage,
};
pub use roofline::{ReadProbe, peak_operations};
pub use tokenizer::Tokenizer;
