//! Access of one account to one model, as long as it lasts.

use crate::clock::Timestamp;
use crate::ids::GrantId;

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
    /// What it is worth now.
    pub fn standing(&self, now: Timestamp) -> Standing {
        if self.revoked_at.is_some() {
            Standing::Revoked
        } else if now >= self.expires_at {
            Standing::Expired
        } else {
            Standing::Holds
        }
    }
}
