//! `with-postgres FOLDER COMMAND [ARGUMENT]…` runs a command with a private PostgreSQL for tests: `DATABASE_URL` names a role
//! that may create databases. Exits with the command's status. A second one on the same folder shares the first one's server.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use server::postgres::{Settings, attach};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

/// Every test has a pool of its own, and as many tests run at once as there are cores.
const CONNECTIONS_MAX: u16 = 400;

const USAGE: u8 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [folder, command @ ..] = arguments.as_slice() else { return fail("usage: with-postgres FOLDER COMMAND [ARGUMENT]…", USAGE) };
    if command.is_empty() {
        return fail("usage: with-postgres FOLDER COMMAND [ARGUMENT]…", USAGE);
    }
    match run(Path::new(folder), command).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error.to_string(), 1),
    }
}

async fn run(folder: &Path, command: &[OsString]) -> Result<u8, Box<dyn Error>> {
    let settings = Settings { binaries: None, connections_max: CONNECTIONS_MAX, durable: false };
    // Before the server starts, so that no signal finds us without an answer to it.
    let signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let postgres = attach(folder, &settings).await?;
    let status = watch(command, &postgres.url(), signals).await;
    postgres.release().await?;
    let status = status?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}

async fn watch(command: &[OsString], url: &str, (mut interrupt, mut terminate): (Signals, Signals)) -> Result<ExitStatus, String> {
    let failed = |error| format!("cannot run {}: {error}", command[0].display());
    let mut child = Command::new(&command[0]).args(&command[1..]).env("DATABASE_URL", url).spawn().map_err(failed)?;
    loop {
        tokio::select! {
            status = child.wait() => return status.map_err(failed),
            // The terminal has sent it to the command as well, and the command decides what it means.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => pass_on(&child),
        }
    }
}

fn pass_on(child: &Child) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // It may have ended just now, which is what was asked for.
        let _ = kill_process(pid, Signal::TERM);
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    // Nothing is left to do about a standard error that cannot be written.
    let _ = writeln!(std::io::stderr(), "with-postgres: {message}");
    ExitCode::from(code)
}
