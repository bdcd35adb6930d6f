//! The commands of `sluice`, one file each. Results go to stdout, talk to stderr; exit codes as in `Exit`.

pub mod audit;
pub mod bench;
pub mod convert;
pub mod digest;
pub mod doctor;
pub mod gc;
pub mod generate;
pub mod grant;
mod greeting;
pub mod key;
mod log;
pub mod login;
pub mod mail;
mod progress;
pub mod publish;
pub mod pull;
pub mod release;
pub mod scrub;
pub mod serve;
pub mod token;
pub mod user;
pub mod verify;

use std::io::{ErrorKind, Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use inference::{DeviceChoice, Precision};
use sqlx::postgres::PgConnectOptions;

use crate::access;
use crate::client::Fault;
use crate::config::{ClientConfig, Config};
use crate::error::Error;
use crate::portal::Portal;
use crate::{clock::Clock, database, postgres};

/// How a command ended, for the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Bytes do not match their digest or signature.
    Mismatch = 3,
    /// Not allowed; the message says which condition is missing.
    Refused = 4,
    /// Not now, and to be tried again by who asked: what mail servers know as EX_TEMPFAIL.
    Later = 75,
}

/// Releases model weights responsibly: apply, decide, download, try.
#[derive(Parser)]
#[command(name = "sluice", version, about, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Portal(PortalCommand),
    /// Checks settings, folders, database, store, mail, keys, audit log and engine, and says what to do
    #[command(
        after_help = "Examples:\n  sluice doctor\n  sluice doctor --json | jq '.checks[] | select(.state == \"failed\")'\n\nSafe beside a portal that runs; nothing is sent. Ends with 1 if something fails."
    )]
    Doctor(doctor::Doctor),
    /// Downloads a release in parallel, verifies every chunk, goes on after anything
    #[command(
        after_help = "Examples:\n  sluice pull acme/opt-125m\n  sluice pull acme/opt-125m weights --revision v1.0 --include '*.safetensors' --include '*.json'\n\nRun it again after a break: only what is missing comes. SLUICE_ENDPOINT names the portal, SLUICE_TOKEN the token (or `sluice login`)."
    )]
    Pull(pull::Pull),
    /// Checks a downloaded folder against its signatures, offline; names every file that differs, is missing or is extra
    #[command(after_help = "Example:\n  sluice verify ./opt-125m --key publisher.pem")]
    Verify(verify::Verify),
    /// Signs this machine in to a portal, by a code that you confirm in a browser
    #[command(after_help = "Example:\n  sluice login --endpoint https://weights.example.org")]
    Login(login::Login),
    /// Revokes the token of a portal and forgets it; offline, only forgets it and says so
    #[command(after_help = "Example:\n  sluice logout --endpoint https://weights.example.org")]
    Logout(login::Login),
}

#[derive(Subcommand)]
enum PortalCommand {
    /// Runs the portal: pages, downloads, playground, mails and the engine, in one process
    #[command(
        after_help = "Example:\n  sluice serve\n  SLUICE_LISTEN=0.0.0.0:8080 SLUICE_PUBLIC_URL=https://weights.example.org sluice serve"
    )]
    Serve,
    /// Makes a folder of weights an immutable release, and prints its revision
    #[command(
        after_help = "Examples:\n  sluice publish ./opt-125m acme/opt-125m --gate application --tag v1.0\n  sluice publish ./opt-125m acme/opt-125m --draft\n\nSafe to repeat and to interrupt: nobody sees half a release, and bytes the store has are not written again."
    )]
    Publish(publish::Publish),
    /// Lets a model continue a text, in the terminal
    #[command(
        after_help = "Examples:\n  sluice generate ./opt-125m --prompt 'The sea was' --max-tokens 40 --seed 7\n  sluice generate sluice/opt-verse-6m --prompt 'The sea was' --temperature 0 --json"
    )]
    Generate(generate::Generate),
    /// Tells what tensors are, whatever file they are in, so that any copy can be proven
    #[command(
        after_help = "Examples:\n  sluice digest ./opt-125m\n  sluice digest pytorch_model.bin model.safetensors --json\n\nEqual tensors have equal digests in .bin, .pt and safetensors. Those of a release stand in its proof/REVISION/tensors.json."
    )]
    Digest(digest::Digest),
    /// Rewrites pytorch_model*.bin, or Meta's own .pt, as safetensors, running nothing from the pickle
    #[command(after_help = "Example:\n  sluice convert ./opt-1.3b ./opt-1.3b-safetensors")]
    Convert(convert::Convert),
    /// Measures how fast a model runs on this machine, beside what its memory allows
    #[command(
        after_help = "Examples:\n  sluice bench ./opt-1.3b --precision exact,int8 --batch 1,8\n  sluice bench ./opt-125m --precision exact,int4 --perplexity book.txt --json"
    )]
    Bench(bench::Bench),
    /// Makes accounts, and lets people in who have lost their password
    #[command(subcommand)]
    User(user::UserCommand),
    /// Gives access to a model and takes it back
    #[command(subcommand)]
    Grant(grant::GrantCommand),
    /// The keys that sign releases
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Lists the releases of a model, publishes or discards a draft, takes a release off offer, puts it back
    #[command(subcommand)]
    Release(release::ReleaseCommand),
    /// The record of what happened: proves it whole, checks receipts
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// What the operator's mail server has to tell
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// Lists what in the store no release needs, and removes it with --delete
    #[command(after_help = "Examples:\n  sluice gc\n  sluice gc --delete --keep-days 30\n\nDoes nothing while a publication runs.")]
    Gc(gc::Gc),
    /// Reads every object of the store back and compares it with its digest; goes on where it was interrupted
    #[command(
        after_help = "Examples:\n  sluice scrub\n  sluice scrub --rate 20000000\n\nEnds with 3 if an object is not what it was; /admin/store and /metrics tell how far it is."
    )]
    Scrub(scrub::Scrub),
    /// Makes access tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
}

/// Runs one command and says how it ended.
pub async fn run(cli: Cli) -> Exit {
    let exit = match cli.command {
        Command::Doctor(command) => Box::pin(doctor::run(&command)).await,
        Command::Pull(command) => as_client(async |config| Box::pin(pull::run(config, command)).await).await,
        Command::Verify(command) => as_client(async |config| verify::run(config, command).await).await,
        Command::Login(command) => as_client(async |config| login::login(config, command).await).await,
        Command::Logout(command) => as_client(async |config| login::logout(&config, &command).await).await,
        Command::Portal(command) => Box::pin(as_portal(command)).await,
    };
    if exit == Exit::Done && RESULT_LOST.load(Ordering::Relaxed) { Exit::Failed } else { exit }
}

/// Runs a command that knows a portal only from outside.
async fn as_client(work: impl AsyncFnOnce(ClientConfig) -> Result<(), Fault>) -> Exit {
    let done = match ClientConfig::from_env() {
        Ok(config) => work(config).await,
        Err(fault) => Err(Fault::Usage(fault)),
    };
    let Err(fault) = done else { return Exit::Done };
    say(&format!("sluice: {fault}"));
    match fault {
        Fault::Usage(_) => Exit::Usage,
        Fault::Mismatch(_) => Exit::Mismatch,
        Fault::NotAllowed(_) => Exit::Refused,
        Fault::Failed(_) => Exit::Failed,
    }
}

/// Runs a command that needs the portal's settings.
async fn as_portal(command: PortalCommand) -> Exit {
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(faults) => {
            say("These settings cannot be used:");
            faults.iter().for_each(|fault| say(&format!("  {fault}")));
            return Exit::Usage;
        }
    };
    let mut is_whole = true;
    let failed = if matches!(command, PortalCommand::Mail(_)) { Exit::Later } else { Exit::Failed };
    let done = match command {
        // Boxed where a store is asked: what its client keeps while it waits is large.
        PortalCommand::Serve => Box::pin(serve::run(config)).await,
        PortalCommand::Publish(command) => with_portal(config, async |portal| Box::pin(publish::run(portal, command)).await).await,
        PortalCommand::Generate(command) => Box::pin(generate::run(config, command)).await,
        PortalCommand::Digest(command) => digest::run(command).await,
        PortalCommand::Convert(command) => convert::run(command).await,
        PortalCommand::Bench(command) => bench::run(command).await,
        PortalCommand::User(command) => with_portal(config, async |portal| Box::pin(user::run(portal, command)).await).await,
        PortalCommand::Grant(command) => with_portal(config, async |portal| Box::pin(grant::run(portal, command)).await).await,
        PortalCommand::Key(command) => with_portal(config, async |portal| Box::pin(key::run(portal, command)).await).await,
        PortalCommand::Release(command) => with_portal(config, async |portal| Box::pin(release::run(portal, command)).await).await,
        PortalCommand::Audit(audit::AuditCommand::Check(command)) => audit::check(&command).map(|believed| is_whole = believed),
        PortalCommand::Audit(audit::AuditCommand::Verify(command)) => {
            let verified = async |portal: &Portal| {
                is_whole = audit::verify(portal, command).await?;
                Ok(())
            };
            with_portal(config, verified).await
        }
        PortalCommand::Mail(command) => with_portal(config, async |portal| mail::run(portal, command).await).await,
        PortalCommand::Gc(command) => with_portal(config, async |portal| gc::run(portal, command).await).await,
        PortalCommand::Scrub(command) => {
            let scrubbed = async |portal: &Portal| {
                is_whole = Box::pin(scrub::run(portal, command)).await?;
                Ok(())
            };
            with_portal(config, scrubbed).await
        }
        PortalCommand::Token(command) => with_portal(config, async |portal| Box::pin(token::run(portal, command)).await).await,
    };
    match done {
        Ok(()) if !is_whole => Exit::Mismatch,
        Ok(()) => Exit::Done,
        Err(error) => {
            say(&format!("sluice: {error}"));
            match error {
                Error::Forbidden(_) | Error::SignedOut => Exit::Refused,
                Error::Invalid(_) => Exit::Usage,
                Error::NotFound(_)
                | Error::Conflict(_)
                | Error::Stale(_)
                | Error::Limited { .. }
                | Error::Busy { .. }
                | Error::Unavailable(_)
                | Error::Internal(_) => failed,
            }
        }
    }
}

/// A precision by its name, for the command line.
fn precision(name: &str) -> Result<Precision, String> {
    Precision::named(name).ok_or_else(|| format!("there are {}", Precision::ALL.map(Precision::name).join(", ")))
}

/// A device by its name, for the command line.
fn device(name: &str) -> Result<DeviceChoice, String> {
    DeviceChoice::named(name).ok_or_else(|| format!("there are {}", DeviceChoice::ALL.map(DeviceChoice::name).join(", ")))
}

/// One line of talk, on stderr.
#[expect(clippy::print_stderr, reason = "talk of the commands goes to stderr, here")]
pub fn say(line: &str) {
    eprintln!("{}", plain(line));
}

/// A text in which somebody else may have had a say, without what a terminal takes for commands.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Set by the first line of result that could not be written.
static RESULT_LOST: AtomicBool = AtomicBool::new(false);

/// One line of result, on stdout. Where nobody takes it any more (`sluice … | head`), the command goes on quietly and ends as failed;
/// where it cannot be written (a full disk), it says so, once.
pub fn result(line: &str) {
    if RESULT_LOST.load(Ordering::Relaxed) {
        return;
    }
    let mut out = stdout().lock();
    if let Err(cause) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        RESULT_LOST.store(true, Ordering::Relaxed);
        if cause.kind() != ErrorKind::BrokenPipe {
            say(&format!("sluice: the result cannot be written: {cause}"));
        }
    }
}

/// Opens the portal's data for the length of one command, whether the portal runs or not.
async fn with_portal(config: Config, work: impl AsyncFnOnce(&Portal) -> Result<(), Error>) -> Result<(), Error> {
    if let Some(url) = &config.database_url {
        let portal = open(config.clone(), url.parse().map_err(Error::internal)?).await?;
        return work(&portal).await;
    }
    let settings = postgres::Settings { binaries: config.postgres_bin.clone(), ..Default::default() };
    let cluster = postgres::attach(&config.data_dir.join("postgres"), &settings)
        .await
        .map_err(|cause| Error::Unavailable(cause.to_string().into()))?;
    let done = match open(config, cluster.connect_options()).await {
        Ok(portal) => {
            let done = work(&portal).await;
            portal.db.close().await;
            done
        }
        Err(error) => Err(error),
    };
    cluster.release().await.map_err(Error::internal)?;
    done
}

/// Connects, brings the schema up to date, opens store and mail.
async fn open(config: Config, way: PgConnectOptions) -> Result<Portal, Error> {
    let db = database::open(way).await?;
    Portal::open(db, config, Clock::System, access::follow_address)
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nobody_speaks_to_the_terminal_through_us() {
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}1m\rc\n\td für"), "a\u{fffd}[2Jb\u{fffd}1m\u{fffd}c\n\td für");
    }
}
