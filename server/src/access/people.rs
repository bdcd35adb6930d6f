//! The people of a page, looked up together.

use crate::accounts::Account;
use crate::ids::AccountId;

/// Accounts by their ids.
pub(super) struct People(pub(super) Vec<Account>);

impl People {
    /// The name of an account.
    pub(super) fn name(&self, id: AccountId) -> String {
        self.find(id).map_or_else(|| "a removed account".into(), |account| account.name.clone())
    }

    /// The account.
    pub(super) fn find(&self, id: AccountId) -> Option<&Account> {
        self.0.iter().find(|account| account.id == id)
    }
}
