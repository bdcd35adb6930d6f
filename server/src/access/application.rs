//! Application: the state machine, pure. What is true in a state stands in that state.

use time::Duration;

use super::answers::Answers;
use super::check::{self, Attestation};
use super::decline::DeclineReason;
use super::form::Form;
use super::grant::{GRANT_LIFE_MAX, Grant};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError, Refusal};
use crate::http::when;
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// The longest text a reviewer may write beside a decision, in characters.
pub(super) const DECISION_TEXT_CHARS_MAX: usize = 4_000;

/// Somebody's application for one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its id.
    pub id: ApplicationId,
    /// Who applies.
    pub applicant: AccountId,
    /// For which model.
    pub model: ModelId,
    /// What they answered.
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

/// Where an application stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Begun, not sent; the applicant's turn.
    Draft,
    /// Sent; a reviewer's turn.
    Submitted {
        /// When it was sent.
        at: Timestamp,
    },
    /// Closed: access was granted.
    Approved {
        /// When it was sent.
        submitted_at: Timestamp,
        /// Who decided.
        by: AccountId,
        /// When.
        at: Timestamp,
        /// What the reviewer wrote to the applicant; may be empty.
        note: String,
    },
    /// Closed: access was not granted.
    Declined {
        /// When it was sent.
        submitted_at: Timestamp,
        /// Who decided.
        by: AccountId,
        /// When.
        at: Timestamp,
        /// Why.
        reason: DeclineReason,
        /// What the reviewer wrote to the applicant; may be empty unless the reason is `Other`.
        text: String,
    },
    /// Closed by the applicant.
    Withdrawn {
        /// When it was sent, if it was.
        submitted_at: Option<Timestamp>,
        /// When it was withdrawn.
        at: Timestamp,
    },
}

impl State {
    /// As it is stored.
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Draft => "draft",
            State::Submitted { .. } => "submitted",
            State::Approved { .. } => "approved",
            State::Declined { .. } => "declined",
            State::Withdrawn { .. } => "withdrawn",
        }
    }

    /// When it was sent, if it was.
    pub fn submitted_at(&self) -> Option<Timestamp> {
        match self {
            State::Draft => None,
            State::Submitted { at } => Some(*at),
            State::Approved { submitted_at, .. } | State::Declined { submitted_at, .. } => Some(*submitted_at),
            State::Withdrawn { submitted_at, .. } => *submitted_at,
        }
    }

    /// What the reviewer wrote to the applicant beside the decision; empty while there is none.
    pub(super) fn words(&self) -> &str {
        match self {
            State::Approved { note, .. } => note,
            State::Declined { text, .. } => text,
            State::Draft | State::Submitted { .. } | State::Withdrawn { .. } => "",
        }
    }

    /// Why nothing can be changed about it any more, or not by this command.
    fn conflict(&self) -> Error {
        let what = match self {
            State::Draft => "this application has not been sent yet".into(),
            State::Submitted { at } => format!("this application was sent on {} and waits for a reviewer", when::minute(*at)),
            State::Approved { at, .. } => format!("this application was approved on {}; nothing was changed", when::minute(*at)),
            State::Declined { at, .. } => format!("this application was declined on {}; nothing was changed", when::minute(*at)),
            State::Withdrawn { at, .. } => {
                format!("this application was withdrawn by the applicant on {}; nothing was changed", when::minute(*at))
            }
        };
        Error::Conflict(what.into())
    }
}

impl Application {
    /// A new, empty one.
    pub fn begin(applicant: AccountId, model: ModelId, now: Timestamp) -> Self {
        Self {
            id: ApplicationId::fresh(),
            applicant,
            model,
            answers: Answers::default(),
            licence_sha256: None,
            form_sha256: None,
            created_at: now,
            updated_at: now,
            state: State::Draft,
        }
    }

    /// Keeps what was typed, complete or not. Errors: `Conflict` unless it is a draft.
    pub fn save_draft(self, answers: Answers, now: Timestamp) -> Result<Self, Error> {
        match self.state {
            State::Draft => Ok(Self { answers, updated_at: now, ..self }),
            State::Submitted { .. } | State::Approved { .. } | State::Declined { .. } | State::Withdrawn { .. } => {
                Err(self.state.conflict())
            }
        }
    }

    /// Sends it. `form`: what its model asks now; `licence`: the model's licence text now. Errors: every fault in the answers; `Conflict` unless it is a draft.
    pub fn submit(self, form: &Form, licence: Option<&str>, now: Timestamp) -> Result<(Self, Vec<Attestation>), Error> {
        match self.state {
            State::Draft => {
                let attestations = check::check(form, &self.answers, licence, now).map_err(Error::Invalid)?;
                let state = State::Submitted { at: now };
                let form_sha256 = Some(form.sha256().to_owned());
                Ok((Self { licence_sha256: licence.map(str::to_owned), form_sha256, updated_at: now, state, ..self }, attestations))
            }
            State::Submitted { .. } | State::Approved { .. } | State::Declined { .. } | State::Withdrawn { .. } => {
                Err(self.state.conflict())
            }
        }
    }

    /// Takes it back. Errors: `Conflict` if it is decided or withdrawn.
    pub fn withdraw(self, now: Timestamp) -> Result<Self, Error> {
        match self.state {
            State::Draft | State::Submitted { .. } => {
                let state = State::Withdrawn { submitted_at: self.state.submitted_at(), at: now };
                Ok(Self { updated_at: now, state, ..self })
            }
            State::Approved { .. } | State::Declined { .. } | State::Withdrawn { .. } => Err(self.state.conflict()),
        }
    }

    /// Grants access until `until`. Errors: `Forbidden` for the applicant, `Conflict` unless it waits, `Invalid` for the end or the note.
    pub fn approve(self, by: AccountId, until: Timestamp, note: &str, now: Timestamp) -> Result<(Self, Grant), Error> {
        let State::Submitted { at: submitted_at } = self.state else {
            return Err(self.state.conflict());
        };
        self.decided_by_another(by)?;
        let note = decision_text(note)?;
        let grant = Grant::new(GrantId::fresh(), now, until)?;
        let state = State::Approved { submitted_at, by, at: now, note };
        Ok((Self { updated_at: now, state, ..self }, grant))
    }

    /// Says no, and why. Errors: `Forbidden` for the applicant, `Conflict` unless it waits, `Invalid` for the text.
    pub fn decline(self, by: AccountId, reason: DeclineReason, text: &str, now: Timestamp) -> Result<Self, Error> {
        let State::Submitted { at: submitted_at } = self.state else {
            return Err(self.state.conflict());
        };
        self.decided_by_another(by)?;
        let text = decision_text(text)?;
        if reason == DeclineReason::Other && text.is_empty() {
            return Err(FieldError::new("text", "another reason has to be said in words").into());
        }
        let state = State::Declined { submitted_at, by, at: now, reason, text };
        Ok(Self { updated_at: now, state, ..self })
    }

    fn decided_by_another(&self, by: AccountId) -> Result<(), Error> {
        if by == self.applicant { Err(own_application().into()) } else { Ok(()) }
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

/// Nobody decides on what they asked for themselves.
pub(super) fn own_application() -> Refusal {
    Refusal { code: "own_application", message: "Nobody decides on their own access; another reviewer will decide.".into(), mend: None }
}

fn decision_text(raw: &str) -> Result<String, FieldError> {
    let text: String = raw.replace("\r\n", "\n").chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let text = text.trim();
    let chars = text.chars().count();
    if chars > DECISION_TEXT_CHARS_MAX {
        return Err(FieldError::new("text", format!("has {chars} characters; at most {DECISION_TEXT_CHARS_MAX} fit")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::{LICENCE, complete};
    use super::*;
    use time::macros::datetime;

    const NOW: Timestamp = datetime!(2026-03-01 12:00 UTC);
    const BEFORE: Timestamp = datetime!(2026-02-27 09:00 UTC);

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Command {
        SaveDraft,
        Submit,
        Withdraw,
        Approve,
        Decline,
    }

    const COMMANDS: [Command; 5] = [Command::SaveDraft, Command::Submit, Command::Withdraw, Command::Approve, Command::Decline];
    const STATES: [&str; 5] = ["draft", "submitted", "approved", "declined", "withdrawn"];

    fn application(state: &str) -> Application {
        let reviewer = AccountId::fresh();
        let state = match state {
            "draft" => State::Draft,
            "submitted" => State::Submitted { at: BEFORE },
            "approved" => State::Approved { submitted_at: BEFORE, by: reviewer, at: BEFORE, note: String::new() },
            "declined" => {
                State::Declined { submitted_at: BEFORE, by: reviewer, at: BEFORE, reason: DeclineReason::Duplicate, text: String::new() }
            }
            "withdrawn" => State::Withdrawn { submitted_at: Some(BEFORE), at: BEFORE },
            other => panic!("{other} is no state"),
        };
        let begun = Application::begin(AccountId::fresh(), ModelId::fresh(), BEFORE);
        Application { answers: Answers::from_fields(Form::built_in(), complete(Some(LICENCE))), state, ..begun }
    }

    fn run(application: Application, command: Command) -> Result<Application, Error> {
        let reviewer = AccountId::fresh();
        match command {
            Command::SaveDraft => application.save_draft(Answers::default(), NOW),
            Command::Submit => application.submit(Form::built_in(), Some(LICENCE), NOW).map(|(application, _)| application),
            Command::Withdraw => application.withdraw(NOW),
            Command::Approve => application.approve(reviewer, NOW + Duration::days(30), "", NOW).map(|(application, _)| application),
            Command::Decline => application.decline(reviewer, DeclineReason::PurposeUnclear, "", NOW),
        }
    }

    /// The table of the whole machine, written apart from it: the state a command leads to, or none where it is refused.
    fn expected(state: &str, command: Command) -> Option<&'static str> {
        match (state, command) {
            ("draft", Command::SaveDraft) => Some("draft"),
            ("draft", Command::Submit) => Some("submitted"),
            ("draft" | "submitted", Command::Withdraw) => Some("withdrawn"),
            ("submitted", Command::Approve) => Some("approved"),
            ("submitted", Command::Decline) => Some("declined"),
            _ => None,
        }
    }

    #[test]
    fn every_command_in_every_state_leads_where_the_table_says() {
        for state in STATES {
            for command in COMMANDS {
                match (run(application(state), command), expected(state, command)) {
                    (Ok(after), Some(to)) => {
                        assert_eq!(after.state.as_str(), to, "{state} × {command:?}");
                        assert_eq!(after.updated_at, NOW);
                    }
                    (Err(Error::Conflict(why)), None) => assert!(!why.is_empty()),
                    (outcome, expected) => panic!("{state} × {command:?}: expected {expected:?}, got {outcome:?}"),
                }
            }
        }
    }

    #[test]
    fn nobody_decides_on_their_own_application() {
        let waiting = application("submitted");
        let own = waiting.applicant;
        for refused in [
            waiting.clone().approve(own, NOW + Duration::days(1), "", NOW).map(|_| ()),
            waiting.decline(own, DeclineReason::Duplicate, "", NOW).map(|_| ()),
        ] {
            assert!(matches!(refused, Err(Error::Forbidden(Refusal { code: "own_application", .. }))), "{refused:?}");
        }
    }

    #[test]
    fn a_grant_ends_within_a_year_and_not_before_it_begins() {
        let until = |until| application("submitted").approve(AccountId::fresh(), until, "", NOW).map(|(_, grant)| grant);
        let grant = until(NOW + GRANT_LIFE_MAX).expect("a year is allowed");
        assert_eq!((grant.granted_at, grant.expires_at), (NOW, NOW + GRANT_LIFE_MAX));
        for wrong in [NOW, NOW - Duration::days(1), NOW + GRANT_LIFE_MAX + Duration::seconds(1)] {
            assert!(matches!(until(wrong), Err(Error::Invalid(faults)) if faults[0].field == "until"), "{wrong}");
        }
    }

    #[test]
    fn another_reason_has_to_be_said_in_words() {
        let declined = |text: &str| application("submitted").decline(AccountId::fresh(), DeclineReason::Other, text, NOW);
        assert!(matches!(declined(" \r\n "), Err(Error::Invalid(faults)) if faults[0].field == "text"));
        assert!(declined("The project ended in January.").is_ok());
        assert!(declined(&"x".repeat(DECISION_TEXT_CHARS_MAX + 1)).is_err());
    }

    #[test]
    fn what_is_not_complete_stays_a_draft() {
        let draft = application("draft").save_draft(Answers::default(), NOW).expect("drafts keep anything");
        assert!(matches!(draft.submit(Form::built_in(), Some(LICENCE), NOW), Err(Error::Invalid(faults)) if faults.len() > 20));
    }

    #[test]
    fn a_withdrawn_application_remembers_whether_it_was_sent() {
        let sent = application("submitted").withdraw(NOW).expect("it waits");
        assert_eq!(sent.state, State::Withdrawn { submitted_at: Some(BEFORE), at: NOW });
        let unsent = application("draft").withdraw(NOW).expect("it is a draft");
        assert_eq!(unsent.state.submitted_at(), None);
    }
}
