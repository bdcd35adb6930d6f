//! Where an application or a grant stands, in words: the same on every page.

use super::application::{Application, State};
use super::grant::{HeldGrant, Standing};
use crate::catalog::Model;
use crate::clock::Timestamp;
use crate::http::when;
use crate::ids::{GrantId, ModelId};

/// A word on a coloured ground.
pub(super) struct Badge {
    pub(super) word: &'static str,
    /// The class that gives the colour.
    pub(super) class: &'static str,
}

/// The badge of a state.
pub(super) fn badge(state: &State) -> Badge {
    match state {
        State::Draft => Badge { word: "Draft", class: "" },
        State::Submitted { .. } => Badge { word: "In review", class: "info" },
        State::Approved { .. } => Badge { word: "Approved", class: "ok" },
        State::Declined { .. } => Badge { word: "Declined", class: "bad" },
        State::Withdrawn { .. } => Badge { word: "Withdrawn", class: "" },
    }
}

/// Whose turn it is, and since when, told to the applicant.
pub(super) fn turn(application: &Application, now: Timestamp) -> String {
    match &application.state {
        State::Draft => format!("Your turn: saved {} ago, not sent yet.", when::span(now - application.updated_at)),
        State::Submitted { at } => format!("A reviewer's turn, for {} now.", when::span(now - *at)),
        State::Approved { at, .. } => format!("Approved on {}.", when::day(*at)),
        State::Declined { at, reason, .. } => format!("Declined on {}: {}.", when::day(*at), reason.label()),
        State::Withdrawn { at, .. } => format!("You withdrew it on {}.", when::day(*at)),
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
                let badge = Badge { word: "Access", class: "ok" };
                (badge, format!("Until {}: {} left.", when::day(grant.expires_at), when::span(grant.expires_at - now)))
            }
            Standing::Expired => (Badge { word: "Expired", class: "warn" }, format!("Ended on {}.", when::day(grant.expires_at))),
            Standing::Revoked => {
                let at = grant.revoked_at.map(when::day).unwrap_or_default();
                let reason = grant.revoke_reason.as_deref().unwrap_or_default();
                (Badge { word: "Revoked", class: "bad" }, format!("Revoked on {at}. Reason: {reason}"))
            }
        };
        Self { id: grant.id, model, model_path, badge, told, holds: grant.standing(now) == Standing::Holds }
    }
}
