//! Telling owners that an access token ends, some days before: each of them once, however often and after whatever pause this is run.

use time::Duration;

use super::store;
use crate::error::Error;
use crate::http::when;
use crate::mail::{self, Message};
use crate::portal::Portal;

/// So many days before the end its owner is told. A token that is not twice as long is not told of this: it was made to end soon.
pub const NOTICE_DAYS: [i16; 2] = [7, 1];

/// How many are told in one transaction.
const TOLD_AT_ONCE: i64 = 100;

/// Tells those who are due, and says whether more may be left. Of several notices that came due during a pause the most urgent is sent.
pub(super) async fn tell(portal: &Portal) -> Result<bool, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let due = store::claim_token_notices(&mut tx, &NOTICE_DAYS, now, TOLD_AT_ONCE).await?;
    for ending in &due {
        let owner = store::find(&mut tx, ending.account).await?;
        let message = Message::TokenEnds {
            to: owner.email.to_string(),
            name: owner.name,
            token: ending.name.clone(),
            left: when::span(ending.expires_at - now + Duration::HOUR),
            until: when::minute(ending.expires_at),
            tokens: portal.config.url_of("/account/tokens"),
        };
        mail::enqueue(&mut tx, now, &message).await?;
    }
    tx.commit().await?;
    Ok(due.len() as i64 == TOLD_AT_ONCE)
}
