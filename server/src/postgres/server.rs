//! The server's process, our child: launched, watched, ended, reaped.

use std::fs::{self, File};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::watch;
use tokio::time::timeout;

use super::account::Account;
use super::binaries::Binaries;
use super::cluster::Settings;
use super::error::{ClusterError, io_error};
use super::layout::Layout;
use super::recover::{FAST_STOP, IMMEDIATE_STOP};
use super::{child, create};
use crate::data_dir;

/// The log is moved aside at a start when it has grown beyond this, so two such files are the most.
const LOG_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Server {
    pid: Pid,
    // Signals go through this and not through the number, which may name a stranger once the child is reaped.
    pidfd: OwnedFd,
    exited: watch::Receiver<Option<ExitStatus>>,
    log: PathBuf,
    log_offset: u64,
}

impl Server {
    pub(super) fn launch(layout: &Layout, binaries: &Binaries, account: &Account, settings: &Settings) -> Result<Self, ClusterError> {
        let log = open_log(layout)?;
        let log_offset = log.metadata().map_err(io_error("look at", &layout.log))?.len();
        let postgres = binaries.postgres();
        let mut command = account.command(&postgres);
        command.arg("-D").arg(&layout.data).arg("-k").arg(&layout.socket_dir);
        for option in options(settings) {
            command.arg("-c").arg(option);
        }
        let stderr = log.try_clone().map_err(io_error("write", &layout.log))?;
        command.stdin(Stdio::null()).stdout(log).stderr(stderr);

        // SIGINT is PostgreSQL's fast shutdown: roll back, write a checkpoint, end.
        let mut child = child::spawn(command, Signal::INT).map_err(io_error("run", &postgres))?;
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| io_error("watch", &postgres)(errno.into()))?;
        let (ended, exited) = watch::channel(None);
        let reap = move || {
            let status = child.wait().unwrap_or_default(); // an error means that it is no child any more
            ended.send_replace(Some(status));
        };
        std::thread::Builder::new().name("postgres-reaper".to_owned()).spawn(reap).map_err(io_error("watch", &postgres))?;
        Ok(Self { pid, pidfd, exited, log: layout.log.clone(), log_offset })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_pid().cast_unsigned()
    }

    pub(super) fn has_exited(&self) -> bool {
        self.exited.borrow().is_some()
    }

    pub(super) fn exited(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        let mut exited = self.exited.clone();
        async move {
            // The sender goes only after it has sent, so an error cannot hide an exit that is yet to come.
            exited.wait_for(Option::is_some).await.ok().and_then(|status| *status).unwrap_or_default()
        }
    }

    /// What its log says since the launch.
    pub(super) fn failure(&self) -> ClusterError {
        ClusterError::Failed { program: "postgres", said: create::tail(&self.log, self.log_offset), log: self.log.clone() }
    }

    /// Fast, then immediate shutdown. When this returns the child is reaped.
    pub(super) async fn stop(&self) -> Result<(), ClusterError> {
        for (signal, patience) in [(Signal::INT, FAST_STOP), (Signal::QUIT, IMMEDIATE_STOP)] {
            self.signal(signal)?;
            if timeout(patience, self.exited()).await.is_ok() {
                return Ok(());
            }
        }
        Err(ClusterError::DidNotStop { pid: self.pid() })
    }

    fn signal(&self, signal: Signal) -> Result<(), ClusterError> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(io_error("end the server writing", &self.log)(error.into())),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.has_exited() {
            // Nobody is left to tell of a failure; at the latest the child ends with this process.
            let _ = self.signal(Signal::INT);
        }
    }
}

fn options(settings: &Settings) -> Vec<String> {
    let mut options = vec![
        "port=5432".to_owned(),
        "listen_addresses=".to_owned(),
        "unix_socket_permissions=0700".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        // The default syncs file by file and makes a start after a kill seconds slower.
        "recovery_init_sync_method=syncfs".to_owned(),
        format!("max_connections={}", settings.connections_max),
    ];
    if !settings.durable {
        options.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
    }
    options
}

fn open_log(layout: &Layout) -> Result<File, ClusterError> {
    let log = &layout.log;
    if fs::metadata(log).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
        fs::rename(log, log.with_extension("log.old")).map_err(io_error("move aside", log))?;
    }
    let file = data_dir::private_file().append(true).open(log).map_err(io_error("write", log))?;
    if file.metadata().is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        // An earlier version made it, open to everybody.
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(io_error("write", log))?;
    }
    Ok(file)
}
