//! `sluice release …`: which releases a model has, taking one off offer with a reason, putting it back.

use clap::{Args, Subcommand};

use super::{grant::find_model, result, say};
use crate::catalog::{self, MAIN, Model, Release};
use crate::downloads::{self, Yanked};
use crate::error::{Error, FieldError};
use crate::http::when;
use crate::portal::Portal;

/// Releases told of one model.
const RELEASES_MAX: i64 = 1_000;

/// `sluice release …`
#[derive(Subcommand)]
pub enum ReleaseCommand {
    /// Lists the releases of a model, newest first
    #[command(after_help = "Example:\n  sluice release list lab/opt-175b --json")]
    List(List),
    /// Takes a release off offer: nobody gets its bytes any more, and everybody who fetched it is told by mail
    #[command(
        after_help = "Example:\n  sluice release yank lab/opt-175b 0a1b2c3d4e --reason 'shard 391 was corrupt as published'\n\nIts page, digests and manifest stay readable. Where main named it, main goes back to the newest good release."
    )]
    Yank(Yank),
    /// Puts a yanked release back on offer, and tells those who were told
    #[command(after_help = "Example:\n  sluice release restore lab/opt-175b 0a1b2c3d4e")]
    Restore(Which),
}

/// `sluice release list ORG/NAME`
#[derive(Args)]
pub struct List {
    /// Of which model
    #[arg(value_name = "ORG/NAME")]
    model: String,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// `sluice release yank ORG/NAME REV`
#[derive(Args)]
pub struct Yank {
    #[command(flatten)]
    which: Which,
    /// Why; everybody who asks for the release reads it
    #[arg(long)]
    reason: String,
}

/// A release, as an operator names it.
#[derive(Args)]
pub struct Which {
    /// Of which model
    #[arg(value_name = "ORG/NAME")]
    model: String,
    /// Which: its revision (7 digits suffice) or a tag
    #[arg(value_name = "REV")]
    revision: String,
}

/// Runs `sluice release …`
pub async fn run(portal: &Portal, command: ReleaseCommand) -> Result<(), Error> {
    match command {
        ReleaseCommand::List(list) => tell_all(portal, &list).await,
        ReleaseCommand::Yank(yank) => {
            let release = find(portal, &yank.which).await?.id;
            let done = downloads::yank(portal, None, release, &yank.reason).await?;
            say(&format!("Yanked {} of {}. {}", done.changed.release.revision, done.changed.model.full_name(), told(&done)));
            tell_main(&done);
            Ok(())
        }
        ReleaseCommand::Restore(which) => {
            let release = find(portal, &which).await?.id;
            let done = downloads::restore(portal, None, release).await?;
            say(&format!("{} of {} is on offer again. {}", done.changed.release.revision, done.changed.model.full_name(), told(&done)));
            tell_main(&done);
            Ok(())
        }
    }
}

fn told(done: &Yanked) -> String {
    match done.told {
        0 => "Nobody in the ledger had to be told.".into(),
        1 => "One person who fetched it gets a mail.".into(),
        count => format!("{count} people who fetched it get a mail."),
    }
}

fn tell_main(done: &Yanked) {
    let (main, name) = (&done.changed.main, done.changed.model.full_name());
    let left_on_it = done.changed.release.yanked_at.is_some() && *main == done.changed.release.revision;
    if left_on_it {
        say(&format!("{name} has no good release now: main stays where it is, and whoever asks is told the reason."));
    } else if done.changed.main_moved {
        say(&format!("main of {name} names {main} now."));
    }
}

async fn tell_all(portal: &Portal, list: &List) -> Result<(), Error> {
    let mut db = portal.db.acquire().await?;
    let model = find_model(&mut db, &list.model).await?;
    let names = catalog::names(&mut db, model.id).await?;
    let main = names.iter().find(|name| name.name == MAIN).map_or("", |main| &main.revision);
    for release in catalog::releases(&mut db, model.id, RELEASES_MAX).await? {
        let called: Vec<&str> = names.iter().filter(|name| name.revision == release.revision).map(|name| name.name.as_str()).collect();
        let state = release.state(main).as_str();
        if list.json {
            let published = release.published_at.unix_timestamp();
            let line = serde_json::json!({
                "model": model.full_name(), "revision": release.revision, "state": state, "names": called, "published_at": published,
                "yank_reason": release.yank_reason,
            });
            result(&line.to_string());
        } else {
            let reason = release.yank_reason.map(|reason| format!("  {reason}")).unwrap_or_default();
            result(&format!(
                "{}  {state:<10}  {}  {}{reason}",
                release.revision,
                when::date_field(release.published_at.date()),
                called.join(" ")
            ));
        }
    }
    Ok(())
}

async fn find(portal: &Portal, which: &Which) -> Result<Release, Error> {
    let mut db = portal.db.acquire().await?;
    let model: Model = find_model(&mut db, &which.model).await?;
    catalog::resolve(&mut db, model.id, &which.revision).await?.ok_or_else(|| {
        let list = format!("see which there are with: sluice release list {}", model.full_name());
        FieldError::new("REV", format!("{:?} names no release of {}; {list}", which.revision, model.full_name())).into()
    })
}
