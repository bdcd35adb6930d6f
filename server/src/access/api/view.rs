//! Applications and their threads, as programs are told of them.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::super::answers::Answers;
use super::super::application::Application;
use super::super::comment::Comment;
use super::super::people::People;
use super::super::recorded::{RECORDED_MAX, about};
use super::super::state::State;
use super::super::state_view::{name_of, turn};
use crate::audit;
use crate::catalog::Model;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::Error;
use crate::http::api::Moment;
use crate::ids::{AccountId, ApplicationId, CommentId};

/// An application, in short.
#[derive(Serialize, ToSchema)]
pub(super) struct ApplicationLine {
    /// Its id.
    pub(super) id: ApplicationId,
    /// For which model: `org/name`.
    pub(super) model: String,
    /// The title of the project.
    pub(super) title: String,
    /// `draft`, `submitted`, `changes_requested`, `approved`, `declined`, `withdrawn` or `lapsed`.
    #[schema(example = "submitted")]
    pub(super) state: &'static str,
    /// Whose turn it is: `applicant` or `reviewer`; null once it is closed.
    pub(super) turn: Option<&'static str>,
    /// The same in words, as the applicant reads it.
    pub(super) told: String,
    /// How often it changed: send it back with what you do.
    pub(super) version: i64,
    /// When it was begun.
    pub(super) created_at: Moment,
    /// When it was sent first; that is its place in the queue.
    pub(super) submitted_at: Option<Moment>,
    /// By when an answer is promised.
    pub(super) due_at: Option<Moment>,
    /// When it lapses, if its applicant does nothing.
    pub(super) lapses_at: Option<Moment>,
}

impl ApplicationLine {
    pub(super) fn new(application: &Application, sent_last_at: Option<Timestamp>, models: &[Model], now: Timestamp) -> Self {
        let sent = application.state.sent();
        Self {
            id: application.id,
            model: name_of(models, application.model).0,
            title: application.answers.get("title").to_owned(),
            state: application.state.as_str(),
            turn: match application.state {
                State::Draft | State::ChangesRequested { .. } => Some("applicant"),
                State::Submitted(_) => Some("reviewer"),
                State::Approved { .. } | State::Declined { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => None,
            },
            told: turn(application, sent_last_at, now),
            version: application.version,
            created_at: application.created_at.into(),
            submitted_at: sent.map(|sent| sent.at.into()),
            due_at: sent.map(|sent| sent.due_at.into()),
            lapses_at: application.lapses_at().map(Moment),
        }
    }
}

/// How it was decided, or what is asked to be changed.
#[derive(Serialize, ToSchema)]
pub(super) struct Word {
    /// When.
    at: Moment,
    /// The code of a decline's reason; null otherwise.
    reason: Option<&'static str>,
    /// What that means, and what can be done next.
    advice: Option<&'static str>,
    /// What the reviewer wrote.
    text: String,
    /// The names of the questions that are meant.
    fields: Vec<String>,
    /// Who; for reviewers alone.
    by: Option<String>,
}

/// What a reviewer said last, if it stands: a decision, or a request for changes. `names`: for reviewers.
pub(super) fn word(state: &State, names: Option<&People>) -> Option<Word> {
    let name = |by: AccountId| names.map(|people| people.name(by));
    let word = |at: Timestamp, by, text: &str| Word {
        at: at.into(),
        reason: None,
        advice: None,
        text: text.to_owned(),
        fields: vec![],
        by: name(by),
    };
    match state {
        State::Approved { by, at, note, .. } => Some(word(*at, *by, note)),
        State::Declined { by, at, reason, text, .. } => {
            Some(Word { reason: Some(reason.as_str()), advice: Some(reason.advice()), ..word(*at, *by, text) })
        }
        State::ChangesRequested { changes, .. } => {
            Some(Word { fields: changes.fields.clone(), ..word(changes.at, changes.by, &changes.text) })
        }
        State::Draft | State::Submitted(_) | State::Withdrawn { .. } | State::Lapsed { .. } => None,
    }
}

/// One comment of the thread.
#[derive(Serialize, ToSchema)]
pub(super) struct Said {
    /// Its id.
    id: CommentId,
    /// When.
    at: Moment,
    /// Who; to the applicant, a reviewer is "A reviewer".
    author: String,
    /// `shared` with the applicant, or `internal` to reviewers.
    lane: &'static str,
    /// `comment`, `changes`, `appeal`, or `decline`: the one that an appeal is against.
    kind: &'static str,
    /// The questions that are meant; of a decline, the code of its reason.
    fields: Vec<String>,
    /// The words.
    text: String,
}

/// A comment as its reader may see it: an applicant is not told which reviewer wrote it.
pub(super) fn said(comment: &Comment, people: &People, reader: Option<AccountId>) -> Said {
    let author = match reader {
        Some(applicant) if applicant != comment.author => "A reviewer".to_owned(),
        Some(_) | None => people.name(comment.author),
    };
    let kind = comment.kind.as_str();
    let (fields, text) = (comment.fields.clone(), comment.body.clone());
    Said { id: comment.id, at: comment.at.into(), author, lane: comment.lane.as_str(), kind, fields, text }
}

/// One event on the record.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordedLine {
    /// Its place on the record.
    seq: i64,
    /// What happened, in one stable word.
    #[schema(example = "application.approved")]
    kind: String,
    /// When.
    at: Moment,
    /// Where its receipt is, which proves without the portal that this was recorded and when.
    receipt: String,
}

impl RecordedLine {
    pub(super) fn new(event: &audit::Row, config: &Config) -> Self {
        let receipt = config.url_of(&format!("/api/v1/receipts/{}", event.seq));
        Self { seq: event.seq, kind: event.kind.clone(), at: event.at.into(), receipt }
    }
}

/// What happened to these subjects, in its order; of much, the newest.
pub(super) async fn record(db: &mut PgConnection, subjects: Vec<String>, config: &Config) -> Result<Vec<RecordedLine>, Error> {
    let events = audit::page(db, &about(subjects), RECORDED_MAX).await?;
    Ok(events.iter().rev().filter(|event| !event.is_among_reviewers()).map(|event| RecordedLine::new(event, config)).collect())
}

/// The answers by the names of their questions, as they were typed.
pub(super) fn typed(answers: &Answers) -> BTreeMap<String, String> {
    answers.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
