//! Clearing away what an earlier life of a cluster left behind.
//!
//! A pid file proves nothing: its number may name a dead process, a zombie that still answers signals, or a stranger.
//! A process is of this cluster when it runs `postgres` with the cluster's folder as its working folder.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::error::{ClusterError, io_error};
use super::layout::Layout;

/// A fast shutdown writes a checkpoint; after this long we ask for an immediate one.
pub(super) const FAST_STOP: Duration = Duration::from_secs(10);

/// After an immediate shutdown the server kills its own children within 5 s.
pub(super) const IMMEDIATE_STOP: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(10);

/// Ends every process of an earlier life and removes its lock files; the server then recovers from its log by itself.
/// Call it only while holding the owner's lock: nobody else may rightly run this cluster then.
pub(super) fn recover(layout: &Layout) -> Result<(), ClusterError> {
    if let Some(server) = orphaned_server(layout) {
        // Its parent died a moment ago, and the kernel told it the same.
        end(server, &layout.data, &[(Signal::INT, FAST_STOP), (Signal::QUIT, IMMEDIATE_STOP)])?;
    }
    end_processes_in(&layout.data)?;
    let socket = layout.socket();
    let socket_lock = PathBuf::from(format!("{}.lock", socket.display()));
    for path in [layout.pid_file(), socket, socket_lock] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_error("remove", &path)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Kills every server process whose working folder is `folder`. A busy backend outlives its killed server,
/// and while it holds the shared memory no new server starts.
pub(super) fn end_processes_in(folder: &Path) -> Result<(), ClusterError> {
    for pid in processes_in(folder) {
        end(pid, folder, &[(Signal::KILL, IMMEDIATE_STOP)])?;
    }
    Ok(())
}

fn orphaned_server(layout: &Layout) -> Option<Pid> {
    let (pid, _) = layout.pid_file_says()?;
    processes_in(&layout.data).into_iter().find(|process| process.as_raw_pid().cast_unsigned() == pid)
}

fn end(pid: Pid, folder: &Path, steps: &[(Signal, Duration)]) -> Result<(), ClusterError> {
    for (signal, patience) in steps {
        match kill_process(pid, *signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(io_error("end the server in", folder)(error.into())),
        }
        let asked = Instant::now();
        while asked.elapsed() < *patience {
            if !processes_in(folder).contains(&pid) {
                return Ok(());
            }
            #[expect(clippy::disallowed_methods, reason = "recovery has a blocking thread of its own")]
            sleep(POLL);
        }
    }
    Err(ClusterError::DidNotStop { pid: pid.as_raw_pid().cast_unsigned() })
}

/// The living server processes of a folder. Zombies show neither program nor folder, so they do not count.
fn processes_in(folder: &Path) -> Vec<Pid> {
    let Ok(folder) = fs::metadata(folder) else { return Vec::new() };
    let is_here =
        |process: &Path| fs::metadata(process.join("cwd")).is_ok_and(|cwd| (cwd.dev(), cwd.ino()) == (folder.dev(), folder.ino()));
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
    named.filter(|(_, process)| is_server(process) && is_here(process)).filter_map(|(pid, _)| Pid::from_raw(pid)).collect()
}

/// Whether a process runs `postgres`, also one whose program has been replaced by an upgrade since.
fn is_server(process: &Path) -> bool {
    fs::read_link(process.join("exe")).is_ok_and(|program| {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        name.strip_suffix(" (deleted)").unwrap_or(&name) == "postgres"
    })
}
