//! Forgetting a person, in one transaction, on the record, and as often as one likes. What stays says that somebody was here: that
//! applications were made and decided, when and by whom, how much was downloaded, and each place in the audit log. What keeps them out
//! is remembered until it ends, whoever asks for the erasure: otherwise a block would last as long as somebody lets it.

use sqlx::PgConnection;
use time::Duration;

use super::archive::subjects;
use crate::accounts::{self, Account};
use crate::audit::{self, Event};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, MailId};
use crate::portal::Portal;
use crate::{access, downloads, mail};

/// For how long it is looked after whether something came in behind an erasure: a download that was still running, a form on its way.
const LATE: Duration = Duration::hours(1);

/// Who asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The person.
    Themselves,
    /// An admin, for the person.
    Admin(AccountId),
    /// Whoever has the command line.
    Operator,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    /// The person is forgotten.
    Now,
    /// They had been before; what had come in since is cleared too.
    Before,
}

/// Forgets `account`: ends sessions and tokens, closes what is open, takes back access, clears every word of and about them, and leaves
/// a pseudonym. Errors: `Conflict` for the last admin, `NotFound` when an admin asks who is none any more.
pub async fn erase(portal: &Portal, account: AccountId, asker: Asker) -> Result<Erased, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let admins = accounts::lock_admins(&mut tx).await?;
    let (by, asked_by) = match asker {
        Asker::Themselves => (Some(account), "themselves"),
        Asker::Admin(admin) if admins.contains(&admin) => (Some(admin), "admin"),
        Asker::Admin(_) => return Err(Error::NotFound("page")),
        Asker::Operator => (None, "operator"),
    };
    if admins == [account] {
        let only = Error::Conflict("this is the only account that runs the portal; make somebody else an admin first".into());
        return Err(only.mended_by("/admin/people", "Make somebody an admin"));
    }
    access::lock_all(&mut tx, account).await?;
    let person = accounts::lock_account(&mut tx, account).await?;
    let was = if person.is_erased() { Erased::Before } else { Erased::Now };
    if was == Erased::Now {
        // Before anything is closed: what the erasure itself ends is no bar.
        access::keep_bars(&mut tx, portal, account, person.email.as_str(), now).await?;
    }
    access::close_all(&mut tx, account, by, now).await?;
    let mails = forget(&mut tx, &person, by, now).await?;
    if was == Erased::Now {
        accounts::erase_account(&mut tx, account, now).await?;
        audit::record(&mut tx, now, by, &Event::AccountErased { account, asked_by }).await?;
    }
    tx.commit().await?;
    portal.mailer.forget(&mails).await;
    Ok(was)
}

/// Looks once more after everybody who was erased a short time ago.
pub async fn forget_late(portal: &Portal) -> Result<(), Error> {
    let lately = accounts::erased_since(&mut *portal.db.acquire().await?, portal.clock.now() - LATE).await?;
    for account in lately {
        erase(portal, account, Asker::Operator).await?;
    }
    Ok(())
}

/// Clears what every room has of them. The record first, which is found by ids that go with their rows.
async fn forget(tx: &mut PgConnection, person: &Account, by: Option<AccountId>, now: Timestamp) -> Result<Vec<MailId>, Error> {
    let subjects = subjects(tx, person.id).await?;
    audit::forget(tx, now, by, person.id, &subjects).await?;
    let mails = mail::forget(tx, person.email.as_str(), &subjects).await?;
    access::forget(tx, person.id, now).await?;
    downloads::forget(tx, person.id).await?;
    accounts::forget_ways_in(tx, person.id).await?;
    Ok(mails)
}
