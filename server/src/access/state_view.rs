//! Where an application or a grant stands, in words: the same on every page.

use std::borrow::Cow;

use super::application::Application;
use super::grant::{HeldGrant, Standing};
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
    match state {
        State::Draft => Badge { word: "Draft".into(), class: "" },
        State::Submitted(_) => Badge { word: "In review".into(), class: "info" },
        State::ChangesRequested { .. } => Badge { word: "Changes asked for".into(), class: "warn" },
        State::Approved { .. } => Badge { word: "Approved".into(), class: "ok" },
        State::Declined { .. } => Badge { word: "Declined".into(), class: "bad" },
        State::Withdrawn { .. } => Badge { word: "Withdrawn".into(), class: "" },
        State::Lapsed { .. } => Badge { word: "Lapsed".into(), class: "" },
    }
}

/// Whose turn it is, and since when, told to the applicant.
pub(super) fn turn(application: &Application, now: Timestamp) -> String {
    match &application.state {
        State::Draft => format!("Your turn: saved {} ago, not sent yet.", when::span(now - application.updated_at)),
        State::Submitted(sent) => format!("A reviewer's turn, for {} now.", when::span(now - sent.at)),
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
    pub(super) holds: bool,
}

impl GrantView {
    pub(super) fn new(held: &HeldGrant, models: &[Model], now: Timestamp) -> Self {
        let (model, model_path) = name_of(models, held.model);
        let grant = &held.grant;
        let (badge, told) = match grant.standing(now) {
            Standing::Holds => {
                let badge = Badge { word: "Access".into(), class: "ok" };
                (badge, format!("Until {}: {} left.", when::day(grant.expires_at), when::span(grant.expires_at - now)))
            }
            Standing::Expired => (Badge { word: "Expired".into(), class: "warn" }, format!("Ended on {}.", when::day(grant.expires_at))),
            Standing::Revoked => {
                let at = grant.revoked_at.map(when::day).unwrap_or_default();
                let reason = grant.revoke_reason.as_deref().unwrap_or_default();
                (Badge { word: "Revoked".into(), class: "bad" }, format!("Revoked on {at}. Reason: {reason}"))
            }
        };
        Self { id: grant.id, model, model_path, badge, told, holds: grant.standing(now) == Standing::Holds }
    }
}
