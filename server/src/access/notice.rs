//! Telling holders that their access ends, some days before, that it has ended, and that it will rest because they have not agreed to what
//! has changed: each of them once, however often and after whatever pause this is run.

use sqlx::PgConnection;
use time::Duration;

use super::store::DueNotice;
use super::{renewal, store};
use crate::accounts;
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::when;
use crate::mail::{self, Message};
use crate::portal::Portal;

/// So many days before the end its holder is told. A grant that is not twice as long is not told of this: it would hear of its end
/// before half of it has passed. Where an end is chosen (`case.html`, `renewal.html`, `sluice grant add`) this is said.
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
    let page = |held: &DueNotice| portal.config.url_of(&format!("/grants/{}", held.grant));
    let left = |held: &DueNotice| when::span(held.expires_at - now + Duration::HOUR);
    let ending = store::claim_notices(&mut tx, &NOTICE_DAYS, now, TOLD_AT_ONCE).await?;
    let until = |held: &DueNotice| when::day(held.expires_at);
    tell_each(&mut tx, now, &ending, |to, name, model, held| Message::AccessEnds {
        to,
        name,
        model,
        until: until(held),
        left: left(held),
        link: page(held),
    })
    .await?;
    let ended = store::claim_ended(&mut tx, now - ENDED_LATELY, now, TOLD_AT_ONCE).await?;
    let days = renewal::AFTER_END.whole_days();
    tell_each(&mut tx, now, &ended, |to, name, model, held| Message::AccessEnded {
        to,
        name,
        model,
        until: until(held),
        days,
        link: page(held),
    })
    .await?;
    let to_agree = store::claim_consents_due(&mut tx, REMINDED_DAYS, now, TOLD_AT_ONCE).await?;
    tell_each(&mut tx, now, &to_agree, |to, name, model, held| Message::ConsentDue {
        to,
        name,
        model,
        left: left(held),
        until: when::minute(held.expires_at),
        link: format!("{}/consent", page(held)),
    })
    .await?;
    tx.commit().await?;
    Ok([ending, ended, to_agree].iter().any(|told| told.len() as i64 == TOLD_AT_ONCE))
}

/// Writes a mail to the holder of each grant, of the address, the name and the model.
async fn tell_each(
    tx: &mut PgConnection,
    now: Timestamp,
    due: &[DueNotice],
    message: impl Fn(String, String, String, &DueNotice) -> Message,
) -> Result<(), Error> {
    for held in due {
        let model = catalog::find_model_by_id(tx, held.model).await?;
        let holder = accounts::find_account(tx, held.account).await?;
        mail::enqueue(tx, now, &message(holder.email.to_string(), holder.name, model.full_name(), held)).await?;
    }
    Ok(())
}
