//! Comments as they are read: reviewers see who wrote what, an applicant sees which side did.

use super::answers_view;
use super::comment::{Comment, Kind, Lane};
use super::decline::DeclineReason;
use super::form::Form;
use crate::accounts::Account;
use crate::http::when;
use crate::ids::AccountId;

/// One comment on a page.
pub(super) struct CommentView {
    pub(super) author: String,
    pub(super) at: String,
    /// A word on what it is besides; empty for a plain comment.
    pub(super) word: &'static str,
    pub(super) is_internal: bool,
    pub(super) is_own: bool,
    /// What `fields` are.
    pub(super) about: &'static str,
    /// The questions that are meant, or the reason, in words.
    pub(super) fields: Vec<String>,
    pub(super) lines: Vec<String>,
}

/// For a reviewer, with names.
pub(super) fn for_reviewer(form: &Form, comment: &Comment, reader: AccountId, people: &[Account]) -> CommentView {
    let author = people.iter().find(|account| account.id == comment.author);
    view(form, comment, reader, author.map_or_else(|| "A removed account".into(), |account| account.name.clone()))
}

/// For the applicant, whose the thread is: a reviewer is a reviewer, and what they say among themselves is theirs.
pub(super) fn for_applicant(form: &Form, comments: &[Comment], reader: &Account) -> Vec<CommentView> {
    let author = |comment: &Comment| if comment.author == reader.id { reader.name.clone() } else { "A reviewer".into() };
    let shared = comments.iter().filter(|comment| comment.lane == Lane::Shared);
    shared.map(|comment| view(form, comment, reader.id, author(comment))).collect()
}

fn view(form: &Form, comment: &Comment, reader: AccountId, author: String) -> CommentView {
    CommentView {
        author,
        at: when::minute(comment.at),
        word: match comment.kind {
            Kind::Comment => "",
            Kind::Changes => "Asks for changes",
            Kind::Decline => "Declined",
            Kind::Appeal => "Appeal",
        },
        about: if comment.kind == Kind::Decline { "Reason" } else { "About" },
        is_internal: comment.lane == Lane::Internal,
        is_own: comment.author == reader,
        fields: match comment.kind {
            Kind::Decline => {
                comment.fields.iter().filter_map(|code| Some(code.parse::<DeclineReason>().ok()?.label().to_owned())).collect()
            }
            Kind::Comment | Kind::Changes | Kind::Appeal => {
                comment.fields.iter().map(|field| answers_view::asked_in_words(form, field)).collect()
            }
        },
        lines: comment.body.lines().map(str::to_owned).collect(),
    }
}
