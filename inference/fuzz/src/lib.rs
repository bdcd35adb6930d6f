//! What each fuzz target does with its bytes, which are taken for a stranger's files and requests. The fuzzer calls these functions, and so
//! does `inference/tests/corpus.rs` with every input that was kept.
//!
//! The law: what is wrong is refused by a clear error, never by a panic, never by waiting, never by taking memory first; and what is
//! taken agrees with an oracle that reads it in another way. Whoever breaks it panics here.

#![allow(clippy::unwrap_used, reason = "what panics here is a finding")]

mod archive;
mod config;
mod engine;
mod files;
mod index;
mod safetensors;
mod said;
mod tokenizer;
mod toy;

pub use archive::{archive, pickle};
pub use config::config;
pub use engine::engine;
pub use index::index;
pub use safetensors::safetensors;
pub use tokenizer::tokenizer;

/// A target's name, which is also its corpus folder's, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All there are.
pub const TARGETS: [Target; 7] = [
    ("config", config),
    ("safetensors", safetensors),
    ("index", index),
    ("archive", archive),
    ("pickle", pickle),
    ("tokenizer", tokenizer),
    ("engine", engine),
];
