//! Sending a mail again that failed or came back.

use sqlx::PgConnection;

use super::store::{self, Mail, State};
use super::{Message, WORDS_LIFE};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::MailId;

/// Sends a mail again, and says which one leaves. One that failed is tried once more itself; one that came back stays as it is, and its
/// words leave as a new mail, so that what comes of the second is told apart. Errors: `Conflict` for one that has left and did not come
/// back, leaves in a moment, was sent again already, or has no words any more.
pub async fn send_again(db: &mut PgConnection, id: MailId, now: Timestamp) -> Result<MailId, Error> {
    let mail = store::find(db, id).await?;
    if mail.state() != State::Bounced {
        return store::retry(db, id, now).await.map(|()| id);
    }
    if let Some(why_not) = why_not_again(&mail) {
        return Err(why_not);
    }
    let fresh = MailId::fresh();
    if store::insert_again(db, fresh, id, now).await? {
        return Ok(fresh);
    }
    let before = store::find(db, id).await?.again_as.unwrap_or(id);
    let told = "this mail was sent again already; nothing was changed";
    Err(Error::Conflict(told.into()).mended_by(format!("/admin/mail/{before}"), "See what became of it"))
}

/// Why a mail that came back is not sent again; nothing where it can be.
pub fn why_not_again(mail: &Mail) -> Option<Error> {
    let person =
        || format!("/admin/people?q={}", percent_encoding::utf8_percent_encode(&mail.recipient, percent_encoding::NON_ALPHANUMERIC));
    if Message::carries_link(&mail.kind) {
        let told = "this mail carried a link that works once, and was not kept; its reader asks for another at /forgot, or signs up again";
        return Some(Error::Conflict(told.into()).mended_by(person(), "See whom it was for"));
    }
    if mail.body.is_none() {
        let told = format!("the words of this mail are gone, as all are after {} days; it is not sent again", WORDS_LIFE.whole_days());
        return Some(Error::Conflict(told.into()).mended_by(person(), "See whom it was for"));
    }
    None
}
