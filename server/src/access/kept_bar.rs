//! What keeps somebody out outlasts their account: of a block, a decline within its cool-down and a revocation within the same time a trace
//! stays when they are forgotten, and becomes a block of whichever account proves their address next. The trace has no word of theirs, is
//! nobody's without a key of the portal, and goes at its end.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::block::{Block, announce};
use super::policy::Policy;
use super::store;
use crate::accounts;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, BlockId};
use crate::portal::Portal;

/// Why the bar was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody had blocked them.
    Blocked,
    /// An application had been declined, and the cool-down ran.
    Declined,
    /// Access had been revoked, or was suspended or about to be revoked.
    Stopped,
}

impl Why {
    /// As it is stored.
    pub(super) fn parse(stored: &str) -> Result<Self, Error> {
        match stored {
            "blocked" => Ok(Why::Blocked),
            "declined" => Ok(Why::Declined),
            "stopped" => Ok(Why::Stopped),
            _ => Err(Error::internal(format!("a bar is kept for the unknown reason {stored}"))),
        }
    }

    /// As the person reads it.
    fn words(self) -> &'static str {
        match self {
            Why::Blocked => "an account with this address was blocked and then erased; the block stands until its end",
            Why::Declined => {
                "an application by an account with this address was declined, and the account was erased; the time to wait runs on"
            }
            Why::Stopped => {
                "the access of an account with this address was stopped, and the account was erased; as after a decline, there is a time to wait"
            }
        }
    }
}

/// Keeps what bars whoever is about to be forgotten, whoever asks for that.
pub async fn keep_bars(tx: &mut PgConnection, portal: &Portal, account: AccountId, address: &str, now: Timestamp) -> Result<(), Error> {
    let reapply_days = Policy::default().reapply_days;
    store::keep_bars(tx, account, &portal.address_key.hash(address), reapply_days, now).await
}

/// Lets what was kept of an address follow it to the account that has proved it now.
pub fn follow_address<'a>(portal: &'a Portal, tx: &'a mut PgConnection, account: AccountId) -> BoxFuture<'a, Result<(), Error>> {
    Box::pin(async move {
        let now = portal.clock.now();
        let person = accounts::find_account(tx, account).await?;
        for bar in store::take_bars(tx, &portal.address_key.hash(person.email.as_str()), now).await? {
            let reason = Why::parse(&bar.why)?.words().to_owned();
            let (id, expires_at) = (BlockId::fresh(), bar.expires_at);
            let block = Block { id, account, model: bar.model, reason, set_by: None, set_at: now, expires_at, lifted_at: None };
            announce(tx, portal, &block, &person).await?;
        }
        Ok(())
    })
}
