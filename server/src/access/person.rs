//! One person as reviewers look them up: what they have sent, and whether mail reaches them.

use sqlx::PgConnection;

use super::state_view::badge_named;
use super::store;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, ModelId};

/// What reviewers know of a person.
pub struct KnownPerson {
    /// Whether the newest mail to them came back, or was given up.
    pub is_unreachable: bool,
    /// What they have sent, the newest first.
    pub applications: Vec<SentApplication>,
}

/// An application that was sent, in short.
pub struct SentApplication {
    /// Its id.
    pub id: ApplicationId,
    /// For which model.
    pub model: ModelId,
    /// What it is called.
    pub title: String,
    /// Its state, in a word.
    pub word: String,
    /// The class that gives the word its colour.
    pub class: &'static str,
    /// When it was sent.
    pub sent_at: Timestamp,
}

/// What reviewers know of this account.
pub async fn known_person(db: &mut PgConnection, account: AccountId) -> Result<KnownPerson, Error> {
    let (is_unreachable, sent) = store::sent_by(db, account).await?;
    let applications = sent.into_iter().map(|one| {
        let badge = badge_named(&one.state);
        SentApplication {
            id: ApplicationId::from(one.id),
            model: ModelId::from(one.model),
            title: one.title.trim().to_owned(),
            word: badge.word.into_owned(),
            class: badge.class,
            sent_at: one.sent_at,
        }
    });
    Ok(KnownPerson { is_unreachable, applications: applications.collect() })
}
