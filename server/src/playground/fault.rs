//! Why a generation cannot begin or broke off: the portal's own refusals, and those that only an engine has.

use crate::error::{Error, FieldError};

/// A refusal of the playground. Pages take it as an [`Error`]; the OpenAI interface has words of its own for the first two.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Prompt and answer do not fit into the model's context.
    #[error("{0}")]
    ContextExceeded(String),
    /// This portal cannot run the model, now or later, until its operator changes something.
    #[error("{0}")]
    CannotRun(String),
    /// Everything else.
    #[error(transparent)]
    Portal(#[from] Error),
}

impl From<sqlx::Error> for Fault {
    fn from(cause: sqlx::Error) -> Self {
        Fault::Portal(cause.into())
    }
}

impl From<inference::Error> for Fault {
    fn from(cause: inference::Error) -> Self {
        use inference::Error as Engine;
        let message = cause.to_string();
        match cause {
            Engine::Busy { retry_after, .. } => {
                Fault::Portal(Error::Limited { retry_after_s: u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX).max(1) })
            }
            Engine::Invalid { field, problem } => Fault::Portal(FieldError::new(field, problem).into()),
            Engine::PromptTooLong { .. } | Engine::NoRoom { .. } => Fault::ContextExceeded(message),
            Engine::TooLarge { held_bytes: 0, .. } | Engine::Unsupported { .. } | Engine::Corrupt { .. } | Engine::Missing { .. } => {
                Fault::CannotRun(message)
            }
            Engine::TooLarge { .. } | Engine::Closed { .. } | Engine::TooLate => Fault::Portal(Error::Unavailable(message.into())),
            Engine::Io { .. } | Engine::Internal { .. } => Fault::Portal(Error::internal(cause)),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::ContextExceeded(message) => FieldError::new("prompt", message).into(),
            Fault::CannotRun(message) => Error::Unavailable(message.into()),
            Fault::Portal(error) => error,
        }
    }
}
