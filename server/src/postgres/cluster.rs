//! A cluster that is ours: started, ready, watched, stopped.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::time::{sleep, timeout};

use super::account::Account;
use super::error::{ClusterError, io_error};
use super::layout::Layout;
use super::server::Server;
use super::{binaries, create, recover};
use crate::data_dir::FileLock;

/// How long `start` waits for a command that runs the cluster now.
const OWNER_WAIT: Duration = Duration::from_secs(30);

/// How long `stop` waits for commands that use the cluster beside us.
const GUESTS_WAIT: Duration = Duration::from_secs(3);

/// A server that recovers from its log may take long; one that needs longer than this is in trouble.
const READY_WAIT: Duration = Duration::from_secs(300);

pub(super) const POLL: Duration = Duration::from_millis(10);

/// How a private cluster is found and run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder with `postgres` and `initdb`; `None` searches for it.
    pub binaries: Option<PathBuf>,
    /// Most connections at once, over all processes.
    pub connections_max: u16,
    /// Whether a commit survives a power failure. Only clusters for tests go without.
    pub durable: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { binaries: None, connections_max: 100, durable: true }
    }
}

/// A private PostgreSQL cluster in a folder of the data directory, reached over a Unix socket only.
///
/// The server ends with this process, however it ends; `stop` ends it in order. Dropped, it is told to end and not waited for.
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    // Before the lock: fields are dropped in this order, and the server has to know before the next owner comes.
    server: Server,
    owner: FileLock,
}

impl Cluster {
    /// Makes the cluster if there is none, recovers it, starts the server and waits until it takes connections.
    ///
    /// Waits up to 30 s for a command that runs the same cluster now, then answers `Busy`.
    pub async fn start(folder: &Path, settings: &Settings) -> Result<Self, ClusterError> {
        let layout = Layout::open(folder)?;
        let asked = Instant::now();
        loop {
            if let Some(owner) = own(&layout)? {
                return Self::start_owned(layout, owner, settings).await;
            }
            if asked.elapsed() > OWNER_WAIT {
                return Err(ClusterError::Busy { pid: layout.owner_pid(), folder: layout.root });
            }
            sleep(POLL).await;
        }
    }

    /// The cluster of this folder as another process runs it now; `None` when none does, or it is not ready yet.
    pub fn running(folder: &Path) -> Option<PgConnectOptions> {
        Layout::peek(folder).filter(Layout::is_ready).map(|layout| layout.connect_options())
    }

    /// How to connect, as the one role to the one database.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.layout.connect_options()
    }

    /// The same for programs that want a `DATABASE_URL`.
    pub fn url(&self) -> String {
        self.layout.url()
    }

    /// Ends when the server has ended, for whatever reason. It borrows nothing, so it can be awaited beside everything else.
    pub fn exited(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        self.server.exited()
    }

    /// Gives commands that use the cluster beside us 3 s to finish, then stops the server: open transactions are rolled back.
    pub async fn stop(self) -> Result<(), ClusterError> {
        let _guests_kept_out = timeout(GUESTS_WAIT, self.guests_gone()).await;
        self.server.stop().await
    }

    /// Waits for every guest to leave, then stops the server.
    pub(super) async fn stop_after_guests(self) -> Result<(), ClusterError> {
        let _guests_kept_out = tokio::select! {
            lock = self.guests_gone() => Some(lock?),
            _ = self.exited() => None,
        };
        self.server.stop().await
    }

    pub(super) async fn start_owned(layout: Layout, owner: FileLock, settings: &Settings) -> Result<Self, ClusterError> {
        let (launched, settings) = (layout.clone(), settings.clone());
        let launch = tokio::task::spawn_blocking(move || launch(&launched, &settings));
        let server = launch.await.map_err(|error| io_error("start", &layout.root)(error.into()))??;
        let mut cluster = Self { layout, server, owner };
        cluster.ready().await?;
        let who = format!("{} {}", std::process::id(), cluster.server.pid());
        cluster.owner.write(&who).map_err(io_error("write", &cluster.layout.owner_lock))?;
        Ok(cluster)
    }

    async fn ready(&self) -> Result<(), ClusterError> {
        let asked = Instant::now();
        while self.layout.pid_file_says() != Some((self.server.pid(), true)) {
            if self.server.has_exited() {
                return Err(self.server.failure());
            }
            if asked.elapsed() > READY_WAIT {
                return Err(ClusterError::NotReady { waited_s: READY_WAIT.as_secs(), log: self.layout.log.clone() });
            }
            sleep(POLL).await;
        }
        let connection = self.connect_options().connect().await.map_err(ClusterError::Refused)?;
        connection.close().await.map_err(ClusterError::Refused)
    }

    async fn guests_gone(&self) -> Result<FileLock, ClusterError> {
        let path = &self.layout.users_lock;
        let mut told = false;
        loop {
            if let Some(lock) = FileLock::try_exclusive(path).map_err(io_error("lock", path))? {
                return Ok(lock);
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!("waiting for another command that uses the database");
            }
            sleep(POLL).await;
        }
    }
}

/// Takes the right to run the server; `None` when another process has it.
pub(super) fn own(layout: &Layout) -> Result<Option<FileLock>, ClusterError> {
    let path = &layout.owner_lock;
    let Some(mut owner) = FileLock::try_exclusive(path).map_err(io_error("lock", path))? else { return Ok(None) };
    owner.write(&std::process::id().to_string()).map_err(io_error("write", path))?;
    Ok(Some(owner))
}

/// Everything up to the running child; blocks for as long as `initdb` takes.
fn launch(layout: &Layout, settings: &Settings) -> Result<Server, ClusterError> {
    let account = Account::of(layout)?;
    let binaries = binaries::find(settings.binaries.as_deref(), layout, &account)?;
    if layout.cluster_major().is_none() {
        create::create(layout, &binaries, &account, settings.durable)?;
    }
    recover::recover(layout)?;
    create::write_access(layout, &account)?;
    layout.make_socket_dir(&account)?;
    Server::launch(layout, &binaries, &account, settings)
}
