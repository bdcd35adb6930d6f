//! A comment: one word of the thread of an application.

use crate::clock::Timestamp;
use crate::error::FieldError;
use crate::ids::{AccountId, CommentId};

/// Who may read a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The applicant and the reviewers.
    Shared,
    /// Reviewers alone.
    Internal,
}

impl Lane {
    /// As it is stored and posted.
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Shared => "shared",
            Lane::Internal => "internal",
        }
    }
}

impl std::str::FromStr for Lane {
    type Err = FieldError;
    fn from_str(name: &str) -> Result<Self, FieldError> {
        let known = [Lane::Shared, Lane::Internal].into_iter().find(|lane| lane.as_str() == name);
        known.ok_or_else(|| FieldError::new("lane", "is `shared` with the applicant, or `internal` to reviewers"))
    }
}

/// What a comment is besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing else.
    Comment,
    /// A request for changes.
    Changes,
    /// The decline that an appeal is against.
    Decline,
    /// An appeal.
    Appeal,
}

impl Kind {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Comment => "comment",
            Kind::Changes => "changes",
            Kind::Decline => "decline",
            Kind::Appeal => "appeal",
        }
    }

    /// The kind of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        [Kind::Comment, Kind::Changes, Kind::Decline, Kind::Appeal].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// Who wrote it.
    pub author: AccountId,
    /// Who may read it.
    pub lane: Lane,
    /// What it is besides.
    pub kind: Kind,
    /// With a request for changes: the questions that are meant. With a decline: the code of its reason.
    pub fields: Vec<String>,
    /// The words.
    pub body: String,
    /// When.
    pub at: Timestamp,
}

impl Comment {
    /// A comment of now.
    pub fn new(author: AccountId, lane: Lane, kind: Kind, body: String, now: Timestamp) -> Self {
        Self { id: CommentId::fresh(), author, lane, kind, fields: vec![], body, at: now }
    }
}
