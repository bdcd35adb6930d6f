//! `large-release FOLDER ORG/NAME DEST`: offers a release of 1,000 shards and 350 GB, which nobody has, in the private database of the
//! portal that keeps its data in FOLDER, and leaves nine tenths of it, sparse, in DEST. For what only the size of a list decides.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use server::postgres::{Settings, attach};
use sqlx::{Connection, PgConnection};
use tests::LargeRelease;

const SHARDS: usize = 1_000;
const SHARD_BYTES: u64 = 350_000_000;
const COMPLETE: usize = 900;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [folder, name, dest] => run(Path::new(folder), name, Path::new(dest)).await,
        _ => Err("usage: large-release FOLDER ORG/NAME DEST".into()),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    // Nothing is left to do about a standard error that cannot be written.
    let _ = writeln!(std::io::stderr(), "large-release: {error}");
    ExitCode::FAILURE
}

async fn run(folder: &Path, name: &str, dest: &Path) -> Result<(), Box<dyn Error>> {
    let postgres = attach(&folder.join("postgres"), &Settings::default()).await?;
    let mut db = PgConnection::connect_with(&postgres.connect_options()).await?;
    let release = LargeRelease::offer(&mut db, name, SHARDS, SHARD_BYTES).await?;
    db.close().await?;
    postgres.release().await?;
    release.is_partly_at(dest, COMPLETE)?;
    Ok(())
}
