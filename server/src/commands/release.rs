//! `sluice release …`: which releases a model has, publishing or discarding a draft, taking a release off offer with a reason, putting it back.

use clap::{Args, Subcommand};

use super::{grant::find_model, result, say};
use crate::catalog::{self, Draft, Gate, Model, NamedRelease, Release, ReleaseState, Terms};
use crate::downloads::{self, Yanked};
use crate::error::{Error, FieldError};
use crate::http::when;
use crate::portal::Portal;

/// Releases told of one model.
const RELEASES_MAX: i64 = 1_000;

/// `sluice release …`
#[derive(Subcommand)]
pub enum ReleaseCommand {
    /// Lists the releases of a model, drafts first, newest first
    #[command(after_help = "Example:\n  sluice release list lab/opt-175b --json")]
    List(List),
    /// Puts a draft on offer: main names it from then on
    #[command(after_help = "Example:\n  sluice release publish lab/opt-175b 0a1b2c3d4e --gate application --tag v1.0")]
    Publish(Publish),
    /// Removes a draft; sluice gc then removes what was its alone
    #[command(after_help = "Example:\n  sluice release discard lab/opt-175b 0a1b2c3d4e")]
    Discard(Which),
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

/// `sluice release publish ORG/NAME REV`
#[derive(Args)]
pub struct Publish {
    #[command(flatten)]
    which: Which,
    /// Who may have the model: open, or application (as it is, if not said; the default for a new model)
    #[arg(long, value_name = "open|application")]
    gate: Option<String>,
    /// A tag for this release, such as v1.0; tags never move
    #[arg(long)]
    tag: Option<String>,
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
        ReleaseCommand::Publish(publish) => {
            let gate = publish.gate.as_deref().map(str::parse::<Gate>).transpose()?;
            let tag = publish.tag.as_deref().map(catalog::parse_tag).transpose()?;
            let draft = find_draft(portal, &publish.which).await?.id;
            let (model, draft) = catalog::publish_draft(portal, None, draft, &Terms { gate, tag: tag.as_deref() }).await?;
            let (page, gate) = (portal.config.url_of(&model.path()), model.gate.as_str());
            say(&format!("Published {} of {}: main names it now. Gate: {gate}. Page: {page}", draft.revision, model.full_name()));
            Ok(())
        }
        ReleaseCommand::Discard(which) => {
            let draft = find_draft(portal, &which).await?.id;
            let (model, draft) = catalog::discard_draft(portal, None, draft).await?;
            say(&format!("Discarded the draft {} of {}. sluice gc removes what was its alone.", draft.revision, model.full_name()));
            Ok(())
        }
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
    for draft in catalog::drafts(&mut db, model.id).await? {
        let state = ReleaseState::Draft.as_str();
        if list.json {
            let drafted = draft.drafted_at.unix_timestamp();
            let line = serde_json::json!({
                "model": model.full_name(), "revision": draft.revision, "state": state, "names": [], "drafted_at": drafted,
            });
            result(&line.to_string());
        } else {
            result(&format!("{}  {state:<10}  {}", draft.revision, when::date_field(draft.drafted_at.date())));
        }
    }
    for named in catalog::releases(&mut db, model.id, RELEASES_MAX).await? {
        let state = named.state().as_str();
        let NamedRelease { release, names } = named;
        if list.json {
            let published = release.published_at.unix_timestamp();
            let line = serde_json::json!({
                "model": model.full_name(), "revision": release.revision, "state": state, "names": names, "published_at": published,
                "yank_reason": release.yank_reason,
            });
            result(&line.to_string());
        } else {
            let reason = release.yank_reason.map(|reason| format!("  {reason}")).unwrap_or_default();
            result(&format!(
                "{}  {state:<10}  {}  {}{reason}",
                release.revision,
                when::date_field(release.published_at.date()),
                names.join(" ")
            ));
        }
    }
    Ok(())
}

async fn find(portal: &Portal, which: &Which) -> Result<Release, Error> {
    let mut db = portal.db.acquire().await?;
    let model = find_model(&mut db, &which.model).await?;
    catalog::resolve(&mut db, model.id, &which.revision).await?.ok_or_else(|| none(which, "release", &model))
}

async fn find_draft(portal: &Portal, which: &Which) -> Result<Draft, Error> {
    let mut db = portal.db.acquire().await?;
    let model = find_model(&mut db, &which.model).await?;
    catalog::draft_of(&mut db, model.id, &which.revision).await?.ok_or_else(|| none(which, "draft", &model))
}

fn none(which: &Which, what: &str, model: &Model) -> Error {
    let list = format!("see which there are with: sluice release list {}", model.full_name());
    FieldError::new("REV", format!("{:?} names no {what} of {}; {list}", which.revision, model.full_name())).into()
}
