//! The grants that somebody has, how many there are, and whose business an application or a grant is.

use sqlx::PgConnection;

use super::grant::HeldGrant;
use super::store;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// The most grants that are shown of one account; the newest.
const GRANTS_MAX: i64 = 200;

/// Every grant an account ever had, the newest first; look at each with [`super::Grant::standing`].
pub async fn grants_of(db: &mut PgConnection, account: AccountId) -> Result<Vec<HeldGrant>, Error> {
    store::grants(db, account, GRANTS_MAX).await
}

/// Whether a printed id is that of an application or a grant of this account.
pub async fn concerns(db: &mut PgConnection, account: AccountId, subject: &str) -> Result<bool, Error> {
    if let Ok(application) = subject.parse::<ApplicationId>() {
        return store::is_applicant(db, account, application).await;
    }
    match subject.parse::<GrantId>() {
        Ok(grant) => store::is_holder(db, account, grant).await,
        Err(_) => Ok(false),
    }
}

/// How much there is to see to: applications waiting, grants that hold.
pub async fn counts(db: &mut PgConnection, now: Timestamp) -> Result<Counts, Error> {
    Ok(Counts { applications_waiting: store::count_waiting(db).await?, grants_held: store::count_held(db, now).await? })
}

/// The same of one model.
pub async fn counts_of_model(db: &mut PgConnection, model: ModelId, now: Timestamp) -> Result<Counts, Error> {
    store::counts_of_model(db, model, now).await
}

/// See [`counts`].
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Applications that wait for a reviewer.
    pub applications_waiting: i64,
    /// Grants that hold now.
    pub grants_held: i64,
}
