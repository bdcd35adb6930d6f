//! Time closes what its applicant has left: drafts and requests for changes lapse, after a notice.

use time::Duration;

use super::store;
use crate::accounts;
use crate::audit::{self, Event};
use crate::catalog;
use crate::error::Error;
use crate::http::when;
use crate::ids::ApplicationId;
use crate::mail::{self, Message};
use crate::portal::Portal;

/// How long before it lapses the applicant is told.
const NOTICE: Duration = Duration::days(7);
/// How many are looked at in one go.
const AT_ONCE: i64 = 200;

/// Tells whoever's application is about to lapse, and closes those whose time has come. Each in a transaction of its own.
pub async fn sweep_applications(portal: &Portal) -> Result<(), Error> {
    let now = portal.clock.now();
    let waiting = store::left_alone(&mut *portal.db.acquire().await?, now, NOTICE, AT_ONCE).await?;
    for id in waiting {
        see_to(portal, id).await?;
    }
    Ok(())
}

async fn see_to(portal: &Portal, id: ApplicationId) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let application = store::lock(&mut tx, id).await?;
    // Somebody may have taken it up between the look and the lock.
    let Some(lapses_at) = application.lapses_at().filter(|at| now >= *at - NOTICE) else { return Ok(()) };
    let model = catalog::find_model_by_id(&mut tx, application.model).await?;
    let applicant = accounts::find_account(&mut tx, application.applicant).await?;
    let (to, name) = (applicant.email.to_string(), applicant.name);
    if now >= lapses_at {
        let lapsed = application.lapse(now)?;
        store::save(&mut tx, &lapsed).await?;
        audit::record(&mut tx, now, None, &Event::ApplicationLapsed { application: id }).await?;
        let link = portal.config.url_of(&format!("/applications/{id}"));
        mail::enqueue(&mut tx, now, &Message::ApplicationLapsed { to, name, model: model.full_name(), link }).await?;
    } else {
        store::note_lapse_told(&mut tx, id, now).await?;
        let link = portal.config.url_of(&format!("{}/apply", model.path()));
        let message = Message::ApplicationLapsing { to, name, model: model.full_name(), until: when::day(lapses_at), link };
        mail::enqueue(&mut tx, now, &message).await?;
    }
    tx.commit().await?;
    Ok(())
}
