//! Yanking a release: nobody gets its bytes any more, and whoever has them is told, once each. State, record and mails in one transaction.

use sqlx::PgConnection;
use time::Duration;

use super::store;
use crate::accounts;
use crate::catalog::{self, Changed, Release};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ReleaseId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// How long after a yank the ledger is looked through again: transfers that ran when it happened are written when they are.
const LATE: Duration = Duration::days(2);

/// What came of it.
#[derive(Debug)]
pub struct Yanked {
    /// The release and where `main` points now.
    pub changed: Changed,
    /// How many people were told.
    pub told: usize,
}

/// Yanks a release and tells everybody in the ledger who fetched any of it. Errors: as [`catalog::yank`].
pub async fn yank(portal: &Portal, by: Option<AccountId>, release: ReleaseId, reason: &str) -> Result<Yanked, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let changed = catalog::yank(&mut tx, now, by, release, reason).await?;
    let told = tell(portal, &mut tx, &changed.release, now).await?;
    tx.commit().await?;
    Ok(Yanked { changed, told })
}

/// Puts a release back on offer and tells everybody who was told that it was not. Errors: as [`catalog::restore`].
pub async fn restore(portal: &Portal, by: Option<AccountId>, release: ReleaseId) -> Result<Yanked, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let changed = catalog::restore(&mut tx, now, by, release).await?;
    let told = store::forget_told(&mut tx, release).await?;
    for account in accounts::find_accounts(&mut tx, &told).await? {
        let message = Message::ReleaseRestored {
            to: account.email.to_string(),
            name: account.name,
            model: changed.model.full_name(),
            revision: changed.release.revision.clone(),
            link: portal.config.url_of(&changed.model.path()),
        };
        mail::enqueue(&mut tx, now, &message).await?;
    }
    tx.commit().await?;
    Ok(Yanked { changed, told: told.len() })
}

/// Tells those whose transfers were written to the ledger after a yank.
pub(super) async fn tell_late(portal: &Portal) -> Result<(), Error> {
    let now = portal.clock.now();
    let yanked = catalog::yanked_since(&mut *portal.db.acquire().await?, now - LATE).await?;
    for release in yanked {
        let mut tx = portal.db.begin().await?;
        tell(portal, &mut tx, &release, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// How many accounts fetched any of a release.
pub async fn fetched_by(db: &mut PgConnection, release: ReleaseId) -> Result<i64, Error> {
    store::fetched_by(db, release).await
}

async fn tell(portal: &Portal, tx: &mut PgConnection, release: &Release, now: Timestamp) -> Result<usize, Error> {
    let untold = store::untold(tx, release.id).await?;
    if untold.is_empty() {
        return Ok(0);
    }
    let model = catalog::find_model_by_id(tx, release.model_id).await?;
    let main = catalog::main_releases(tx, &[model.id]).await?.remove(&model.id);
    let instead = main.filter(|main| main.yanked_at.is_none()).map(|main| main.revision);
    for account in accounts::find_accounts(tx, &untold).await? {
        let message = Message::ReleaseYanked {
            to: account.email.to_string(),
            name: account.name,
            model: model.full_name(),
            revision: release.revision.clone(),
            reason: release.yank_reason.clone().unwrap_or_default(),
            instead: instead.clone(),
            link: portal.config.url_of(&model.path()),
        };
        mail::enqueue(tx, now, &message).await?;
    }
    store::note_told(tx, release.id, &untold, now).await?;
    Ok(untold.len())
}
