//! What can go wrong with the private cluster, each with what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::binaries::MAJOR_MIN;

/// Why the private cluster cannot be used. The message says what to do.
#[derive(Debug)]
pub enum ClusterError {
    /// No folder with `postgres` and `initdb` was found.
    NoBinaries {
        /// Where we looked.
        searched: Vec<PathBuf>,
    },
    /// The binaries are older than we support.
    BinariesTooOld {
        /// Folder of the binaries.
        folder: PathBuf,
        /// Their major version.
        major: u32,
    },
    /// The cluster was made by another major version than the binaries.
    Version {
        /// The cluster's folder.
        data: PathBuf,
        /// Major version that made the cluster.
        cluster: u32,
        /// Folder of the binaries.
        binaries: PathBuf,
        /// Their major version.
        found: u32,
    },
    /// We are root and have no account to run the server as.
    NoAccount,
    /// The account has no name in the system, which PostgreSQL refuses.
    Nameless {
        /// User id of the account.
        uid: u32,
    },
    /// The account the server runs as cannot get at a folder or program.
    Unreachable {
        /// The account.
        account: String,
        /// What it has to reach.
        path: PathBuf,
        /// The folder on the way that is closed to it, when one could be named.
        closed: Option<PathBuf>,
    },
    /// The cluster belongs to somebody else, and we are not root.
    OtherOwner {
        /// The cluster's folder.
        data: PathBuf,
        /// User id of its owner.
        owner: u32,
    },
    /// The cluster's folder holds something that is no cluster.
    NotACluster {
        /// The folder.
        data: PathBuf,
    },
    /// Another process runs this cluster and did not finish in time.
    Busy {
        /// The cluster's folder.
        folder: PathBuf,
        /// The process that runs it, when it could be read.
        pid: Option<u32>,
    },
    /// A program of PostgreSQL ended badly.
    Failed {
        /// Which program.
        program: &'static str,
        /// The end of what it said.
        said: String,
        /// Where it said everything.
        log: PathBuf,
    },
    /// The server lives but does not get ready.
    NotReady {
        /// How long we waited, in seconds.
        waited_s: u64,
        /// Its log.
        log: PathBuf,
    },
    /// The server did not end when told to.
    DidNotStop {
        /// Its process id.
        pid: u32,
    },
    /// It says that it is ready, and refuses us.
    Refused(sqlx::Error),
    /// A file or a program could not be used.
    Io {
        /// What we were doing, in the form "write".
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Turns the system's error into ours, with what was done to what.
pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.to_owned();
    move |source| ClusterError::Io { doing, path, source }
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBinaries { searched } => {
                let searched: Vec<_> = searched.iter().map(|path| path.display().to_string()).collect();
                write!(
                    f,
                    "no PostgreSQL server found (looked in {}): install it (`apt-get install postgresql`, or `make run`, which does it for you), \
                     name its folder in SLUICE_POSTGRES_BIN, or use a database of your own with DATABASE_URL",
                    searched.join(", ")
                )
            }
            Self::BinariesTooOld { folder, major } => {
                write!(f, "PostgreSQL {major} in {} is too old: install version {MAJOR_MIN} or newer", folder.display())
            }
            Self::Version { data, cluster, binaries, found } => write!(
                f,
                "the database in {} was made by PostgreSQL {cluster}, but the server in {} is PostgreSQL {found}: install PostgreSQL {cluster} \
                 or name its folder in SLUICE_POSTGRES_BIN; to move to {found}, dump with {cluster} and restore (deploy/README.md, \"Upgrade\")",
                data.display(),
                binaries.display()
            ),
            Self::NoAccount => {
                write!(
                    f,
                    "PostgreSQL does not run as root, and there is no account `postgres` or `nobody` to run it as: make one (`useradd --system postgres`), or start as an ordinary user"
                )
            }
            Self::Nameless { uid } => {
                write!(
                    f,
                    "user id {uid} has no name in /etc/passwd, and PostgreSQL refuses to run without: add an entry, or use DATABASE_URL"
                )
            }
            Self::Unreachable { account, path, closed } => {
                let closed = closed.as_deref().unwrap_or(path).display();
                write!(
                    f,
                    "PostgreSQL runs as `{account}` here, and {closed} is closed to that account, so it cannot reach {}: open the way (`chmod o+x {closed}`), \
                     or keep the data elsewhere with SLUICE_DATA_DIR (such as /var/lib/sluice)",
                    path.display()
                )
            }
            Self::OtherOwner { data, owner } => {
                write!(
                    f,
                    "the database in {} belongs to user id {owner}: run as that user or as root, or choose another folder with SLUICE_DATA_DIR",
                    data.display()
                )
            }
            Self::NotACluster { data } => {
                write!(
                    f,
                    "{} is not empty and holds no database (no PG_VERSION): restore it from a backup, or move it away to begin anew",
                    data.display()
                )
            }
            Self::Busy { folder, pid } => {
                let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                write!(f, "{who} is using the database in {}: wait until it has finished, or end it, then try again", folder.display())
            }
            Self::Failed { program, said, log } => write!(f, "{program} failed; {} ends with:\n{said}", log.display()),
            Self::NotReady { waited_s, log } => {
                write!(f, "PostgreSQL is not ready after {waited_s} s; {} says what it is doing", log.display())
            }
            Self::DidNotStop { pid } => {
                write!(f, "PostgreSQL (process {pid}) does not end: look at it, then `kill -9 {pid}`; nothing committed is lost by that")
            }
            Self::Refused(error) => write!(f, "PostgreSQL runs but refuses the connection: {error}"),
            Self::Io { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for ClusterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}
