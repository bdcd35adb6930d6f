//! Why a pull, a verification or a sign-in came to nothing. Each kind has its own exit status, which scripts rely on.

/// What went wrong, in words for the person at the terminal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Bytes, or what is said of them, are not what was signed.
    #[error("{0}")]
    Mismatch(String),
    /// The portal says no; the text carries its reason and where to mend it.
    #[error("{0}")]
    NotAllowed(String),
    /// Everything else: the network, the disk, a portal that does not answer.
    #[error("{0}")]
    Failed(String),
}

impl Fault {
    /// Something about the file or folder at `path`.
    pub(super) fn io(doing: &str, path: &std::path::Path, cause: &std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let path = path.display();
        let next = match cause.kind() {
            StorageFull | QuotaExceeded => "; what has arrived is kept: free some space and run the same command again",
            FileTooLarge => "; this file system or a limit of the shell (ulimit -f) takes no file of this size; what has arrived is kept",
            PermissionDenied | ReadOnlyFilesystem => "; choose a folder that you may write to",
            _ => "",
        };
        Fault::Failed(format!("cannot {doing} {path}: {cause}{next}"))
    }
}
