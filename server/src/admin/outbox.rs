//! The outbox: which mails wait, left, or failed and why.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;

use crate::accounts::Admin;
use crate::error::Error;
use crate::http::page::page;
use crate::http::{Form, Frame, filters, see_other, when};
use crate::ids::MailId;
use crate::mail::{self, Mail};
use crate::portal::Portal;

/// Mails on one page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "admin/mails.html")]
struct MailsPage {
    frame: Frame,
    keeps_mails: bool,
    mails: Vec<MailView>,
    older: Option<MailId>,
}

struct MailView {
    mail: Mail,
    word: &'static str,
    class: &'static str,
    told: String,
    may_retry: bool,
}

impl From<Mail> for MailView {
    fn from(mail: Mail) -> Self {
        let tries = if mail.attempts == 1 { "1 try".to_owned() } else { format!("{} tries", mail.attempts) };
        let (word, class, told) = match (mail.sent_at, mail.gave_up_at) {
            (Some(at), _) => ("Sent", "ok", when::minute(at)),
            (None, Some(at)) => ("Given up", "bad", format!("{} after {tries}", when::minute(at))),
            (None, None) if mail.attempts == 0 && mail.next_attempt_at > mail.created_at => {
                ("Held", "info", format!("until {}, and can be taken back", when::minute(mail.next_attempt_at)))
            }
            (None, None) if mail.attempts == 0 => ("Waiting", "info", "to be sent in a moment".into()),
            (None, None) => ("Retrying", "warn", format!("{tries} so far, next on {}", when::minute(mail.next_attempt_at))),
        };
        let may_retry = mail.sent_at.is_none() && mail.attempts > 0;
        Self { mail, word, class, told, may_retry }
    }
}

#[derive(Deserialize)]
pub(super) struct Paging {
    before: Option<MailId>,
}

/// `GET /admin/mail`
pub(super) async fn mails(portal: Data<Portal>, frame: Frame, _: Admin, paging: Query<Paging>) -> Result<HttpResponse, Error> {
    let mut mails = mail::page(&mut *portal.db.acquire().await?, paging.before, PAGE as i64 + 1).await?;
    let is_more = mails.len() > PAGE;
    mails.truncate(PAGE);
    page(&MailsPage {
        frame,
        keeps_mails: portal.mailer.keeps_mails(),
        older: mails.last().filter(|_| is_more).map(|last| last.id),
        mails: mails.into_iter().map(MailView::from).collect(),
    })
}

#[derive(Template)]
#[template(path = "admin/mail.html")]
struct MailPage {
    frame: Frame,
    view: MailView,
    /// The text, only where mails stay in the house: one that goes to a server may carry a link that is its reader's alone.
    body: Option<String>,
}

/// `GET /admin/mail/{id}`
pub(super) async fn mail(portal: Data<Portal>, frame: Frame, _: Admin, id: Path<MailId>) -> Result<HttpResponse, Error> {
    let mail = mail::find(&mut *portal.db.acquire().await?, *id).await?;
    let body = mail.body.clone().filter(|_| portal.mailer.keeps_mails());
    page(&MailPage { frame, view: mail.into(), body })
}

/// `POST /admin/mail/{id}/retry`
pub(super) async fn retry(portal: Data<Portal>, _: Admin, id: Path<MailId>, _: Form<Vec<(String, String)>>) -> Result<HttpResponse, Error> {
    mail::retry(&mut *portal.db.acquire().await?, *id, portal.clock.now()).await?;
    Ok(see_other("/admin/mail", Some("The mail will be tried again in a moment.")))
}
