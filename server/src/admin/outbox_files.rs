//! The outbox as a file. Whom, what about and what became of it; never a text.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};

use super::outbox::Search;
use crate::accounts::Admin;
use crate::http::table::{Cell, FILE_ROWS, Format, behind};
use crate::ids::MailId;
use crate::mail::{self, Filter, Mail, State};
use crate::portal::Portal;

/// `said` is what a mail server said last.
const KEYS: &[&str] =
    &["id", "written_at", "kind", "to", "subject", "state", "tries", "next_at", "sent_at", "given_up_at", "bounced_at", "said"];

/// `GET /admin/mail.{ending}`: every mail that the search lets through, newest first.
pub(super) async fn file(portal: Data<Portal>, _: Admin, format: Format, search: Query<Search>) -> HttpResponse {
    let filter = search.filter();
    format.streamed("mail", KEYS, move |before: Option<MailId>| {
        let (portal, filter) = (portal.clone(), Filter { before: before.or(filter.before), ..filter.clone() });
        async move {
            let mails = mail::page(&mut *portal.db.acquire().await?, &filter, FILE_ROWS).await?;
            Ok((mails.iter().map(cells).collect(), behind(&mails, FILE_ROWS, |last| last.id)))
        }
    })
}

fn cells(mail: &Mail) -> Vec<Cell> {
    let next_at = (mail.state() == State::Waiting).then_some(mail.next_attempt_at);
    vec![
        Cell::text(mail.id),
        Cell::at(mail.created_at),
        Cell::text(&mail.kind),
        Cell::text(&mail.recipient),
        Cell::text(&mail.subject),
        Cell::text(mail.state().as_str()),
        Cell::Count(mail.attempts.into()),
        Cell::at(next_at),
        Cell::at(mail.sent_at),
        Cell::at(mail.gave_up_at),
        Cell::at(mail.bounced_at),
        Cell::maybe(mail.bounce.as_deref().or(mail.last_error.as_deref())),
    ]
}
