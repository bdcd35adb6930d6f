//! Using the cluster from a command: beside the portal that runs it, beside another command, or alone.
//!
//! Whoever takes the owner's lock starts the server and stops it. Everybody else holds the users' lock together,
//! and the owner stops the server only once it has that lock alone. The kernel frees both when a process dies.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use tokio::time::sleep;

use super::cluster::{Cluster, POLL, Settings, own};
use super::error::{ClusterError, io_error};
use super::layout::Layout;
use crate::data_dir::FileLock;

/// How long we wait for a server that another process starts or stops. Longer than a stop takes at worst.
const OTHER_WAIT: Duration = Duration::from_secs(60);

/// The use of a cluster for the length of a command. Call `release` at the end, also after a failure:
/// a guest who is only dropped leaves in order too, but an owner would stop the server under its guests.
#[derive(Debug)]
pub struct Attached(Place);

#[derive(Debug)]
enum Place {
    /// We started the server.
    Owner(Cluster),
    /// Somebody else did, and keeps it for as long as we hold the lock.
    Guest { layout: Layout, _users: FileLock },
}

/// Connects to the cluster of this folder if a process runs it, else starts it for as long as this is held.
///
/// Safe to call from any number of processes at once.
pub async fn attach(folder: &Path, settings: &Settings) -> Result<Attached, ClusterError> {
    let layout = Layout::open(folder)?;
    let asked = Instant::now();
    while asked.elapsed() < OTHER_WAIT {
        if let Some(owner) = own(&layout)? {
            return Ok(Attached(Place::Owner(Cluster::start_owned(layout, owner, settings).await?)));
        }
        // None while the owner is stopping; then we soon become the next owner.
        let users = FileLock::try_shared(&layout.users_lock).map_err(io_error("lock", &layout.users_lock))?;
        if let Some(users) = users
            && layout.is_ready()
        {
            return Ok(Attached(Place::Guest { layout, _users: users }));
        }
        sleep(POLL).await;
    }
    Err(ClusterError::Busy { pid: layout.owner_pid(), folder: layout.root })
}

impl Attached {
    /// How to connect, as the one role to the one database.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.layout_or(Cluster::connect_options, Layout::connect_options)
    }

    /// The same for programs that want a `DATABASE_URL`.
    pub fn url(&self) -> String {
        self.layout_or(Cluster::url, Layout::url)
    }

    /// Gives the cluster back. Whoever started it waits until the others have left, and stops it.
    pub async fn release(self) -> Result<(), ClusterError> {
        match self.0 {
            Place::Owner(cluster) => cluster.stop_after_guests().await,
            Place::Guest { .. } => Ok(()),
        }
    }

    fn layout_or<T>(&self, owner: impl Fn(&Cluster) -> T, guest: impl Fn(&Layout) -> T) -> T {
        match &self.0 {
            Place::Owner(cluster) => owner(cluster),
            Place::Guest { layout, .. } => guest(layout),
        }
    }
}
