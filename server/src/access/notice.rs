//! Telling holders that their access ends, some days before, that it has ended, and that it will rest because they have not agreed to what
//! has changed: each of them once, however often and after whatever pause this is run.

use time::Duration;

use super::{renewal, store};
use crate::accounts;
use crate::catalog;
use crate::error::Error;
use crate::http::when;
use crate::mail::{self, Message};
use crate::portal::Portal;

/// So many days before the end its holder is told. A grant that is not twice as long is not told of this: it would hear of its end
/// before half of it has passed.
pub const NOTICE_DAYS: [i16; 4] = [60, 30, 7, 1];

/// An end that lies longer back is not told of any more: whoever is told would have noticed.
const ENDED_LATELY: Duration = Duration::days(7);

/// So many days before access rests for want of an agreement its holder is reminded, if they had twice as long to agree.
pub const REMINDED_DAYS: i32 = 3;

/// How many are told in one transaction.
const TOLD_AT_ONCE: i64 = 100;

/// Tells those who are due, and says whether more may be left. Of several notices that came due during a pause the most urgent is sent.
pub async fn tell(portal: &Portal) -> Result<bool, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let due = store::claim_notices(&mut tx, &NOTICE_DAYS, now, TOLD_AT_ONCE).await?;
    for held in &due {
        let model = catalog::find_model_by_id(&mut tx, held.model).await?;
        let holder = accounts::find_account(&mut tx, held.account).await?;
        let message = Message::AccessEnds {
            to: holder.email.to_string(),
            name: holder.name,
            model: model.full_name(),
            until: when::day(held.expires_at),
            left: when::span(held.expires_at - now + Duration::HOUR),
            link: portal.config.url_of(&format!("/grants/{}", held.grant)),
        };
        mail::enqueue(&mut tx, now, &message).await?;
    }
    let ended = store::claim_ended(&mut tx, now - ENDED_LATELY, now, TOLD_AT_ONCE).await?;
    for held in &ended {
        let model = catalog::find_model_by_id(&mut tx, held.model).await?;
        let holder = accounts::find_account(&mut tx, held.account).await?;
        let message = Message::AccessEnded {
            to: holder.email.to_string(),
            name: holder.name,
            model: model.full_name(),
            until: when::day(held.expires_at),
            days: renewal::AFTER_END.whole_days(),
            link: portal.config.url_of(&format!("/grants/{}", held.grant)),
        };
        mail::enqueue(&mut tx, now, &message).await?;
    }
    let to_agree = store::claim_consents_due(&mut tx, REMINDED_DAYS, now, TOLD_AT_ONCE).await?;
    for held in &to_agree {
        let model = catalog::find_model_by_id(&mut tx, held.model).await?;
        let holder = accounts::find_account(&mut tx, held.account).await?;
        let message = Message::ConsentDue {
            to: holder.email.to_string(),
            name: holder.name,
            model: model.full_name(),
            left: when::span(held.expires_at - now + Duration::HOUR),
            until: when::minute(held.expires_at),
            link: portal.config.url_of(&format!("/grants/{}/consent", held.grant)),
        };
        mail::enqueue(&mut tx, now, &message).await?;
    }
    tx.commit().await?;
    Ok([due, ended, to_agree].iter().any(|told| told.len() as i64 == TOLD_AT_ONCE))
}
