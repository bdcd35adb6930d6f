//! Where an application or a grant stands, in words: the same on every page.

use std::borrow::Cow;

use super::application::Application;
use super::grant::{Grant, HeldGrant, Standing};
use super::scope::GrantScope;
use super::state::State;
use crate::catalog::Model;
use crate::clock::Timestamp;
use crate::http::when;
use crate::ids::{GrantId, ModelId};

/// A word on a coloured ground.
pub(super) struct Badge {
    pub(super) word: Cow<'static, str>,
    /// The class that gives the colour.
    pub(super) class: &'static str,
}

/// The badge of a state.
pub(super) fn badge(state: &State) -> Badge {
    badge_named(state.as_str())
}

/// The badge of a state by its name, as it is stored.
pub(super) fn badge_named(state: &str) -> Badge {
    let (word, class) = match state {
        "submitted" => ("In review", "info"),
        "changes_requested" => ("Changes asked for", "warn"),
        "approved" => ("Approved", "ok"),
        "declined" => ("Declined", "bad"),
        "withdrawn" => ("Withdrawn", ""),
        "lapsed" => ("Lapsed", ""),
        _ => ("Draft", ""),
    };
    Badge { word: word.into(), class }
}

/// Whose turn it is, and since when, told to the applicant. `sent_last_at`: when it was sent last, which is not its place in the queue.
pub(super) fn turn(application: &Application, sent_last_at: Option<Timestamp>, now: Timestamp) -> String {
    match &application.state {
        State::Draft => format!("Your turn: saved {} ago, not sent yet.", when::span(now - application.updated_at)),
        State::Submitted(sent) => {
            let appealed_at = sent.appeal.as_ref().map(|appeal| appeal.at);
            let since = sent_last_at.into_iter().chain(appealed_at).fold(sent.at, Timestamp::max);
            format!("A reviewer's turn, for {} now.", when::span(now - since))
        }
        State::ChangesRequested { changes, .. } => {
            format!("Your turn, for {} now: a reviewer asks for changes.", when::span(now - changes.at))
        }
        State::Approved { at, .. } => format!("Approved on {}.", when::day(*at)),
        State::Declined { at, reason, .. } => format!("Declined on {}: {}.", when::day(*at), reason.label()),
        State::Withdrawn { at, .. } => format!("You withdrew it on {}.", when::day(*at)),
        State::Lapsed { at, .. } => format!("Lapsed on {}, because it was not sent in time.", when::day(*at)),
    }
}

/// The name of a model among those that were looked up with a list.
pub(super) fn name_of(models: &[Model], id: ModelId) -> (String, String) {
    models.iter().find(|model| model.id == id).map_or_else(|| ("a removed model".into(), "/models".into()), |m| (m.full_name(), m.path()))
}

/// A grant as it is listed.
pub(super) struct GrantView {
    pub(super) id: GrantId,
    pub(super) model: String,
    pub(super) model_path: String,
    pub(super) badge: Badge,
    pub(super) told: String,
    /// Said to its holder, who is asked to agree to what has changed.
    pub(super) consent: Option<String>,
    /// What it is for, in words that follow "you may".
    pub(super) may: String,
    pub(super) holds: bool,
    /// Whether its time is over.
    pub(super) is_over: bool,
    /// Whether nothing keeps its holder from applying again.
    pub(super) may_apply_again: bool,
}

impl GrantView {
    pub(super) fn new(held: &HeldGrant, models: &[Model], now: Timestamp) -> Self {
        let (model, model_path) = name_of(models, held.model);
        let grant = &held.grant;
        let StandingWords { badge: word, class, told } = standing_words(grant, now);
        let badge = Badge { word: word.into(), class };
        let asked_by = grant.consent_due_at.filter(|_| grant.standing(now).is_running());
        Self {
            id: grant.id,
            model,
            model_path,
            badge,
            told,
            consent: asked_by.map(|by| {
                if now < by {
                    format!("What you agreed to has changed: agree by {}, or your access will be paused.", when::minute(by))
                } else {
                    "What you agreed to has changed.".into()
                }
            }),
            may: GrantScope::mean(&grant.scopes),
            holds: grant.standing(now) == Standing::Holds,
            is_over: !grant.standing(now).is_running(),
            may_apply_again: !grant.standing(now).is_running() && grant.blocked_until.is_none_or(|until| until <= now),
        }
    }

    /// The same, said to its holder.
    pub(super) fn for_holder(held: &HeldGrant, models: &[Model], now: Timestamp) -> Self {
        Self { told: told_to_holder(&held.grant, now).told, ..Self::new(held, models, now) }
    }
}

/// What a grant is worth, in words.
pub struct StandingWords {
    /// In one word.
    pub badge: &'static str,
    /// The class that gives the word its colour.
    pub class: &'static str,
    /// In a sentence.
    pub told: String,
}

/// What a grant is worth now, in words: the same on every page.
pub fn standing_words(grant: &Grant, now: Timestamp) -> StandingWords {
    let words = |badge, class, told| StandingWords { badge, class, told };
    let ended = || grant.ended_at().map(when::day).unwrap_or_default();
    match grant.standing(now) {
        Standing::Holds => {
            words("Access", "ok", format!("Until {}: {} left.", when::day(grant.expires_at), when::left(grant.expires_at - now)))
        }
        Standing::Suspended => {
            let (at, reason) = grant.stopped().map(|note| (when::day(note.at), note.reason.as_str())).unwrap_or_default();
            words("Suspended", "bad", format!("Suspended on {at}. Reason: {reason}"))
        }
        Standing::Blocked => {
            let until = grant.blocked_until.map(when::day).unwrap_or_default();
            words("Blocked", "bad", format!("Blocked until {until}."))
        }
        Standing::ConsentNeeded => words("Paused", "warn", "Paused until its holder agrees to what has changed.".into()),
        Standing::Expired => words("Expired", "warn", format!("Ended on {}.", when::day(grant.expires_at))),
        Standing::Closed => words("Closed", "", format!("Closed by its holder on {}; every copy was deleted.", ended())),
        Standing::Revoked => words("Revoked", "bad", format!("Revoked on {}. Reason: {}", ended(), grant.end_reason())),
    }
}

/// The same, said to its holder.
pub(super) fn told_to_holder(grant: &Grant, now: Timestamp) -> StandingWords {
    let words = standing_words(grant, now);
    let told = match grant.standing(now) {
        Standing::ConsentNeeded => "Paused until you agree to what has changed.".into(),
        Standing::Closed => format!("Closed by you on {}; every copy was deleted.", grant.ended_at().map(when::day).unwrap_or_default()),
        Standing::Holds | Standing::Suspended | Standing::Blocked | Standing::Expired | Standing::Revoked => words.told,
    };
    StandingWords { told, ..words }
}
