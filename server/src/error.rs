//! The closed list of ways we say no. What each becomes on the wire is decided in `http/problem.rs` alone.

use std::borrow::Cow;

/// Everything a capability may answer instead of what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing, or the visitor may not know that there is.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// One has to sign in first.
    #[error("sign in first")]
    SignedOut,
    /// Known, and not allowed; says which condition is missing and where to mend it.
    #[error("{0}")]
    Forbidden(Refusal),
    /// The state of the thing does not allow this any more (or not yet).
    #[error("{0}")]
    Conflict(Clash),
    /// The thing changed since whoever acts on it looked: look again, then act.
    #[error("{0}")]
    Stale(Clash),
    /// What was sent does not make sense; every fault by its field.
    #[error("{}", faults(.0))]
    Invalid(Vec<FieldError>),
    /// Too much at once: try again after so many seconds.
    #[error("too many requests, try again in {retry_after_s} s")]
    Limited {
        /// When it makes sense to come back.
        retry_after_s: u32,
    },
    /// A part the answer needs is taken up by what others asked before: try again after so many seconds.
    #[error("{why}")]
    Busy {
        /// What is taken up, and what helps.
        why: Cow<'static, str>,
        /// When it makes sense to come back.
        retry_after_s: u32,
    },
    /// A part the answer needs does not answer (database busy, store gone).
    #[error("{0}")]
    Unavailable(Cow<'static, str>),
    /// Our own fault. The chain goes to the log, never to the visitor.
    #[error("internal error: {0}")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One field of a form or body that cannot be accepted, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// The field's name on the wire.
    pub field: Cow<'static, str>,
    /// What is wrong and what would be right, for a person.
    pub message: Cow<'static, str>,
}

impl FieldError {
    /// A fault of `field`.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl From<FieldError> for Error {
    fn from(fault: FieldError) -> Self {
        Error::Invalid(vec![fault])
    }
}

/// Why access was refused: a stable code for programs, a sentence and the next step for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable, snake_case: part of the interface.
    pub code: &'static str,
    /// What is missing, in one sentence, in which the words of people stand as they wrote them.
    pub message: String,
    /// Where it can be mended: a path of the portal, and the words on the button.
    pub mend: Option<Mend>,
}

/// Why something cannot be done as the thing stands, and the next step where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// What stands in the way, in a sentence.
    pub why: Cow<'static, str>,
    /// Where to go on. Without one, a page leads back to where its reader came from.
    pub mend: Option<Mend>,
}

impl From<&'static str> for Clash {
    fn from(why: &'static str) -> Self {
        Self { why: why.into(), mend: None }
    }
}

impl From<String> for Clash {
    fn from(why: String) -> Self {
        Self { why: why.into(), mend: None }
    }
}

/// It reads as its sentence.
impl std::ops::Deref for Clash {
    type Target = str;

    fn deref(&self) -> &str {
        &self.why
    }
}

impl std::fmt::Display for Clash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

/// The next step after a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// Absolute path on the portal.
    pub path: String,
    /// The words on the button.
    pub label: &'static str,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Forbidden(refusal)
    }
}

impl Error {
    /// Our own fault, with a sentence for the log.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Internal(cause.into())
    }

    /// The next step, where the refusal names one.
    pub fn mend(&self) -> Option<&Mend> {
        match self {
            Error::Conflict(clash) | Error::Stale(clash) => clash.mend.as_ref(),
            Error::Forbidden(refusal) => refusal.mend.as_ref(),
            Error::NotFound(_)
            | Error::SignedOut
            | Error::Invalid(_)
            | Error::Limited { .. }
            | Error::Busy { .. }
            | Error::Unavailable(_)
            | Error::Internal(_) => None,
        }
    }

    /// The same with the next step, where it is a refusal that names none yet: what stands nearest to the cause knows best.
    #[must_use]
    pub fn mended_by(mut self, path: impl Into<String>, label: &'static str) -> Self {
        match &mut self {
            Error::Conflict(Clash { mend, .. }) | Error::Stale(Clash { mend, .. }) | Error::Forbidden(Refusal { mend, .. }) => {
                mend.get_or_insert_with(|| Mend { path: path.into(), label });
            }
            Error::NotFound(_)
            | Error::SignedOut
            | Error::Invalid(_)
            | Error::Limited { .. }
            | Error::Busy { .. }
            | Error::Unavailable(_)
            | Error::Internal(_) => {}
        }
        self
    }
}

impl From<sqlx::Error> for Error {
    fn from(cause: sqlx::Error) -> Self {
        match cause {
            sqlx::Error::PoolTimedOut => Error::Unavailable("the database is busy; try again in a moment".into()),
            gone if is_gone(&gone) => {
                tracing::error!(error = %gone, "the database went away");
                Error::Unavailable("the database does not answer; look whether this was done, and try again in a moment".into())
            }
            held if is_held(&held) => {
                tracing::warn!(error = %held, "what a request needs was locked for too long");
                Error::Unavailable("somebody else's work holds this up; look whether it was done, and try again in a moment".into())
            }
            text if is_unkeepable(&text) => FieldError::new("text", "has a character in it that cannot be kept (NUL); leave it out").into(),
            other => Error::internal(other),
        }
    }
}

/// Whether the database refuses a character: of all that a Rust string may hold, U+0000 alone. What has a place of its own for text leaves
/// it out before; here it is found wherever it was sent.
fn is_unkeepable(cause: &sqlx::Error) -> bool {
    cause.as_database_error().is_some_and(|said| matches!(said.code().as_deref(), Some("22021" | "22P05")))
}

/// Whether it took too long until somebody else let go of what they have locked.
fn is_held(cause: &sqlx::Error) -> bool {
    cause.as_database_error().is_some_and(|said| said.code().as_deref() == Some("55P03"))
}

/// Whether the database ended the conversation: it is shut down, starts, or the line is cut. What had not been committed did not happen.
fn is_gone(cause: &sqlx::Error) -> bool {
    match cause {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(said) => matches!(said.code().as_deref(), Some("57P01" | "57P02" | "57P03")),
        _ => false,
    }
}

impl From<std::io::Error> for Error {
    fn from(cause: std::io::Error) -> Self {
        Error::internal(cause)
    }
}

/// Translates the violation of a named constraint into what it means to the person.
pub trait OnConstraint<T> {
    /// `error` if the database refused because of the constraint `name`.
    fn on_constraint(self, name: &str, error: Error) -> Result<T, Error>;
}

impl<T> OnConstraint<T> for Result<T, sqlx::Error> {
    fn on_constraint(self, name: &str, error: Error) -> Result<T, Error> {
        self.map_err(|cause| match &cause {
            sqlx::Error::Database(db) if db.constraint() == Some(name) => error,
            _ => cause.into(),
        })
    }
}

fn faults(faults: &[FieldError]) -> String {
    faults.iter().map(|f| format!("{}: {}", f.field, f.message)).collect::<Vec<_>>().join("; ")
}
