//! Telling those who downloaded a model that it has a new release: once for a release, some minutes after it was published, so that one that
//! was published by mistake can be yanked before anybody hears of it.

use time::Duration;

use super::store;
use crate::accounts;
use crate::catalog;
use crate::error::Error;
use crate::mail::{self, Message};
use crate::portal::Portal;

/// How long a release stands before people are told of it.
const SETTLED: Duration = Duration::minutes(10);

/// Tells of one release, and says whether there may be more. Nobody is told of one that `main` does not name (any more).
pub(super) async fn tell(portal: &Portal) -> Result<bool, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let Some(release) = catalog::claim_news(&mut tx, now - SETTLED, now).await? else { return Ok(false) };
    let main = catalog::main_releases(&mut tx, &[release.model_id]).await?.remove(&release.model_id);
    if release.yanked_at.is_none() && main.is_some_and(|main| main.id == release.id) {
        let model = catalog::find_model_by_id(&mut tx, release.model_id).await?;
        let readers = store::have_another(&mut tx, model.id, release.id).await?;
        let readers = accounts::find_accounts(&mut tx, &readers).await?;
        for reader in readers.into_iter().filter(|reader| reader.disabled_at.is_none()) {
            let message = Message::ReleaseSuperseded {
                to: reader.email.to_string(),
                name: reader.name,
                model: model.full_name(),
                revision: release.revision.clone(),
                notes: release.notes.clone(),
                link: portal.config.url_of(&model.path()),
            };
            mail::enqueue(&mut tx, now, &message).await?;
        }
    }
    tx.commit().await?;
    Ok(true)
}
