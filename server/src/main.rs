//! Parses the command line and calls one file of `commands/`; nothing else.

use std::process::ExitCode;

use clap::Parser;
use server::commands::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    // On the heap: the commands together are a large future.
    ExitCode::from(Box::pin(run(Cli::parse())).await as u8)
}
