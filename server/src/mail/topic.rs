//! The mails that somebody need not get, and how often they want them. Everything else is essential: what opens or closes an account,
//! what became of an application, what is wrong with weights that were downloaded.

use super::Message;
use crate::error::FieldError;

/// What non-essential mails are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Applications and renewals to review.
    Reviews,
    /// Comments in the discussion of an application.
    Comments,
    /// Access tokens that end.
    Tokens,
    /// New releases of what was downloaded.
    Releases,
}

/// How often somebody wants to hear of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At once, a mail each.
    Each,
    /// One mail for all of it, every working day. Only for applications to review.
    Daily,
    /// Never.
    Never,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Topic; 4] = [Topic::Reviews, Topic::Comments, Topic::Tokens, Topic::Releases];

    /// The topic of a kind of mail; none of an essential one.
    pub fn of(kind: &str) -> Option<Self> {
        match kind {
            "application_to_review" | "application_resubmitted" | "renewal_to_review" | "reviews_overdue" | Message::REVIEW_DIGEST => {
                Some(Topic::Reviews)
            }
            "comment_written" => Some(Topic::Comments),
            "token_ends" => Some(Topic::Tokens),
            "release_superseded" => Some(Topic::Releases),
            _ => None,
        }
    }

    /// As the database and the form keep it.
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::Reviews => "reviews",
            Topic::Comments => "comments",
            Topic::Tokens => "tokens",
            Topic::Releases => "releases",
        }
    }

    /// The paces that make sense for it, as the form offers them.
    pub fn paces(self) -> &'static [Pace] {
        match self {
            Topic::Reviews => &[Pace::Each, Pace::Daily, Pace::Never],
            Topic::Comments | Topic::Tokens | Topic::Releases => &[Pace::Each, Pace::Never],
        }
    }
}

impl Pace {
    /// As the database and the form keep it.
    pub fn as_str(self) -> &'static str {
        match self {
            Pace::Each => "each",
            Pace::Daily => "daily",
            Pace::Never => "never",
        }
    }

    /// The pace of this name, if `topic` may have it.
    pub fn parse(topic: Topic, name: &str) -> Result<Self, FieldError> {
        let found = topic.paces().iter().find(|pace| pace.as_str() == name);
        found.copied().ok_or_else(|| FieldError::new(topic.as_str(), "choose one of those offered"))
    }

    /// Whether somebody who has chosen this gets a mail of this kind.
    pub(super) fn lets_through(self, kind: &str) -> bool {
        match self {
            Pace::Each => kind != Message::REVIEW_DIGEST,
            Pace::Daily => kind == Message::REVIEW_DIGEST,
            Pace::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reviewer_gets_each_or_the_digest_and_never_both() {
        let kinds = ["application_to_review", Message::REVIEW_DIGEST];
        assert_eq!(kinds.map(|kind| Pace::Each.lets_through(kind)), [true, false]);
        assert_eq!(kinds.map(|kind| Pace::Daily.lets_through(kind)), [false, true]);
        assert_eq!(kinds.map(|kind| Pace::Never.lets_through(kind)), [false, false]);
        assert!(Topic::ALL.iter().all(|topic| topic.paces().contains(&Pace::Each)), "the default can be chosen");
        assert!(Pace::parse(Topic::Comments, "daily").is_err() && Pace::parse(Topic::Reviews, "daily").is_ok());
        for kind in ["release_yanked", "new_sign_in", "token_made", "token_leaked", "role_changed", "application_overdue", "consent_due"] {
            assert_eq!(Topic::of(kind), None, "{kind} is essential");
        }
    }
}
