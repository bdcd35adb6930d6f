//! Forgetting who somebody was: a pseudonym is left where they were.

use sqlx::PgConnection;

use super::SignedIn;
use super::account::{Account, Email, Password};
use super::store;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::ids::AccountId;
use crate::portal::Portal;

/// Closes the account for good, under an address and a name that say nothing.
pub async fn erase_account(tx: &mut PgConnection, id: AccountId, now: Timestamp) -> Result<(), Error> {
    store::forget_ways_in(tx, id).await?;
    store::set_erased(tx, id, &Email::erased(id), "Erased account", now).await
}

/// That it is really them at the keyboard. Errors: `Invalid` for another password, or for none; `Limited` after too many tries.
pub async fn confirm_password(portal: &Portal, who: &SignedIn, typed: String) -> Result<(), Error> {
    portal.limits.sign_in_account.check(&who.account.id.to_string())?;
    let mut db = portal.db.acquire().await?;
    let stored = store::password_hash(&mut db, who.account.id).await?;
    // Hashing takes its time; the connection is others' meanwhile.
    drop(db);
    if stored.is_none() {
        return Err(FieldError::new("password", "you have no password yet; choose one on your profile first").into());
    }
    if Password::typed(typed).matches(stored).await? { Ok(()) } else { Err(FieldError::new("password", "wrong password").into()) }
}

impl Account {
    /// Whether somebody was here who was forgotten (account_erased_ck).
    pub fn is_erased(&self) -> bool {
        self.email.is_nobodys()
    }
}
