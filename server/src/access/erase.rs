//! Forgetting somebody: what they have open is closed, what they may is taken back, and their words go. Not what was decided, and when.

use sqlx::PgConnection;

use super::store;
use crate::audit::{self, Event};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::AccountId;

/// Why a grant ended, for the record.
const REASON: &str = "the account was erased";

/// Locks what is about an account or seen to by it, in the order in which everybody does: whoever decides meanwhile has done so, or waits.
/// Before the account itself changes, which whoever holds one of these may refer to.
pub async fn lock_all(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    store::lock_cases_of(tx, account).await?;
    store::lock_grants_of(tx, account).await
}

/// Withdraws what an account has open, takes back what it may, and gives back the cases it sees to, each on the record. `by` is nobody
/// for the operator's command.
pub async fn close_all(tx: &mut PgConnection, account: AccountId, by: Option<AccountId>, now: Timestamp) -> Result<(), Error> {
    for id in store::open_application_ids(tx, account).await? {
        let application = store::lock(tx, id).await?;
        if application.state.is_open() {
            store::save(tx, &application.withdraw(now)?).await?;
            audit::record(tx, now, by, &Event::ApplicationWithdrawn { application: id }).await?;
        }
    }
    for id in store::claimed_ids(tx, account).await? {
        let Ok(released) = store::lock(tx, id).await?.release(account, now) else { continue };
        store::save(tx, &released).await?;
        audit::record(tx, now, by, &Event::ApplicationReleased { application: id }).await?;
    }
    for id in store::grant_ids_in_force(tx, account, now).await? {
        store::lock_grant(tx, id).await?;
        store::revoke_grant(tx, id, by, REASON, now).await?;
        audit::record(tx, now, by, &Event::GrantRevoked { grant: id, reason: REASON.into() }).await?;
    }
    Ok(())
}

/// Clears what an account wrote, and what others wrote about it.
pub async fn forget(tx: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), Error> {
    store::forget_applications(tx, account).await?;
    store::forget_sendings(tx, account).await?;
    store::forget_comments(tx, account).await?;
    store::forget_grants(tx, account).await?;
    store::forget_renewals(tx, account, now).await?;
    store::forget_blocks(tx, account).await
}

/// The printed ids of everything here that is about an account.
pub async fn subjects_of(db: &mut PgConnection, account: AccountId) -> Result<Vec<String>, Error> {
    store::printed_ids(db, account).await
}
