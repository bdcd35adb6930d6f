//! `sluice login` and `sluice logout`: a token for this machine by a code that is confirmed in a browser, and its end here.

use clap::Args;

use super::pull::endpoint;
use super::say;
use crate::client::{self, Fate, Fault};
use crate::config::ClientConfig;

/// `sluice login`, `sluice logout`
#[derive(Args)]
pub struct Login {
    /// The portal [default: SLUICE_ENDPOINT, else the one signed in to last, else http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

/// Runs `sluice login`: shows a code, waits until it is confirmed.
pub async fn login(config: ClientConfig, login: Login) -> Result<(), Fault> {
    let endpoint = endpoint(&config, login.endpoint.as_deref())?;
    let who = client::login(&endpoint, &config.config_dir, |invitation| {
        let place = invitation.verification_uri_complete.as_deref().unwrap_or(&invitation.verification_uri);
        say(&format!("Open {place}\nand confirm the code {} there. Waiting (Ctrl-C ends it).", invitation.user_code));
    })
    .await?;
    say(&format!(
        "Signed in to {endpoint} as {who}. The token is kept in {} and listed at {endpoint}/account/tokens.",
        config.config_dir.display()
    ));
    if config.token.is_some() {
        say("SLUICE_TOKEN is set and goes before the token that was kept now.");
    }
    Ok(())
}

/// Runs `sluice logout`: gives the token back and forgets it. What the portal could not be told is told to the person.
pub async fn logout(config: &ClientConfig, login: &Login) -> Result<(), Fault> {
    let endpoint = endpoint(config, login.endpoint.as_deref())?;
    match client::logout(&endpoint, &config.config_dir).await? {
        None => say(&format!("No token of {endpoint} is kept here.")),
        Some(Fate::Revoked) => say(&format!("Signed out of {endpoint}: the token is revoked and forgotten here.")),
        Some(Fate::Lives(why)) => say(&format!(
            "The token of {endpoint} is forgotten here, but it STILL WORKS for whoever else has it: {why}.\n\
             Revoke it at {endpoint}/account/tokens as soon as you can."
        )),
    }
    if config.token.is_some() {
        say("SLUICE_TOKEN is set; that token was left as it is.");
    }
    Ok(())
}
