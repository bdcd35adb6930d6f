//! Access of one account to one model, as long as it lasts: what it is worth, and what may be done with it. Pure.

use time::Duration;

use super::scope::{self, GrantScope};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError, Mend, Refusal};
use crate::http::when;
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// The longest a grant may last: a year, the leap one included.
pub const GRANT_LIFE_MAX: Duration = Duration::days(366);

/// A grant. It was given once, and is looked at anew whenever it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// What it is for.
    pub scopes: Vec<GrantScope>,
    /// When it was given.
    pub granted_at: Timestamp,
    /// The first moment at which it does not hold any more.
    pub expires_at: Timestamp,
    /// While somebody has suspended it.
    pub suspended: Option<Note>,
    /// While somebody has proposed to revoke it and nobody has answered: it does not hold meanwhile.
    pub proposed: Option<Note>,
    /// How it was ended before its time.
    pub ended: Option<Ended>,
    /// The end of the longest block that stands against its holder, whatever that moment is worth now.
    pub blocked_until: Option<Timestamp>,
    /// The first moment at which it rests, because its holder has not agreed to what has changed: the licence, or the clauses of the form.
    pub consent_due_at: Option<Timestamp>,
}

/// What somebody did about a grant, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// Who; nobody for the operator's command.
    pub by: Option<AccountId>,
    /// Why, as its holder reads it.
    pub reason: String,
}

/// How a grant ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was taken back. At or after its end: it had expired, and another followed it.
    Revoked {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// Its holder gave it back.
    Closed {
        /// When.
        at: Timestamp,
        /// What they attested.
        attestation: String,
    },
}

/// A grant with whose it is, for what, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldGrant {
    /// The grant itself.
    pub grant: Grant,
    /// Who holds it.
    pub account: AccountId,
    /// For which model.
    pub model: ModelId,
    /// The application it followed from; none when an operator gave it.
    pub application: Option<ApplicationId>,
    /// Why it was given.
    pub reason: String,
}

/// What a grant is worth at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It holds.
    Holds,
    /// Somebody has suspended it, or proposed to revoke it.
    Suspended,
    /// Its holder is blocked.
    Blocked,
    /// It rests until its holder agrees to what has changed.
    ConsentNeeded,
    /// Its end has come.
    Expired,
    /// Its holder gave it back.
    Closed,
    /// It was taken back.
    Revoked,
}

impl Standing {
    /// In a word, for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Holds => "holds",
            Standing::Suspended => "suspended",
            Standing::Blocked => "blocked",
            Standing::ConsentNeeded => "consent_needed",
            Standing::Expired => "expired",
            Standing::Closed => "closed",
            Standing::Revoked => "revoked",
        }
    }

    /// Whether its time runs: it holds, or would if nothing stood against it.
    pub fn is_running(self) -> bool {
        match self {
            Standing::Holds | Standing::Suspended | Standing::Blocked | Standing::ConsentNeeded => true,
            Standing::Expired | Standing::Closed | Standing::Revoked => false,
        }
    }
}

impl Grant {
    /// A grant for everything from `now` until `expires_at`. Errors: the end is not after the beginning, or more than a year after it.
    pub(super) fn new(id: GrantId, now: Timestamp, expires_at: Timestamp) -> Result<Self, FieldError> {
        ends_in_time(now, expires_at)?;
        Ok(Self::unstopped(id, &GrantScope::written(&GrantScope::ALL), now, expires_at))
    }

    /// A grant as the database has it, when nothing but time can stop it.
    pub fn unstopped(id: GrantId, scopes: &[String], granted_at: Timestamp, expires_at: Timestamp) -> Self {
        let scopes = GrantScope::read(scopes);
        Self { id, scopes, granted_at, expires_at, suspended: None, proposed: None, ended: None, blocked_until: None, consent_due_at: None }
    }

    /// For these uses alone. Errors: for none at all.
    pub(super) fn for_scopes(self, scopes: &[GrantScope]) -> Result<Self, FieldError> {
        if scopes.is_empty() {
            return Err(scope::none_chosen());
        }
        Ok(Self { scopes: GrantScope::ALL.into_iter().filter(|scope| scopes.contains(scope)).collect(), ..self })
    }

    /// What it is worth now. One that was closed after its end had come (because another followed it) has expired, not been revoked.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match &self.ended {
            Some(Ended::Revoked { at, .. }) if *at < self.expires_at => return Standing::Revoked,
            Some(Ended::Closed { at, .. }) if *at < self.expires_at => return Standing::Closed,
            Some(Ended::Revoked { .. } | Ended::Closed { .. }) => return Standing::Expired,
            None if now >= self.expires_at => return Standing::Expired,
            None => {}
        }
        if self.blocked_until.is_some_and(|until| now < until) {
            return Standing::Blocked;
        }
        if self.suspended.is_some() || self.proposed.is_some() {
            return Standing::Suspended;
        }
        if self.consent_due_at.is_some_and(|due| now >= due) { Standing::ConsentNeeded } else { Standing::Holds }
    }

    /// Why it does not hold, if somebody has stopped it: the weightier of the two.
    pub fn stopped(&self) -> Option<&Note> {
        self.proposed.as_ref().or(self.suspended.as_ref())
    }

    /// Why it was taken back; empty unless it was.
    pub fn end_reason(&self) -> &str {
        match &self.ended {
            Some(Ended::Revoked { reason, .. }) => reason,
            Some(Ended::Closed { .. }) | None => "",
        }
    }

    /// When it ended before its time, if it did.
    pub fn ended_at(&self) -> Option<Timestamp> {
        match &self.ended {
            Some(Ended::Revoked { at, .. } | Ended::Closed { at, .. }) => Some(*at),
            None => None,
        }
    }

    /// Stops it for the time being. Errors: `Conflict` if it is suspended already, or over.
    pub(super) fn suspend(mut self, note: Note, now: Timestamp) -> Result<Self, Error> {
        self.still_runs(now)?;
        if let Some(before) = &self.suspended {
            return Err(Error::Conflict(format!("this access was suspended already on {}", when::minute(before.at)).into()));
        }
        self.suspended = Some(note);
        Ok(self)
    }

    /// Lets it go on. Errors: `Conflict` if it is not suspended, or over.
    pub(super) fn reinstate(mut self, now: Timestamp) -> Result<Self, Error> {
        self.still_runs(now)?;
        match self.suspended.take() {
            Some(_) => Ok(self),
            None => Err(Error::Conflict("this access is not suspended".into())),
        }
    }

    /// Takes it back. Errors: `Conflict` if it is over.
    pub(super) fn revoke(mut self, at: Timestamp, reason: String) -> Result<Self, Error> {
        self.still_runs(at)?;
        self.ended = Some(Ended::Revoked { at, reason });
        Ok(self)
    }

    /// Proposes to take it back; it does not hold from now on. Errors: `Conflict` if that was proposed already, or it is over.
    pub(super) fn propose_revocation(mut self, note: Note, now: Timestamp) -> Result<Self, Error> {
        self.still_runs(now)?;
        if let Some(before) = &self.proposed {
            let at = when::minute(before.at);
            return Err(Error::Conflict(format!("revoking this access was proposed already on {at}; another person answers").into()));
        }
        self.proposed = Some(note);
        Ok(self)
    }

    /// Another person agrees to the proposal. Errors: `Conflict` if there is none or it is over, `Forbidden` for whoever proposed it.
    pub(super) fn confirm_revocation(self, by: AccountId, now: Timestamp) -> Result<Self, Error> {
        let proposal = self.proposal_for_another(by, now)?;
        self.revoke(now, proposal.reason)
    }

    /// Another person does not agree: what the proposal stopped goes on. Errors: as for confirming.
    pub(super) fn reject_revocation(mut self, by: AccountId, now: Timestamp) -> Result<Self, Error> {
        self.proposal_for_another(by, now)?;
        self.proposed = None;
        Ok(self)
    }

    /// Its holder gives it back. Errors: `Conflict` if it is over, and while somebody has stopped it: nobody escapes a revocation by closing.
    pub(super) fn close(mut self, at: Timestamp, attestation: String) -> Result<Self, Error> {
        self.still_runs(at)?;
        if self.stopped().is_some() {
            let told =
                "this access is suspended while reviewers look into it; it can be closed once they have answered. Nothing was changed";
            return Err(Error::Conflict(told.into()));
        }
        self.ended = Some(Ended::Closed { at, attestation });
        Ok(self)
    }

    fn proposal_for_another(&self, by: AccountId, now: Timestamp) -> Result<Note, Error> {
        self.still_runs(now)?;
        let proposal = self.proposed.clone().ok_or(Error::Conflict("nobody has proposed to revoke this access".into()))?;
        if proposal.by == Some(by) {
            let message = "You have proposed this yourself; revoking takes another person, who confirms or rejects.".into();
            let mend = Some(Mend { path: format!("/admin/grants/{}", self.id), label: "See where it stands" });
            return Err(Refusal { code: "own_proposal", message, mend }.into());
        }
        Ok(proposal)
    }

    /// Errors: `Conflict` once it has ended, and how.
    fn still_runs(&self, now: Timestamp) -> Result<(), Error> {
        let over = match self.standing(now) {
            Standing::Holds | Standing::Suspended | Standing::Blocked | Standing::ConsentNeeded => return Ok(()),
            Standing::Expired => format!("this access ended by itself on {}; nothing was changed", when::minute(self.expires_at)),
            Standing::Closed => "this access was closed by its holder; nothing was changed".into(),
            Standing::Revoked => "this access was revoked already".into(),
        };
        Err(Error::Conflict(over.into()))
    }
}

/// Access ends after now, and within a year.
pub(super) fn ends_in_time(now: Timestamp, expires_at: Timestamp) -> Result<(), FieldError> {
    if expires_at <= now {
        return Err(FieldError::new("until", "choose a day in the future"));
    }
    if expires_at - now > GRANT_LIFE_MAX {
        return Err(FieldError::new("until", "choose an earlier day; access lasts 12 months at most and can be renewed"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "grant_table.rs"]
mod table;
