//! `sluice mail`: what the operator's mail server has to tell.

use std::io::Read;

use clap::Subcommand;

use super::{result, say};
use crate::error::Error;
use crate::mail::{self, REPORT_BYTES_MAX, Returned};
use crate::portal::Portal;

/// `sluice mail …`
#[derive(Subcommand)]
pub enum MailCommand {
    /// Takes a returned mail (a delivery status notification, RFC 3464) from stdin, and marks the mail that came back
    #[command(
        after_help = "Example:\n  sluice mail bounce < message\n\nLet the mail server pipe into it what comes to the address of SLUICE_MAIL_FROM. What is no report is left alone. Ends with 75 where it should be handed over again later."
    )]
    Bounce,
}

/// Runs `sluice mail …`. Whatever is wrong with the message, it is taken: a mail server would return the return.
pub async fn run(portal: &Portal, command: MailCommand) -> Result<(), Error> {
    let MailCommand::Bounce = command;
    let mut message = Vec::new();
    std::io::stdin().lock().take(REPORT_BYTES_MAX).read_to_end(&mut message).map_err(Error::internal)?;
    match mail::take_returned(&mut *portal.db.acquire().await?, portal.clock.now(), &message).await? {
        Returned::Bounced { mail, recipient, said } => result(&format!("{mail} to {recipient} came back: {said}")),
        Returned::NotFailed(action) => say(&format!("The report says {action:?}: nothing is marked.")),
        Returned::Unknown => say("The report is about no mail that we have sent: nothing is marked."),
        Returned::NoReport => say("This is no report about a mail: it is left alone."),
    }
    Ok(())
}
