//! Access of one account to one model, as long as it lasts.

use time::Duration;

use crate::clock::Timestamp;
use crate::error::FieldError;
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// The longest a grant may last: a year, the leap one included.
pub const GRANT_LIFE_MAX: Duration = Duration::days(366);

/// A grant. It was given once, and is looked at anew whenever it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// When it was given.
    pub granted_at: Timestamp,
    /// The first moment at which it does not hold any more.
    pub expires_at: Timestamp,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// Why it was taken back.
    pub revoke_reason: Option<String>,
}

/// A grant with whose it is, for what, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldGrant {
    /// The grant itself.
    pub grant: Grant,
    /// Who holds it.
    pub account: AccountId,
    /// For which model.
    pub model: ModelId,
    /// The application it followed from; none when an operator gave it.
    pub application: Option<ApplicationId>,
    /// Why it was given.
    pub reason: String,
}

/// What a grant is worth at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It holds.
    Holds,
    /// Its end has come.
    Expired,
    /// It was taken back.
    Revoked,
}

impl Grant {
    /// A grant from `now` until `expires_at`. Errors: the end is not after the beginning, or more than a year after it.
    pub(super) fn new(id: GrantId, now: Timestamp, expires_at: Timestamp) -> Result<Self, FieldError> {
        if expires_at <= now {
            return Err(FieldError::new("until", "lies in the past; access ends on a day to come"));
        }
        if expires_at - now > GRANT_LIFE_MAX {
            return Err(FieldError::new("until", "is too far away; access lasts 12 months at most and can be applied for again"));
        }
        Ok(Self { id, granted_at: now, expires_at, revoked_at: None, revoke_reason: None })
    }

    /// What it is worth now. One that was closed after its end had come (because another followed it) has expired, not been revoked.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.revoked_at {
            Some(at) if at < self.expires_at => Standing::Revoked,
            Some(_) => Standing::Expired,
            None if now >= self.expires_at => Standing::Expired,
            None => Standing::Holds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const BEGIN: Timestamp = datetime!(2026-03-01 12:00 UTC);
    const END: Timestamp = datetime!(2026-09-01 12:00 UTC);

    fn grant(revoked_at: Option<Timestamp>) -> Grant {
        Grant { revoked_at, ..Grant::new(GrantId::fresh(), BEGIN, END).expect("half a year") }
    }

    #[test]
    fn a_grant_ends_exactly_at_its_end() {
        let instant = Duration::microseconds(1);
        assert_eq!(grant(None).standing(END - instant), Standing::Holds);
        assert_eq!(grant(None).standing(END), Standing::Expired);
    }

    #[test]
    fn revoking_counts_before_the_end_and_not_after() {
        let day = Duration::days(1);
        assert_eq!(grant(Some(END - day)).standing(END - day), Standing::Revoked);
        assert_eq!(grant(Some(END - day)).standing(END + day), Standing::Revoked);
        assert_eq!(grant(Some(END + day)).standing(END + day), Standing::Expired);
    }
}
