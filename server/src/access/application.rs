//! Application: the state machine, pure. What is true in a state stands in that state.

use time::Duration;

use super::answers::Answers;
use super::check::{self, Attestation, too_long};
use super::decline::DeclineReason;
use super::form::Form;
use super::grant::{GRANT_LIFE_MAX, Grant};
use super::scope::GrantScope;
use super::state::{Appeal, Changes, Claim, Sent, State};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError, Mend, Refusal};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// The longest text that one of the two sides may write to the other, in characters.
pub(super) const WORDS_CHARS_MAX: usize = 4_000;

/// For how long whoever decided may take it back. The mail leaves after that, and not before.
pub const UNDO: Duration = Duration::minutes(10);

/// For how long after a decline its applicant may ask for another reviewer.
pub const APPEAL: Duration = Duration::days(30);

/// How long an application waits for its applicant before it lapses: unsent, or sent back with a request for changes.
pub const DRAFT_LIFE: Duration = Duration::days(90);
/// See [`DRAFT_LIFE`].
pub const CHANGES_LIFE: Duration = Duration::days(30);

/// Somebody's application for one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its id.
    pub id: ApplicationId,
    /// Who applies.
    pub applicant: AccountId,
    /// For which model.
    pub model: ModelId,
    /// How often it was changed: whoever acts on it says which version they saw.
    pub version: i64,
    /// What they answered; while changes are asked for, as far as they have come with them.
    pub answers: Answers,
    /// The licence text that was agreed to, once submitted.
    pub licence_sha256: Option<String>,
    /// The form that was filled in, once submitted.
    pub form_sha256: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When anything about it changed last.
    pub updated_at: Timestamp,
    /// Where it stands.
    pub state: State,
}

/// What an approval gives.
#[derive(Debug, Clone, Copy)]
pub struct Approval<'a> {
    /// The first moment at which access does not hold any more.
    pub until: Timestamp,
    /// For which uses.
    pub scopes: &'a [GrantScope],
    /// What the applicant reads besides; may be empty.
    pub note: &'a str,
}

impl Application {
    /// The version of one that nobody has written on, and so of one that is still to be begun.
    pub(super) const FIRST_VERSION: i64 = 1;

    /// A new, empty one.
    pub fn begin(applicant: AccountId, model: ModelId, now: Timestamp) -> Self {
        Self {
            id: ApplicationId::fresh(),
            applicant,
            model,
            version: Self::FIRST_VERSION,
            answers: Answers::default(),
            licence_sha256: None,
            form_sha256: None,
            created_at: now,
            updated_at: now,
            state: State::Draft,
        }
    }

    /// The same, if it is still as somebody saw it. Errors: `Stale` if it changed meanwhile. Nothing seen asks for nothing.
    pub fn seen_as(self, version: Option<i64>) -> Result<Self, Error> {
        match version {
            Some(version) if version != self.version => {
                Err(Error::Stale("this application changed while you were looking at it; look at it again, then act".into()))
            }
            Some(_) | None => Ok(self),
        }
    }

    /// What was sent, for a reviewer. Errors: `NotFound` if nothing was: a draft is its applicant's alone; `Forbidden` for one's own, because
    /// what reviewers say of it among themselves is not for whom it is about.
    pub(super) fn case_for(&self, reviewer: AccountId) -> Result<&Sent, Error> {
        let sent = self.state.sent().ok_or(Error::NotFound("application"))?;
        if self.applicant == reviewer {
            let mend = Some(Mend { path: format!("/applications/{}", self.id), label: "See your application" });
            return Err(Refusal { mend, ..own_application() }.into());
        }
        Ok(sent)
    }

    /// Whether it was declined before, and is decided or was decided a second time.
    pub(super) fn is_appeal(&self) -> bool {
        self.state.sent().is_some_and(|sent| sent.appeal.is_some())
    }

    fn becomes(self, state: State, now: Timestamp) -> Self {
        Self { version: self.version + 1, updated_at: now, state, ..self }
    }

    /// Keeps what was typed, complete or not. Errors: `Conflict` unless it is the applicant's turn.
    pub fn save_draft(self, answers: Answers, now: Timestamp) -> Result<Self, Error> {
        match self.state {
            State::Draft | State::ChangesRequested { .. } => Ok(Self { answers, version: self.version + 1, updated_at: now, ..self }),
            State::Submitted(_) | State::Approved { .. } | State::Declined { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => {
                Err(self.state.conflict())
            }
        }
    }

    /// Sends it, or sends it again after changes were asked for: then it keeps its place and who sees to it, and the promise moves on by
    /// the time the changes took. `form`: what its model asks now, or what it was sent with; `licence`: the model's licence text now; `promise`:
    /// how soon an answer is promised. Errors: every fault in the answers; `Conflict` unless it is the applicant's turn.
    pub fn submit(self, form: &Form, licence: Option<&str>, promise: Duration, now: Timestamp) -> Result<(Self, Vec<Attestation>), Error> {
        let sent = match &self.state {
            State::Draft => Sent { at: now, due_at: now + promise, claim: None, appeal: None },
            State::ChangesRequested { sent, changes } => Sent { due_at: sent.due_at + (now - changes.at), ..sent.clone() },
            State::Submitted(_) | State::Approved { .. } | State::Declined { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => {
                return Err(self.state.conflict());
            }
        };
        let attestations = check::check(form, &self.answers, licence, now).map_err(Error::Invalid)?;
        let licence_sha256 = licence.map(str::to_owned);
        let form_sha256 = Some(form.sha256().to_owned());
        let answers = self.answers.clone().without_left_over();
        Ok((Self { answers, licence_sha256, form_sha256, ..self }.becomes(State::Submitted(sent), now), attestations))
    }

    /// Takes it back. Errors: `Conflict` if it is closed.
    pub fn withdraw(self, now: Timestamp) -> Result<Self, Error> {
        if !self.state.is_open() {
            return Err(self.state.conflict());
        }
        let sent = self.state.sent().cloned();
        Ok(self.becomes(State::Withdrawn { sent, at: now }, now))
    }

    /// Takes it on, or over from whoever had. Errors: `Forbidden` to whom it must not be, `Conflict` unless it waits.
    pub fn claim(self, by: AccountId, now: Timestamp) -> Result<Self, Error> {
        let sent = self.waiting_for(by)?;
        Ok(self.becomes(State::Submitted(Sent { claim: Some(Claim { by, at: now }), ..sent }), now))
    }

    /// Gives it back to everybody. Errors: `Conflict` unless it waits and is theirs, `Forbidden` for one's own.
    pub fn release(self, by: AccountId, now: Timestamp) -> Result<Self, Error> {
        let State::Submitted(sent) = &self.state else {
            return Err(self.state.conflict());
        };
        if by == self.applicant {
            return Err(own_application().into());
        }
        if sent.claim.is_none_or(|claim| claim.by != by) {
            return Err(Error::Conflict("you have not claimed this application; nothing was changed".into()));
        }
        let sent = Sent { claim: None, ..sent.clone() };
        Ok(self.becomes(State::Submitted(sent), now))
    }

    /// Ticks points of its checklist, or unticks them. Errors: `Forbidden`, `Conflict` as for a decision.
    pub fn check(self, by: AccountId, now: Timestamp) -> Result<Self, Error> {
        let sent = self.decided_on_by(by)?;
        Ok(self.becomes(State::Submitted(sent), now))
    }

    /// Sends it back to its applicant, who keeps the place in the queue. Errors: `Forbidden`, `Conflict` as for a decision; `Invalid`
    /// without a word.
    pub fn request_changes(self, by: AccountId, text: &str, fields: Vec<String>, now: Timestamp) -> Result<Self, Error> {
        let sent = self.decided_on_by(by)?;
        let text = words("text", text)?;
        if text.is_empty() {
            return Err(FieldError::new("text", "say what should be changed; the applicant reads this").into());
        }
        let sent = Sent { claim: Some(sent.claim.unwrap_or(Claim { by, at: now })), ..sent };
        Ok(self.becomes(State::ChangesRequested { sent, changes: Changes { by, at: now, text, fields } }, now))
    }

    /// Grants access. Errors: `Forbidden` to whom it must not be, `Conflict` unless it waits and nobody else sees to it, `Invalid` for the
    /// end, no use at all, or the note.
    pub fn approve(self, by: AccountId, approval: Approval<'_>, now: Timestamp) -> Result<(Self, Grant), Error> {
        let sent = self.decided_on_by(by)?;
        let note = words("note", approval.note)?;
        let grant = approval.grant(now)?;
        Ok((self.becomes(State::Approved { sent, by, at: now, note }, now), grant))
    }

    /// Says no, and why, by a reason and in words. Errors: as [`Application::approve`]; `Invalid` for the text.
    pub fn decline(self, by: AccountId, reason: DeclineReason, text: &str, now: Timestamp) -> Result<Self, Error> {
        let sent = self.decided_on_by(by)?;
        let text = decline_text(text)?;
        Ok(self.becomes(State::Declined { sent, by, at: now, reason, text }, now))
    }

    /// Takes a decision back within [`UNDO`]: it waits again, as before. Errors: `Conflict` for anything else, `Forbidden` to others.
    pub fn undo(self, by: AccountId, now: Timestamp) -> Result<Self, Error> {
        let (sent, decided_by, at) = match &self.state {
            State::Approved { sent, by, at, .. } | State::Declined { sent, by, at, .. } => (sent.clone(), *by, *at),
            State::Draft | State::Submitted(_) | State::ChangesRequested { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => {
                return Err(Error::Conflict("there is no decision to take back".into()));
            }
        };
        if by != decided_by {
            let message = "Only the reviewer who decided can take it back.".into();
            let mend = Some(Mend { path: format!("/review/{}", self.id), label: "See who decided" });
            return Err(Refusal { code: "not_your_decision", message, mend }.into());
        }
        if now - at >= UNDO {
            return Err(Error::Conflict("this was decided more than ten minutes ago, and its mail has left; nothing was changed".into()));
        }
        let claim = Some(Claim { by, at: now });
        Ok(self.becomes(State::Submitted(Sent { claim, ..sent }), now))
    }

    /// Asks for another reviewer, once and within [`APPEAL`]. Errors: `Conflict` otherwise, `Invalid` without a word.
    pub fn appeal(self, text: &str, promise: Duration, now: Timestamp) -> Result<Self, Error> {
        let (sent, by, declined_at) = self.may_be_appealed(now)?;
        let text = words("text", text)?;
        if text.is_empty() {
            return Err(FieldError::new("text", "say what was overlooked; another reviewer reads this").into());
        }
        // A clock may have been set back since (application_appealed_decline_ck).
        let appeal = Some(Appeal { at: now, text, against: by, declined_at: declined_at.min(now) });
        let sent = Sent { at: sent.at, due_at: now + promise, claim: None, appeal };
        Ok(self.becomes(State::Submitted(sent), now))
    }

    /// What an appeal would be against: what was sent, who declined it and when. Errors: `Conflict` where none is possible, or no more.
    pub(super) fn may_be_appealed(&self, now: Timestamp) -> Result<(&Sent, AccountId, Timestamp), Error> {
        let State::Declined { sent, by, at, .. } = &self.state else {
            return Err(self.state.conflict());
        };
        if sent.appeal.is_some() {
            return Err(Error::Conflict("there has been an appeal already, and its decision stands".into()));
        }
        if now - *at >= APPEAL {
            return Err(Error::Conflict("an appeal was possible for 30 days; a new application is the way now".into()));
        }
        Ok((sent, *by, *at))
    }

    /// The moment from which on it lapses, if it is the applicant's turn.
    pub fn lapses_at(&self) -> Option<Timestamp> {
        match &self.state {
            State::Draft => Some(self.updated_at + DRAFT_LIFE),
            State::ChangesRequested { changes, .. } => Some(changes.at + CHANGES_LIFE),
            State::Submitted(_) | State::Approved { .. } | State::Declined { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => None,
        }
    }

    /// Closes it because its time has come. Errors: `Conflict` if it has not.
    pub fn lapse(self, now: Timestamp) -> Result<Self, Error> {
        if self.lapses_at().is_none_or(|at| now < at) {
            return Err(self.state.conflict());
        }
        let sent = self.state.sent().cloned();
        Ok(self.becomes(State::Lapsed { sent, at: now }, now))
    }

    /// That it waits, and this reviewer may see to it: nobody decides on what they asked for themselves, or on the appeal against them.
    fn waiting_for(&self, by: AccountId) -> Result<Sent, Error> {
        let State::Submitted(sent) = &self.state else {
            return Err(self.state.conflict());
        };
        if by == self.applicant {
            return Err(own_application().into());
        }
        if sent.appeal.as_ref().is_some_and(|appeal| appeal.against == by) {
            let message = "This appeal is against your decision; another reviewer will decide.".into();
            let mend = Some(Mend { path: "/review".into(), label: "See what else waits" });
            return Err(Refusal { code: "own_decision", message, mend }.into());
        }
        Ok(sent.clone())
    }

    fn decided_on_by(&self, by: AccountId) -> Result<Sent, Error> {
        let sent = self.waiting_for(by)?;
        match sent.claim {
            Some(claim) if claim.by != by => {
                let refused = Error::Conflict("claimed by another reviewer; take it over first, or leave it to them".into());
                Err(refused.mended_by(format!("/review/{}", self.id), "Take it over at the case"))
            }
            Some(_) | None => Ok(sent),
        }
    }

    /// The name of the form it answers.
    pub(super) fn form_name(&self) -> &str {
        self.form_sha256.as_deref().unwrap_or_else(|| self.answers.form_shown())
    }

    /// For how long access is asked, if that can be read from the answers.
    pub fn asked_for(&self) -> Option<Duration> {
        check::months(&self.answers).map(|months| Duration::days(i64::from(months) * 30).min(GRANT_LIFE_MAX))
    }
}

impl Approval<'_> {
    /// The grant that follows. Errors: for the end, or no use at all.
    pub(super) fn grant(&self, now: Timestamp) -> Result<Grant, FieldError> {
        Grant::new(GrantId::fresh(), now, self.until)?.for_scopes(self.scopes)
    }
}

/// The version that a page says it shows; none where it says nothing. What cannot be read is a version that never was, and so is stale.
pub(super) fn seen_version(typed: &str) -> Option<i64> {
    (!typed.is_empty()).then(|| typed.parse().unwrap_or(-1))
}

/// The code of [`own_application`].
pub(super) const OWN_APPLICATION: &str = "own_application";

/// Nobody decides on what they asked for themselves.
pub(super) fn own_application() -> Refusal {
    let message = "Nobody decides on their own access; another reviewer will decide.".into();
    let mend = Some(Mend { path: "/applications".into(), label: "See where yours stands" });
    Refusal { code: OWN_APPLICATION, message, mend }
}

/// What is said with a decline. Errors: nothing, or too much.
pub(super) fn decline_text(raw: &str) -> Result<String, FieldError> {
    let text = words("text", raw)?;
    if text.is_empty() { Err(FieldError::new("text", "say what stood in the way; the applicant reads this")) } else { Ok(text) }
}

/// What one side writes to the other: without characters that nobody can see, and no longer than fits.
pub(super) fn words(field: &'static str, raw: &str) -> Result<String, FieldError> {
    let text: String = raw.replace("\r\n", "\n").chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let text = text.trim();
    let chars = text.chars().count();
    if chars > WORDS_CHARS_MAX {
        return Err(FieldError::new(field, too_long(chars, WORDS_CHARS_MAX)));
    }
    Ok(text.to_owned())
}
