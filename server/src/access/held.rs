//! What somebody may use: their grants, and the models open to them.

use sqlx::PgConnection;

use super::grant::HeldGrant;
use super::store;
use crate::accounts::{Role, Visitor};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::AccountId;

/// The most models that a list of usable ones holds.
const MODELS_MAX: i64 = 500;
/// The most grants that are shown of one account; the newest.
const GRANTS_MAX: i64 = 200;

/// Every grant an account ever had, the newest first; look at each with [`super::Grant::standing`].
pub async fn grants_of(db: &mut PgConnection, account: AccountId) -> Result<Vec<HeldGrant>, Error> {
    store::grants(db, account, GRANTS_MAX).await
}

/// The models that `visitor` may use, by name: the open ones, those granted, and all of them for admins.
/// What may be done with each, [`super::authorize()`] decides when it is done.
pub async fn usable_models(db: &mut PgConnection, visitor: &Visitor, now: Timestamp) -> Result<Vec<Model>, Error> {
    match visitor.account() {
        Some(account) if account.role == Role::Admin => catalog::list_models(db, "", None, MODELS_MAX).await,
        Some(account) => {
            let granted = store::models_granted(db, account.id, now).await?;
            catalog::list_open_models(db, &granted, MODELS_MAX).await
        }
        None => catalog::list_open_models(db, &[], MODELS_MAX).await,
    }
}

/// How much there is to see to: applications waiting, grants that hold.
pub async fn counts(db: &mut PgConnection, now: Timestamp) -> Result<Counts, Error> {
    Ok(Counts { applications_waiting: store::count_waiting(db).await?, grants_held: store::count_held(db, now).await? })
}

/// See [`counts`].
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Applications that wait for a reviewer.
    pub applications_waiting: i64,
    /// Grants that hold now.
    pub grants_held: i64,
}
