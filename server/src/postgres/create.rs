//! Making a new cluster: beside its place, then moved there in one step, so that a killed attempt leaves no half cluster.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::account::Account;
use super::binaries::Binaries;
use super::child;
use super::error::{ClusterError, io_error};
use super::layout::{Layout, NAME};
use super::recover;
use crate::data_dir;

/// Lines of a log that a message carries.
const TAIL_LINES: usize = 5;

/// Makes the cluster with its role and database. Call it only while holding the owner's lock.
pub(super) fn create(layout: &Layout, binaries: &Binaries, account: &Account, durable: bool) -> Result<(), ClusterError> {
    let holds_something = fs::read_dir(&layout.data).is_ok_and(|mut entries| entries.next().is_some());
    if holds_something {
        return Err(ClusterError::NotACluster { data: layout.data.clone() });
    }
    clear_an_earlier_attempt(layout)?;
    let making = &layout.making;
    DirBuilder::new().mode(0o700).create(making).map_err(io_error("make", making))?;
    account.own(making)?;

    let mut initdb = account.command(&binaries.initdb());
    initdb.arg("-D").arg(making).args(["-U", NAME, "--auth=peer", "--encoding=UTF8", "--locale=C.UTF-8"]);
    initdb.args(["--data-checksums", "--no-instructions"]).args((!durable).then_some("--no-sync"));
    run(initdb, "initdb", "", layout)?;

    let mut single = account.command(&binaries.postgres());
    single.arg("--single").arg("-D").arg(making).args(["-c", "exit_on_error=true"]);
    single.args((!durable).then_some("-F")).arg("template1");
    run(single, "postgres --single", &format!("create database {NAME}\n"), layout)?;

    fs::rename(making, &layout.data).map_err(io_error("move into place", making))?;
    File::open(&layout.root).and_then(|root| root.sync_all()).map_err(io_error("save", &layout.root))
}

/// Writes who may connect: root and the cluster's account, over the socket, known by the kernel, as our role.
///
/// Written at every start, since a restored cluster may belong to another account than the one that was backed up.
pub(super) fn write_access(layout: &Layout, account: &Account) -> Result<(), ClusterError> {
    let ident = format!("own root {NAME}\nown \"{}\" {NAME}\n", account.name);
    for (name, text) in [("pg_hba.conf", "local all all peer map=own\n"), ("pg_ident.conf", ident.as_str())] {
        let path = layout.data.join(name);
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            continue;
        }
        let beside = layout.data.join(format!("{name}.new"));
        let _ = fs::remove_file(&beside); // usually there is none
        let mut file = File::create_new(&beside).map_err(io_error("write", &beside))?;
        file.write_all(text.as_bytes()).map_err(io_error("write", &beside))?;
        account.own(&beside)?;
        fs::rename(&beside, &path).map_err(io_error("write", &path))?;
    }
    Ok(())
}

/// The last lines of a log, from `offset` bytes on.
pub(super) fn tail(log: &Path, offset: u64) -> String {
    let text = fs::read(log).unwrap_or_default();
    let fresh = text.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
    let fresh = String::from_utf8_lossy(fresh);
    let lines: Vec<_> = fresh.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn clear_an_earlier_attempt(layout: &Layout) -> Result<(), ClusterError> {
    if !layout.making.exists() {
        return Ok(());
    }
    recover::end_processes_in(&layout.making)?;
    fs::remove_dir_all(&layout.making).map_err(io_error("remove", &layout.making))
}

/// Runs a program of PostgreSQL to its end, with `input` on its standard input.
fn run(mut command: Command, program: &'static str, input: &str, layout: &Layout) -> Result<(), ClusterError> {
    let path = layout.root.join("create.log");
    let failed_to_log = || io_error("write", &path);
    let log = data_dir::private_file().write(true).truncate(true).open(&path).map_err(failed_to_log())?;
    command.stdout(log.try_clone().map_err(failed_to_log())?).stderr(log).stdin(Stdio::piped());
    // SIGKILL: on gentler signals initdb tidies up, and would do so under the next attempt's feet.
    let mut child = child::spawn(command, Signal::KILL).map_err(io_error("run", Path::new(program)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended without reading says why in its log.
        let _ = stdin.write_all(input.as_bytes());
    }
    let status = child.wait().map_err(io_error("wait for", Path::new(program)))?;
    if status.success() {
        return Ok(());
    }
    let mut said = tail(&path, 0);
    if said.is_empty() {
        said = status.to_string();
    }
    Err(ClusterError::Failed { program, said, log: path })
}
