//! Whether a generation that runs may go on: a grant, a token or a session that is taken back ends it.

use std::time::{Duration, Instant};

use actix_web::web::Data;

use crate::access::{Action, authorize};
use crate::accounts::{self, Visitor};
use crate::catalog::{self, Model};
use crate::error::Error;
use crate::portal::Portal;

/// How often is asked, for each generation that runs, where the record does not grow meanwhile: most of what takes access away is on it, and is
/// asked about at once. There are
/// few (an account has four, a model eight), so each asks for itself and no table of them is kept.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Asks again about somebody who has waited in line since `asked`. Errors: why they may not any more.
pub(super) async fn still_after_waiting(
    portal: &Portal,
    visitor: &Visitor,
    model: &Model,
    action: Action,
    asked: Instant,
) -> Result<(), Error> {
    if asked.elapsed() < ASK_EVERY { Ok(()) } else { still(portal, visitor, model, action).await }
}

/// Waits until this visitor may not do this with the model any more, and says why. What cannot be asked is asked the next time.
pub(super) async fn taken_back(portal: Data<Portal>, visitor: Visitor, model: Model, action: Action) -> Error {
    let mut grown = portal.audit.grown();
    loop {
        let _ = tokio::time::timeout(ASK_EVERY, grown.changed()).await;
        match still(&portal, &visitor, &model, action).await {
            Ok(()) => {}
            Err(refused @ (Error::Forbidden(_) | Error::SignedOut)) => return refused,
            Err(cause) => tracing::warn!(%cause, "whether a generation may go on will be asked again"),
        }
    }
}

async fn still(portal: &Portal, visitor: &Visitor, model: &Model, action: Action) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let visitor = accounts::look_again(&mut db, visitor, now).await?;
    // The gate may have been closed since.
    let model = catalog::find_model_by_id(&mut db, model.id).await?;
    authorize(&mut db, &visitor, &model, action, now).await?.permit().map(drop)
}
