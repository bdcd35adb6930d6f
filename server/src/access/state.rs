//! Where an application stands, with what is true there.

use super::decline::DeclineReason;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::when;
use crate::ids::AccountId;

/// What holds from the first sending on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// When it was sent first: its place in the queue, which it keeps.
    pub at: Timestamp,
    /// By when an answer is promised; later by what the applicant took for changes.
    pub due_at: Timestamp,
    /// Who sees to it.
    pub claim: Option<Claim>,
    /// What was said against a decline, if it is read a second time.
    pub appeal: Option<Appeal>,
}

/// A reviewer has taken a case on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub by: AccountId,
    /// When.
    pub at: Timestamp,
}

/// The one appeal there is; somebody else decides on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appeal {
    /// When it was made.
    pub at: Timestamp,
    /// What the applicant says.
    pub text: String,
    /// Whose decline it is against.
    pub against: AccountId,
    /// When that decline was made.
    pub declined_at: Timestamp,
}

/// What a reviewer asks to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Who asks.
    pub by: AccountId,
    /// When.
    pub at: Timestamp,
    /// In words.
    pub text: String,
    /// The questions whose answers are meant, by name.
    pub fields: Vec<String>,
}

/// Where an application stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Begun, not sent; the applicant's turn.
    Draft,
    /// Sent; a reviewer's turn.
    Submitted(Sent),
    /// Sent back; the applicant's turn.
    ChangesRequested {
        /// What holds since it was sent.
        sent: Sent,
        /// What is asked for.
        changes: Changes,
    },
    /// Closed: access was granted.
    Approved {
        /// What held when it was decided.
        sent: Sent,
        /// Who decided.
        by: AccountId,
        /// When.
        at: Timestamp,
        /// What the reviewer wrote to the applicant; may be empty.
        note: String,
    },
    /// Closed: access was not granted.
    Declined {
        /// What held when it was decided.
        sent: Sent,
        /// Who decided.
        by: AccountId,
        /// When.
        at: Timestamp,
        /// Why.
        reason: DeclineReason,
        /// What the reviewer wrote to the applicant; empty only in declines from before it was asked for.
        text: String,
    },
    /// Closed by the applicant.
    Withdrawn {
        /// What held when it was withdrawn, if it had been sent.
        sent: Option<Sent>,
        /// When it was withdrawn.
        at: Timestamp,
    },
    /// Closed by time: the applicant's turn was not taken.
    Lapsed {
        /// What held when it lapsed, if it had been sent.
        sent: Option<Sent>,
        /// When.
        at: Timestamp,
    },
}

impl State {
    /// As it is stored.
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Draft => "draft",
            State::Submitted(_) => "submitted",
            State::ChangesRequested { .. } => "changes_requested",
            State::Approved { .. } => "approved",
            State::Declined { .. } => "declined",
            State::Withdrawn { .. } => "withdrawn",
            State::Lapsed { .. } => "lapsed",
        }
    }

    /// What holds since it was sent, if it was.
    pub fn sent(&self) -> Option<&Sent> {
        match self {
            State::Draft => None,
            State::Submitted(sent) | State::ChangesRequested { sent, .. } => Some(sent),
            State::Approved { sent, .. } | State::Declined { sent, .. } => Some(sent),
            State::Withdrawn { sent, .. } | State::Lapsed { sent, .. } => sent.as_ref(),
        }
    }

    /// Whether somebody is still to act: the applicant, or a reviewer.
    pub fn is_open(&self) -> bool {
        match self {
            State::Draft | State::Submitted(_) | State::ChangesRequested { .. } => true,
            State::Approved { .. } | State::Declined { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => false,
        }
    }

    /// Whether the answers may be others than those that were sent: the applicant wrote on while it was their turn, and did not send it.
    pub(super) fn may_hold_unsent(&self) -> bool {
        match self {
            State::ChangesRequested { .. } | State::Withdrawn { sent: Some(_), .. } | State::Lapsed { sent: Some(_), .. } => true,
            State::Draft | State::Submitted(_) | State::Approved { .. } | State::Declined { .. } => false,
            State::Withdrawn { sent: None, .. } | State::Lapsed { sent: None, .. } => false,
        }
    }

    /// What the reviewer wrote to the applicant beside the decision; empty while there is none.
    pub(super) fn words(&self) -> &str {
        match self {
            State::Approved { note, .. } => note,
            State::Declined { text, .. } => text,
            State::Draft | State::Submitted(_) | State::ChangesRequested { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => "",
        }
    }

    /// Why nothing can be changed about it any more, or not by this command.
    pub(super) fn conflict(&self) -> Error {
        let what = match self {
            State::Draft => "this application has not been sent yet".into(),
            State::Submitted(sent) => format!("this application was sent on {} and waits for a reviewer", when::minute(sent.at)),
            State::ChangesRequested { changes, .. } => {
                format!("changes were asked for on {}; it is the applicant's turn", when::minute(changes.at))
            }
            State::Approved { at, .. } => format!("this application was approved on {}; nothing was changed", when::minute(*at)),
            State::Declined { at, .. } => format!("this application was declined on {}; nothing was changed", when::minute(*at)),
            State::Withdrawn { at, .. } => {
                format!("this application was withdrawn by the applicant on {}; nothing was changed", when::minute(*at))
            }
            State::Lapsed { at, .. } => format!("this application lapsed on {}; nothing was changed", when::minute(*at)),
        };
        Error::Conflict(what.into())
    }
}
