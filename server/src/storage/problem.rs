//! What can be wrong with a store, told apart by what helps.

use std::io;

use crate::error::Error;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// There is no such object.
    #[error("{0} is not in the store")]
    Missing(String),
    /// The object is there and is not what it was.
    #[error("{0}")]
    Spoilt(String),
    /// The store knows us and does not let us, or does not know us.
    #[error(
        "the object store refuses AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ({0}): check both, and that they may list, read, write and delete in the bucket"
    )]
    Refused(String),
    /// The store takes what we sign for outdated, or for not yet true, or soon will.
    #[error(
        "the object store's clock and this machine's are too far apart ({0}): set this machine's clock (`timedatectl set-ntp true`), or the store's"
    )]
    Clock(String),
    /// There is no such bucket.
    #[error("the object store has no bucket {0}: make it, or name another in SLUICE_OBJECTS")]
    NoBucket(String),
    /// Nobody answers, or not in time, or only that it cannot now.
    #[error("the object store does not answer ({0}): check AWS_ENDPOINT_URL and AWS_REGION, and that the store runs")]
    Unreachable(String),
    /// Something else that the store said.
    #[error("the object store answers {0}")]
    Other(String),
    /// This machine's own disk.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl Problem {
    /// What is wrong in a few words, for a probe.
    pub fn words(&self) -> &'static str {
        match self {
            Problem::Refused(_) => "refuses our credentials",
            Problem::Clock(_) => "has another time than this machine",
            Problem::NoBucket(_) => "has no such bucket",
            Problem::Unreachable(_) => "does not answer",
            Problem::Missing(_) | Problem::Spoilt(_) | Problem::Other(_) => "does not work",
            Problem::Disk(_) => "cannot be written",
        }
    }
}

impl Problem {
    /// For who runs the portal and can mend it: the whole of it, on the terminal.
    pub fn for_operator(self) -> Error {
        match self {
            Problem::Disk(cause) => cause.into(),
            problem => Error::Unavailable(problem.to_string().into()),
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Unreachable(_) => {
                tracing::error!(error = %problem, "the object store");
                Error::Unavailable("the object store does not answer; try again in a moment".into())
            }
            Problem::Disk(cause) => cause.into(),
            Problem::Missing(_)
            | Problem::Spoilt(_)
            | Problem::Refused(_)
            | Problem::Clock(_)
            | Problem::NoBucket(_)
            | Problem::Other(_) => Error::internal(problem),
        }
    }
}
