//! Why a generation cannot begin or broke off: the portal's own refusals, and those that only an engine has.

use std::time::Duration;

use crate::error::{Error, FieldError};

/// When to come back to an engine that cannot tell: when models in use may be idle again, or less may be asked for.
const TRY_LATER: Duration = Duration::from_secs(30);

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
            // Whose requests they are that fill the line the engine does not tell; it is not the account's own limit.
            Engine::Busy { retry_after, .. } => busy(message, retry_after),
            Engine::Invalid { field, problem } => Fault::Portal(FieldError::new(field, problem).into()),
            Engine::PromptTooLong { .. } | Engine::NoRoom { .. } => Fault::ContextExceeded(message),
            Engine::TooLarge { held_bytes: 0, .. } | Engine::Unsupported { .. } | Engine::Corrupt { .. } | Engine::Missing { .. } => {
                Fault::CannotRun(message)
            }
            Engine::TooLarge { .. } | Engine::TooLate => busy(message, TRY_LATER),
            // Whoever asks by HTTP loads no model: the next request does.
            Engine::Closed { reason } => {
                Fault::Portal(Error::Unavailable(format!("the model's engine has ended: {reason}; ask again in a minute").into()))
            }
            Engine::Io { .. } | Engine::Internal { .. } => Fault::Portal(Error::internal(cause)),
        }
    }
}

fn busy(message: String, retry_after: Duration) -> Fault {
    let retry_after_s = u32::try_from(retry_after.as_secs_f64().ceil() as u64).unwrap_or(u32::MAX).max(1);
    Fault::Portal(Error::Busy { why: message.into(), retry_after_s })
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
