//! Model, release, file and gate.

use std::str::FromStr;

use crate::clock::Timestamp;
use crate::error::{FieldError, Mend, Refusal};
use crate::ids::{ModelId, ReleaseId};

/// Who may have a model: a setting of the model, never of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Everybody may download; the playground needs an account.
    Open,
    /// Downloads and playground need an approved application.
    Application,
}

impl Gate {
    /// As it is stored and typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Gate::Open => "open",
            Gate::Application => "application",
        }
    }
}

impl FromStr for Gate {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, FieldError> {
        [Gate::Open, Gate::Application]
            .into_iter()
            .find(|gate| gate.as_str() == text)
            .ok_or_else(|| FieldError::new("gate", "is one of open, application"))
    }
}

/// A model on offer.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its id.
    pub id: ModelId,
    /// The organisation that offers it.
    pub org: String,
    /// Its name within the organisation.
    pub name: String,
    /// Who may have it.
    pub gate: Gate,
    /// The licence's text, by its SHA-256.
    pub licence_sha256: Option<String>,
    /// One line about it.
    pub summary: String,
    /// When it was first offered.
    pub created_at: Timestamp,
}

impl Model {
    /// `org/name`, as programs know it.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.org, self.name)
    }

    /// The path of its page.
    pub fn path(&self) -> String {
        format!("/{}/{}", self.org, self.name)
    }
}

/// The text of a licence. It never changes: another text is another licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Licence {
    /// SHA-256 of the text, 64 hex digits.
    pub sha256: String,
    /// Its first heading, or its file's name.
    pub name: String,
    /// The whole text, Markdown.
    pub body: String,
}

/// One immutable release of a model.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its id.
    pub id: ReleaseId,
    /// Of which model.
    pub model_id: ModelId,
    /// 40 hex digits that follow from its content; clients take it for a commit.
    pub revision: String,
    /// What its publisher said about it.
    pub notes: String,
    /// Its `config.json`, parsed.
    pub config_json: Option<serde_json::Value>,
    /// When it was published.
    pub published_at: Timestamp,
    /// When its bytes were taken off offer.
    pub yanked_at: Option<Timestamp>,
    /// Why.
    pub yank_reason: Option<String>,
}

/// A release, and the names that lead to it.
#[derive(Debug, Clone)]
pub struct NamedRelease {
    /// The release.
    pub release: Release,
    /// Branches first, then tags.
    pub names: Vec<String>,
}

impl NamedRelease {
    /// Whether people get it who ask for none by name.
    pub fn is_main(&self) -> bool {
        self.names.iter().any(|name| name == MAIN)
    }

    /// How far it has come.
    pub fn state(&self) -> ReleaseState {
        match (self.release.yanked_at, self.is_main()) {
            (Some(_), _) => ReleaseState::Yanked,
            (None, true) => ReleaseState::Published,
            (None, false) => ReleaseState::Superseded,
        }
    }
}

impl Release {
    /// Why nobody gets its bytes; nothing while it is good.
    pub fn refusal(&self, model: &Model) -> Option<Refusal> {
        let (at, reason) = (self.yanked_at?, self.yank_reason.as_deref().unwrap_or_default());
        let reason = reason.trim_end_matches('.');
        let short: String = self.revision.chars().take(10).collect();
        Some(Refusal {
            code: "release_yanked",
            message: format!(
                "Release {short} of {} was yanked on {} and is not given out any more: {reason}.",
                model.full_name(),
                at.date()
            ),
            mend: Some(Mend { path: format!("{}#releases", model.path()), label: "See which releases there are" }),
        })
    }
}

/// A release that is stored, verified and signed, and not on offer yet: no name leads to it, nobody gets its bytes, and admins alone see
/// that it is there. Whatever shows releases to others takes a [`Release`], which a draft is not.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Its id, which it keeps.
    pub id: ReleaseId,
    /// Of which model.
    pub model_id: ModelId,
    /// 40 hex digits that follow from its content.
    pub revision: String,
    /// What is to be said about it.
    pub notes: String,
    /// Its `config.json`, parsed.
    pub config_json: Option<serde_json::Value>,
    /// Since when it is stored.
    pub drafted_at: Timestamp,
}

/// How far a release has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseState {
    /// Stored and signed; admins alone see it.
    Draft,
    /// What people get who ask for none by name: `main` names it.
    Published,
    /// `main` has moved on; it is given to whoever names it.
    Superseded,
    /// Its bytes are not given any more.
    Yanked,
}

impl ReleaseState {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            ReleaseState::Draft => "draft",
            ReleaseState::Published => "published",
            ReleaseState::Superseded => "superseded",
            ReleaseState::Yanked => "yanked",
        }
    }
}

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseFile {
    /// Its path in the release, `/` between folders.
    pub path: String,
    /// Its size.
    pub size_bytes: i64,
    /// SHA-256 of its content, 64 hex digits.
    pub sha256: String,
    /// BLAKE3 of its content, 64 hex digits.
    pub blake3: String,
    /// What git would call its content: `sha1("blob LEN\0" + bytes)`, 40 hex digits; nothing for files over 10 MB, which are all `is_lfs`.
    pub git_sha1: String,
    /// Whether clients of the Hub see it as a large file (ETag is then the SHA-256, else the git hash).
    pub is_lfs: bool,
}

/// A name that points at a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseName {
    /// Such as `main` or `v1.0`.
    pub name: String,
    /// Whether it is a tag (else a branch).
    pub is_tag: bool,
    /// The release's revision.
    pub revision: String,
}

/// The branch that every model has: the release people get who ask for none by name.
pub const MAIN: &str = "main";

/// What a tag may be called: letters, digits, `.`, `_`, `-`; not what a revision or the main branch is called.
pub fn parse_tag(raw: &str) -> Result<String, FieldError> {
    let is_revision = (7..=40).contains(&raw.len()) && raw.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_sane = (1..=96).contains(&raw.len())
        && raw.starts_with(|c: char| c.is_ascii_alphanumeric())
        && raw.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !is_sane || is_revision || raw == MAIN {
        return Err(FieldError::new(
            "tag",
            format!(
                "{raw:?} cannot be a tag; take letters, digits, '.', '_' and '-', such as v1.0, and nothing that looks like a revision"
            ),
        ));
    }
    Ok(raw.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_never_taken_for_a_revision_or_for_main() {
        for tag in ["v1.0", "2026-03", "stable", "abc"] {
            assert_eq!(parse_tag(tag), Ok(tag.to_owned()));
        }
        for tag in ["", "main", "deadbee", "0123456789012345678901234567890123456789", "a/b", "-x", "a b", "refs/tags/x"] {
            assert!(parse_tag(tag).is_err(), "{tag:?}");
        }
    }
}
