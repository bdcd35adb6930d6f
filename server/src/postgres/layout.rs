//! Where everything of a cluster lies, and how to reach it.

use std::fs::{self, DirBuilder};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::account::Account;
use super::error::{ClusterError, io_error};
use crate::data_dir::FileLock;

/// Role and database that everything of ours uses.
pub(super) const NAME: &str = "sluice";

/// Only picks the socket's file name: nothing listens on a port.
const PORT: u16 = 5432;

/// Longest socket path the kernel takes, in bytes (`sun_path` without its closing zero).
const SOCKET_PATH_MAX: usize = 107;

/// The places of one cluster, all absolute.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
    /// The cluster itself.
    pub(super) data: PathBuf,
    /// Where a cluster is made, before it is moved to `data` in one step.
    pub(super) making: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) log: PathBuf,
    /// Held alone by whoever started the server, for as long as it runs.
    pub(super) owner_lock: PathBuf,
    /// Shared by everybody else who uses the server.
    pub(super) users_lock: PathBuf,
}

impl Layout {
    /// The layout of a folder, which is made if it is missing.
    pub(super) fn open(folder: &Path) -> Result<Self, ClusterError> {
        // 0755 whatever the umask: when root runs us, the server's account has to pass through.
        if !folder.is_dir() {
            DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(io_error("make", folder))?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(io_error("open", folder))?;
        }
        Ok(Self::under(folder.canonicalize().map_err(io_error("find", folder))?))
    }

    /// The layout of a folder which may not exist.
    pub(super) fn peek(folder: &Path) -> Option<Self> {
        folder.canonicalize().ok().map(Self::under)
    }

    fn under(root: PathBuf) -> Self {
        Self {
            data: root.join("data"),
            making: root.join("data.new"),
            socket_dir: socket_dir(&root),
            log: root.join("postgres.log"),
            owner_lock: root.join("owner.lock"),
            users_lock: root.join("users.lock"),
            root,
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{PORT}"))
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.data.join("postmaster.pid")
    }

    /// Major version that made the cluster; `None` where there is none yet.
    pub(super) fn cluster_major(&self) -> Option<u32> {
        fs::read_to_string(self.data.join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    /// The process that the server's pid file names, and whether that server takes connections.
    pub(super) fn pid_file_says(&self) -> Option<(u32, bool)> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let status = lines.nth(6).unwrap_or_default(); // line 8
        Some((pid, status.trim() == "ready"))
    }

    /// The server takes connections, and its owner (who holds the lock now) started it.
    pub(super) fn is_ready(&self) -> bool {
        let owned = FileLock::read(&self.owner_lock).and_then(|text| text.split_once(' ')?.1.trim().parse().ok());
        FileLock::is_held(&self.owner_lock) && owned.is_some() && self.pid_file_says() == owned.map(|pid| (pid, true))
    }

    /// The process that holds the owner's lock, as it wrote itself down.
    pub(super) fn owner_pid(&self) -> Option<u32> {
        FileLock::read(&self.owner_lock)?.split_whitespace().next()?.parse().ok()
    }

    pub(super) fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(PORT)
            .username(NAME)
            .database(NAME)
            .ssl_mode(PgSslMode::Disable)
            .application_name(NAME)
    }

    /// The same for programs that want a `DATABASE_URL`.
    pub(super) fn url(&self) -> String {
        let folder = self.socket_dir.to_string_lossy();
        format!("postgres://{NAME}@localhost:{PORT}/{NAME}?host={}", utf8_percent_encode(&folder, NON_ALPHANUMERIC))
    }

    /// Makes the socket's folder for `account` alone. One in a folder that others can write is taken only if it is that already.
    pub(super) fn make_socket_dir(&self, account: &Account) -> Result<(), ClusterError> {
        let dir = &self.socket_dir;
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => return account.own(dir),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("make", dir)(error)),
        }
        let found = fs::symlink_metadata(dir).map_err(io_error("look at", dir))?;
        let trusted = found.is_dir() && found.uid() == account.uid && found.mode() & 0o077 == 0;
        if trusted {
            return Ok(());
        }
        if dir.starts_with(&self.root) && found.is_dir() {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(io_error("close", dir))?;
            return account.own(dir);
        }
        let source = std::io::Error::other("it belongs to somebody else or is open to others; remove it and try again");
        Err(io_error("use", dir)(source))
    }
}

/// `sock` in the folder, or a short folder named after it where the path would be too long for a socket.
fn socket_dir(root: &Path) -> PathBuf {
    let near = root.join("sock");
    // The lock beside the socket is a plain file, so only the socket's own path counts.
    if near.join(format!(".s.PGSQL.{PORT}")).as_os_str().len() <= SOCKET_PATH_MAX {
        return near;
    }
    let digest = blake3::hash(root.as_os_str().as_bytes()).to_hex();
    PathBuf::from(format!("/tmp/sluice-postgres-{}", &digest[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_too_long_for_a_socket_gets_a_short_folder_that_every_process_finds() {
        let room = SOCKET_PATH_MAX - "/sock/.s.PGSQL.5432".len();
        let fits = format!("/{}", "d".repeat(room - 1));
        let exceeds = format!("/{}", "d".repeat(room));
        assert_eq!(socket_dir(Path::new(&fits)), Path::new(&fits).join("sock"));
        let short = socket_dir(Path::new(&exceeds));
        assert!(short.starts_with("/tmp") && short.as_os_str().len() < 60, "{}", short.display());
        assert_eq!(short, socket_dir(Path::new(&exceeds)));
        assert_ne!(short, socket_dir(Path::new(&format!("{exceeds}e"))));
    }

    #[test]
    fn the_url_survives_a_folder_with_odd_letters() {
        let layout = Layout::under(PathBuf::from("/srv/a b&c?d%"));
        let options: PgConnectOptions = layout.url().parse().expect("a URL that sqlx reads");
        assert_eq!(options.get_socket(), Some(&PathBuf::from("/srv/a b&c?d%/sock")));
    }
}
