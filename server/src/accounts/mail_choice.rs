//! Which of the mails that need not be somebody gets, and how often.

use super::{Account, Role};
use crate::error::{Error, FieldError};
use crate::mail::{self, Pace, Topic};
use crate::portal::Portal;

/// The topics that are somebody's business.
pub fn topics(account: &Account) -> impl Iterator<Item = Topic> + use<> {
    let reviews = account.role >= Role::Reviewer;
    Topic::ALL.into_iter().filter(move |topic| reviews || *topic != Topic::Reviews)
}

/// Notes the paces by their names, all or none. Errors: `Invalid` for what a topic does not offer, and for a topic that is not theirs.
pub async fn choose(portal: &Portal, account: &Account, wanted: &[(Topic, &str)]) -> Result<(), Error> {
    let mut faults = Vec::new();
    let mut tx = portal.db.begin().await?;
    for (topic, name) in wanted {
        let is_theirs = topics(account).any(|own| own == *topic);
        match Pace::parse(*topic, name) {
            _ if !is_theirs => faults.push(FieldError::new(topic.as_str(), "is for reviewers alone; leave it out")),
            Ok(pace) => mail::set_pace(&mut tx, account.email.as_str(), *topic, pace, portal.clock.now()).await?,
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    tx.commit().await?;
    Ok(())
}
