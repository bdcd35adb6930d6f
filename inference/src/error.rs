//! What can go wrong, as a closed list. Each variant says what to do next; the server turns them into its own refusals.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Why the engine refused or failed. Cloneable, so that one failure can be told to every request it hits.
#[derive(Debug, Clone)]
pub enum Error {
    /// The waiting line is full, or too long for the request's deadline. Try again later.
    Busy {
        /// How many requests are waiting already.
        waiting: usize,
        /// When there will be room, by what is known of the work ahead.
        retry_after: Duration,
    },
    /// The request's deadline passed before it was answered.
    TooLate,
    /// A field of the request cannot be honoured.
    Invalid {
        /// The field, as `Request` or `Sampling` names it.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The prompt leaves no room in the model's context.
    PromptTooLong {
        /// Tokens of the prompt, the leading `</s>` included. `None` if the text was too long even to be tokenised.
        prompt_tokens: Option<usize>,
        /// Tokens the model's context holds, prompt and answer together.
        context_tokens_max: usize,
    },
    /// The request may never run, as it alone needs more KV cache than this engine owns.
    NoRoom {
        /// Tokens the request may come to hold.
        tokens: usize,
        /// Tokens the engine's KV cache holds in all.
        kv_tokens_max: usize,
    },
    /// The model needs more memory than may be used.
    TooLarge {
        /// Bytes of weights, KV cache and working buffers.
        needed_bytes: u64,
        /// What there is too little of.
        limit: MemoryLimit,
        /// Bytes there are of it in all.
        budget_bytes: u64,
        /// Bytes of it that others hold and cannot give now: models in use, or other programs.
        held_bytes: u64,
    },
    /// The checkpoint asks for something this engine does not do.
    Unsupported {
        /// The field, tensor or pickle global that asks for it.
        field: String,
        /// What it asks for and what would be understood.
        problem: String,
    },
    /// A file of the checkpoint is damaged, incomplete or does not fit the others.
    Corrupt {
        /// The file, by its name in the checkpoint.
        file: String,
        /// Where in the file, and what is wrong.
        problem: String,
    },
    /// A file the checkpoint must have is not there.
    Missing {
        /// The file, by its name in the checkpoint.
        file: String,
    },
    /// The disk said no.
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// The engine has been shut down, or its thread has died. Load the model again.
    Closed {
        /// Why it closed.
        reason: String,
    },
    /// The numbers went wrong while computing: a fault of the weights or of ours.
    Internal {
        /// What was seen.
        problem: String,
    },
}

/// What bounds the memory of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// The budget of the [`crate::ModelPool`].
    Budget,
    /// The machine, or what a control group leaves of it.
    Machine,
    /// The card.
    Card,
}

impl Error {
    pub(crate) fn corrupt(file: &str, problem: impl Into<String>) -> Self {
        Error::Corrupt { file: short(file), problem: short(problem) }
    }

    pub(crate) fn unsupported(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Unsupported { field: short(field), problem: short(problem) }
    }

    pub(crate) fn missing(file: &str) -> Self {
        Error::Missing { file: short(file) }
    }

    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Error::Invalid { field, problem: problem.into() }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Error::Io { path: path.to_owned(), source: Arc::new(source) }
    }
}

/// The most bytes of a text that may quote a file: it is read by people, and the file may be hostile.
const QUOTING_BYTES_MAX: usize = 1024;

/// The text, cut where it is longer than anybody reads.
pub(crate) fn short(text: impl Into<String>) -> String {
    let mut text = text.into();
    if text.len() > QUOTING_BYTES_MAX {
        text.truncate(text.floor_char_boundary(QUOTING_BYTES_MAX));
        text.push('…');
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Busy { waiting, retry_after } => {
                write!(out, "the model is busy: {waiting} requests are waiting already; try again in {} s", retry_after.as_secs().max(1))
            }
            Error::TooLate => write!(out, "the request's time was up before it was answered; ask for fewer tokens, or later"),
            Error::Invalid { field, problem } => write!(out, "`{field}` {problem}"),
            Error::PromptTooLong { prompt_tokens: Some(prompt_tokens), context_tokens_max } => write!(
                out,
                "the prompt is {prompt_tokens} tokens long, and the model holds {context_tokens_max} for prompt and answer together; shorten the prompt"
            ),
            Error::PromptTooLong { prompt_tokens: None, context_tokens_max } => {
                write!(out, "the prompt is far longer than the {context_tokens_max} tokens the model holds; shorten it")
            }
            Error::NoRoom { tokens, kv_tokens_max } => write!(
                out,
                "prompt and answer may come to {tokens} tokens, and this engine keeps at most {kv_tokens_max} in memory; ask for fewer tokens or raise kv_tokens_max"
            ),
            Error::TooLarge { needed_bytes, limit: MemoryLimit::Machine, budget_bytes, held_bytes } => {
                let (needed, all, held) = (gib(*needed_bytes), gib(*budget_bytes), gib(*held_bytes));
                write!(out, "the model needs {needed} of memory, and of the {all} this machine has {held} are in use; ")?;
                if needed_bytes <= budget_bytes {
                    write!(out, "end other programs, or ")?
                };
                write!(out, "hold the weights less exactly (bf16, int8 or int4), or choose a smaller model")
            }
            Error::TooLarge { needed_bytes, limit: MemoryLimit::Card, budget_bytes, held_bytes } => {
                let (needed, all, held) = (gib(*needed_bytes), gib(*budget_bytes), gib(*held_bytes));
                write!(out, "the model needs {needed} of the card's memory, and of its {all} are {held} in use; ")?;
                if needed_bytes <= budget_bytes {
                    write!(out, "end other programs on the card, or ")?
                };
                write!(out, "hold the weights less exactly (int8 or int4), keep fewer tokens in mind, or compute on the CPU")
            }
            Error::TooLarge { needed_bytes, limit: MemoryLimit::Budget, budget_bytes, held_bytes } => {
                write!(out, "the model needs {} of memory and the budget is {}", gib(*needed_bytes), gib(*budget_bytes))?;
                if *held_bytes > 0 {
                    write!(out, ", of which models in use hold {}; try again when they are idle", gib(*held_bytes))
                } else {
                    write!(out, "; raise the budget or choose a smaller model")
                }
            }
            Error::Unsupported { field, problem } => write!(out, "`{field}` {problem}"),
            Error::Corrupt { file, problem } => write!(out, "{file}: {problem}; fetch or make the file again"),
            Error::Missing { file } => write!(out, "{file} is missing from the checkpoint; add it and try again"),
            Error::Io { path, source } => write!(out, "{}: {source}", path.display()),
            Error::Closed { reason } => write!(out, "the engine is closed: {reason}; load the model again"),
            Error::Internal { problem } => write!(out, "the engine failed: {problem}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source.as_ref()),
            Error::Busy { .. }
            | Error::TooLate
            | Error::Invalid { .. }
            | Error::PromptTooLong { .. }
            | Error::NoRoom { .. }
            | Error::TooLarge { .. }
            | Error::Unsupported { .. }
            | Error::Corrupt { .. }
            | Error::Missing { .. }
            | Error::Closed { .. }
            | Error::Internal { .. } => None,
        }
    }
}

/// Bytes for people: GiB with two digits, MiB below one.
fn gib(bytes: u64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    let mib = bytes as f64 / MIB;
    if mib >= 1024.0 { format!("{:.2} GiB", mib / 1024.0) } else { format!("{mib:.1} MiB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_short_however_long_what_it_quotes() {
        let long = "é".repeat(1 << 20);
        for error in [Error::corrupt(&long, long.as_str()), Error::unsupported(long.as_str(), long.as_str()), Error::missing(&long)] {
            let text = error.to_string();
            assert!(text.len() < 2200 && text.contains("éé…"), "{} bytes", text.len());
        }
        assert_eq!(short("short"), "short");
    }
}
