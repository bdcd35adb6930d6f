//! An application as its row lies in the table, and what it means.

use sqlx::types::Json;

use super::super::answers::Answers;
use super::super::application::Application;
use super::super::state::{Appeal, Changes, Claim, Sent, State};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, ModelId};

/// The columns of an application, as they lie in the table.
pub(super) struct ApplicationRow {
    pub(super) id: ApplicationId,
    pub(super) account_id: AccountId,
    pub(super) model_id: ModelId,
    pub(super) version: i64,
    pub(super) answers: Json<Answers>,
    pub(super) licence_sha256: Option<String>,
    pub(super) form_sha256: Option<String>,
    pub(super) state: String,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) submitted_at: Option<Timestamp>,
    pub(super) due_at: Option<Timestamp>,
    pub(super) claimed_by: Option<AccountId>,
    pub(super) claimed_at: Option<Timestamp>,
    pub(super) changes_by: Option<AccountId>,
    pub(super) changes_at: Option<Timestamp>,
    pub(super) changes_text: Option<String>,
    pub(super) changes_fields: Option<Vec<String>>,
    pub(super) appealed_at: Option<Timestamp>,
    pub(super) appealed_decline_at: Option<Timestamp>,
    pub(super) appeal_text: Option<String>,
    pub(super) appeal_against: Option<AccountId>,
    pub(super) closed_at: Option<Timestamp>,
    pub(super) decided_by: Option<AccountId>,
    pub(super) decline_code: Option<String>,
    pub(super) decision_text: Option<String>,
}

impl ApplicationRow {
    fn sent(&self) -> Option<Sent> {
        let claim = self.claimed_by.zip(self.claimed_at).map(|(by, at)| Claim { by, at });
        let appeal = self.appealed_at.zip(self.appeal_text.clone()).zip(self.appeal_against);
        // Appeals from before the column have none; the appeal came after the decline.
        let declined_at = |at| self.appealed_decline_at.unwrap_or(at);
        let appeal = appeal.map(|((at, text), against)| Appeal { at, text, against, declined_at: declined_at(at) });
        self.submitted_at.zip(self.due_at).map(|(at, due_at)| Sent { at, due_at, claim, appeal })
    }

    fn changes(&self) -> Option<Changes> {
        let who_and_when = self.changes_by.zip(self.changes_at);
        let what = self.changes_text.clone().zip(self.changes_fields.clone());
        who_and_when.zip(what).map(|((by, at), (text, fields))| Changes { by, at, text, fields })
    }

    pub(super) fn application(self) -> Result<Application, Error> {
        let (sent, changes, decided) = (self.sent(), self.changes(), self.closed_at.zip(self.decided_by));
        let text = self.decision_text.unwrap_or_default();
        let state = match (self.state.as_str(), sent, changes, decided, self.decline_code) {
            ("draft", None, None, None, None) => State::Draft,
            ("submitted", Some(sent), None, None, None) => State::Submitted(sent),
            ("changes_requested", Some(sent), Some(changes), None, None) => State::ChangesRequested { sent, changes },
            ("approved", Some(sent), None, Some((at, by)), None) => State::Approved { sent, by, at, note: text },
            ("declined", Some(sent), None, Some((at, by)), Some(code)) => {
                let reason =
                    code.parse().map_err(|_| Error::internal(format!("{} was declined for the unknown reason {code}", self.id)))?;
                State::Declined { sent, by, at, reason, text }
            }
            (state, sent, None, None, None) => match (state, self.closed_at) {
                ("withdrawn", Some(at)) => State::Withdrawn { sent, at },
                ("lapsed", Some(at)) => State::Lapsed { sent, at },
                _ => return Err(Error::internal(format!("{} is {state:?}, and its columns do not agree", self.id))),
            },
            (state, ..) => return Err(Error::internal(format!("{} is {state:?}, and its columns do not agree", self.id))),
        };
        Ok(Application {
            id: self.id,
            applicant: self.account_id,
            model: self.model_id,
            version: self.version,
            answers: self.answers.0,
            licence_sha256: self.licence_sha256,
            form_sha256: self.form_sha256,
            created_at: self.created_at,
            updated_at: self.updated_at,
            state,
        })
    }
}
