//! The outbox as a file, streamed page by page. Whom, what about and what became of it; never a text.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use super::outbox::Search;
use crate::accounts::Admin;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::csv::{cell, moment};
use crate::http::table::Format;
use crate::mail::{self, Filter, Mail, State};
use crate::portal::Portal;

/// Mails fetched at once.
const PAGE_ROWS: i64 = 1_000;
/// The first line. Times are UTC; `said` is what a mail server said last.
const HEADER: &str = "id,written_at,kind,to,subject,state,tries,next_at,sent_at,given_up_at,bounced_at,said\r\n";

/// `GET /admin/mail.csv`
pub(super) async fn as_csv(portal: Data<Portal>, _: Admin, search: Query<Search>) -> Result<HttpResponse, Error> {
    Ok(streamed(portal, search.filter(), Format::Csv, HEADER, csv_line))
}

/// `GET /admin/mail.jsonl`
pub(super) async fn as_json_lines(portal: Data<Portal>, _: Admin, search: Query<Search>) -> Result<HttpResponse, Error> {
    Ok(streamed(portal, search.filter(), Format::JsonLines, "", json_line))
}

/// Every mail that `filter` lets through, newest first.
fn streamed(portal: Data<Portal>, filter: Filter, format: Format, first_line: &str, line: fn(&Mail) -> String) -> HttpResponse {
    format.streamed("mail", first_line.to_owned(), filter, move |filter| {
        let portal = portal.clone();
        async move {
            let mails = mail::page(&mut *portal.db.acquire().await?, &filter, PAGE_ROWS).await?;
            let last = mails.last().filter(|_| mails.len() as i64 == PAGE_ROWS);
            let next = last.map(|last| Filter { before: Some(last.id), ..filter });
            Ok((mails.iter().map(line).collect(), next))
        }
    })
}

fn csv_line(mail: &Mail) -> String {
    let at = |at: Option<Timestamp>| at.map(moment).unwrap_or_default();
    let cells = [
        mail.id.to_string(),
        moment(mail.created_at),
        cell(&mail.kind),
        cell(&mail.recipient),
        cell(&mail.subject),
        mail.state().as_str().to_owned(),
        mail.attempts.to_string(),
        at(next_of(mail)),
        at(mail.sent_at),
        at(mail.gave_up_at),
        at(mail.bounced_at),
        cell(said_of(mail).unwrap_or_default()),
    ];
    format!("{}\r\n", cells.join(","))
}

fn json_line(mail: &Mail) -> String {
    let at = |at: Option<Timestamp>| at.and_then(|at| at.format(&Rfc3339).ok());
    let line = json!({
        "id": mail.id, "written_at": at(Some(mail.created_at)), "kind": mail.kind, "to": mail.recipient, "subject": mail.subject,
        "state": mail.state().as_str(), "tries": mail.attempts, "next_at": at(next_of(mail)), "sent_at": at(mail.sent_at),
        "given_up_at": at(mail.gave_up_at), "bounced_at": at(mail.bounced_at), "said": said_of(mail),
    });
    format!("{line}\n")
}

fn next_of(mail: &Mail) -> Option<Timestamp> {
    (mail.state() == State::Waiting).then_some(mail.next_attempt_at)
}

fn said_of(mail: &Mail) -> Option<&str> {
    mail.bounce.as_deref().or(mail.last_error.as_deref())
}
