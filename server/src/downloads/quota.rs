//! How much of its day's bytes and places somebody has left. Load alone refuses nobody: who has every place taken waits a little for
//! one, and is sent away with the time to come back only then. A day's bytes are a quota: used up is used up, till midnight.

use std::time::Duration;

use actix_web::HttpRequest;
use sqlx::PgConnection;

use super::instead::Instead;
use super::store;
use crate::accounts::Visitor;
use crate::catalog::human_bytes;
use crate::error::Error;
use crate::http::allowance::{Allowance, Pass, Spent, Standing};
use crate::http::limits::client_address;
use crate::ids::AccountId;
use crate::portal::Portal;

/// How long a transfer waits for a place, and how often it looks. Clients give up on a first byte that takes ten seconds.
const PLACE_WAIT: Duration = Duration::from_secs(6);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Whose bytes these are, as they are counted: an account's, or of an address without one, which has places alone.
#[derive(Debug, Clone)]
pub(super) struct Share {
    allowance: Allowance,
    key: String,
}

impl Share {
    /// The share that a request takes from; what its account was sent today is looked up once a day.
    pub(super) async fn of(db: &mut PgConnection, portal: &Portal, visitor: &Visitor, request: &HttpRequest) -> Result<Self, Error> {
        match visitor.account_id() {
            Some(account) => Self::of_account(db, portal, account).await,
            None => {
                let key = client_address(request, &portal.config.trusted_proxies);
                Ok(Self { allowance: portal.limits.nameless_downloads.clone(), key })
            }
        }
    }

    async fn of_account(db: &mut PgConnection, portal: &Portal, account: AccountId) -> Result<Self, Error> {
        let (allowance, key, now) = (portal.limits.downloads.clone(), account.to_string(), portal.clock.now());
        if allowance.has_to_recall(&key, now) {
            let sent_bytes = store::sent_on(db, account, now.date()).await?;
            allowance.recall(&key, now, u64::try_from(sent_bytes).unwrap_or(0));
        }
        Ok(Self { allowance, key })
    }

    /// How it stands.
    pub(super) fn standing(&self, portal: &Portal) -> Standing {
        self.allowance.standing(&self.key, portal.clock.now())
    }

    /// Refuses whoever has nothing left for today: HEAD and GET alike, so that no client takes a refusal for a file.
    pub(super) fn check_day(&self, portal: &Portal) -> Result<(), Instead> {
        let standing = self.standing(portal);
        if standing.left_bytes() == Some(0) { Err(refused(&standing, Spent::Day)) } else { Ok(()) }
    }

    /// A place for a transfer of so many bytes, once there is one.
    pub(super) async fn enter(&self, portal: &Portal, bytes: u64) -> Result<Pass, Instead> {
        let mut waited = Duration::ZERO;
        loop {
            match self.allowance.enter(&self.key, portal.clock.now(), bytes) {
                Ok(pass) => return Ok(pass),
                Err(Spent::Places) if waited < PLACE_WAIT => {
                    tokio::time::sleep(LOOK_EVERY).await;
                    waited += LOOK_EVERY;
                }
                Err(spent) => return Err(refused(&self.standing(portal), spent)),
            }
        }
    }
}

/// How an account stands today.
pub(super) async fn standing(db: &mut PgConnection, portal: &Portal, account: AccountId) -> Result<Standing, Error> {
    Ok(Share::of_account(db, portal, account).await?.standing(portal))
}

fn refused(standing: &Standing, spent: Spent) -> Instead {
    let why = match spent {
        Spent::Day => format!(
            "You have downloaded {} today, which is all that an account may have in a day. More from 00:00 UTC on.",
            human_bytes(standing.bytes_a_day.unwrap_or_default())
        ),
        Spent::Places => {
            format!("{} downloads of yours are running, as many as may at once. Try again when one has ended.", standing.running)
        }
    };
    Instead::limited(standing, spent, why)
}
