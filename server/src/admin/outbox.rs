//! The outbox: which mails wait, left, came back or failed and why; and sending those again that failed or came back.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;
use url::form_urlencoded;

use crate::accounts::{self, Admin, Email, Role};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::page::page;
use crate::http::{Form, Frame, filters, see_other, when};
use crate::ids::MailId;
use crate::mail::{self, Counts, Filter, Mail, State};
use crate::portal::Portal;

/// Mails on one page.
const PAGE: usize = 50;

/// What the page is asked for. A state that is none filters nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Search {
    state: String,
    q: String,
    before: Option<MailId>,
}

impl Search {
    fn state(&self) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == self.state)
    }

    /// The mails meant.
    pub(super) fn filter(&self) -> Filter {
        Filter { state: self.state(), recipient: self.q.trim().replace('\0', "").to_lowercase(), before: self.before }
    }

    /// What stands behind `?` for the mails of another state, or from a place on.
    fn query(&self, state: &str, before: Option<MailId>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([("state", state), ("q", self.q.trim())].iter().filter(|(_, value)| !value.is_empty()));
        query.extend_pairs(before.map(|before| ("before", before.to_string())));
        query.finish()
    }
}

#[derive(Template)]
#[template(path = "admin/mails.html")]
struct MailsPage {
    frame: Frame,
    keeps_mails: bool,
    trouble: Option<TroubleView>,
    search: Search,
    choices: Vec<Choice>,
    mails: Vec<MailView>,
    /// Why there are none.
    empty: &'static str,
    /// Whether mails have failed that can be tried again, here or behind another filter.
    may_retry_all: bool,
    older: Option<String>,
    /// The same mails as files: what stands behind their `?`.
    exports: String,
}

/// What is wrong with the mail server.
struct TroubleView {
    text: String,
    since: String,
}

/// One of the states to choose from.
struct Choice {
    name: &'static str,
    href: String,
    count: Option<i64>,
    is_current: bool,
}

struct MailView {
    mail: Mail,
    word: &'static str,
    class: &'static str,
    told: String,
    /// What a mail server said.
    said: Option<String>,
    may_retry: bool,
    /// Whether it came back and can be sent again, as another mail.
    may_send_again: bool,
    /// Why it came back and is not sent again.
    why_not: Option<String>,
}

impl MailView {
    fn new(mail: Mail, now: Timestamp) -> Self {
        let tries = if mail.attempts == 1 { "1 try".to_owned() } else { format!("{} tries", mail.attempts) };
        let (word, class, told) = match (mail.bounced_at, mail.sent_at, mail.gave_up_at) {
            (Some(at), _, _) => ("Bounced", "bad", format!("came back, told on {}", when::minute(at))),
            (None, Some(at), _) => ("Sent", "ok", when::minute(at)),
            (None, None, Some(at)) => ("Given up", "bad", format!("{} after {tries}", when::minute(at))),
            (None, None, None) if mail.last_error.is_some() => {
                ("Retrying", "warn", format!("{tries} so far, next on {}", when::minute(mail.next_attempt_at)))
            }
            (None, None, None) if mail.attempts > 0 => ("Waiting", "info", "is being sent".into()),
            (None, None, None) if mail.next_attempt_at > now => {
                ("Held", "info", format!("until {}, and can be taken back", when::minute(mail.next_attempt_at)))
            }
            (None, None, None) => ("Waiting", "info", "to be sent in a moment".into()),
        };
        let may_retry = mail.sent_at.is_none() && mail.last_error.is_some() && mail.body.is_some();
        let is_open = mail.bounced_at.is_some() && mail.again_as.is_none();
        let why_not = mail::why_not_again(&mail).filter(|_| is_open).map(|why_not| why_not.to_string());
        let may_send_again = is_open && why_not.is_none();
        let said = mail.bounce.clone().or(mail.last_error.clone());
        Self { mail, word, class, told, said, may_retry, may_send_again, why_not }
    }
}

/// `GET /admin/mail`
pub(super) async fn mails(portal: Data<Portal>, frame: Frame, _: Admin, search: Query<Search>) -> Result<HttpResponse, Error> {
    let search = search.into_inner();
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let mut mails = mail::page(&mut db, &search.filter(), PAGE as i64 + 1).await?;
    let is_more = mails.len() > PAGE;
    mails.truncate(PAGE);
    let counts = mail::counts(&mut db, now).await?;
    let mails: Vec<MailView> = mails.into_iter().map(|mail| MailView::new(mail, now)).collect();
    let trouble = portal.mailer.trouble().map(|trouble| TroubleView { text: trouble.text, since: when::minute(trouble.since) });
    page(&MailsPage {
        frame,
        keeps_mails: portal.mailer.keeps_mails(),
        may_retry_all: counts.given_up > 0 || mails.iter().any(|view| view.may_retry),
        trouble,
        choices: choices(&search, &counts),
        empty: empty(&search),
        older: mails.last().filter(|_| is_more).map(|last| format!("/admin/mail?{}", search.query(&search.state, Some(last.mail.id)))),
        exports: search.query(&search.state, None),
        mails,
        search,
    })
}

fn choices(search: &Search, counts: &Counts) -> Vec<Choice> {
    let choice = |name, state: Option<State>, count| Choice {
        name,
        href: format!("/admin/mail?{}", search.query(state.map_or("", State::as_str), None)),
        count,
        is_current: search.state() == state,
    };
    vec![
        choice("All", None, None),
        choice("Waiting", Some(State::Waiting), Some(counts.waiting)),
        choice("Given up", Some(State::GivenUp), Some(counts.given_up)),
        choice("Bounced", Some(State::Bounced), Some(counts.bounced)),
        choice("Sent", Some(State::Sent), None),
    ]
}

fn empty(search: &Search) -> &'static str {
    match (search.q.trim().is_empty(), search.state()) {
        (false, _) => "No such mail to an address that begins so.",
        (true, None) => "No mail was written yet.",
        (true, Some(State::Waiting)) => "No mail waits: all have left.",
        (true, Some(State::GivenUp)) => "No mail was given up.",
        (true, Some(State::Bounced)) => "No mail came back.",
        (true, Some(State::Sent)) => "No mail has left yet.",
    }
}

#[derive(Template)]
#[template(path = "admin/mail.html")]
struct MailPage {
    frame: Frame,
    view: MailView,
    /// The text, only where mails stay in the house: one that goes to a server may carry a link that is its reader's alone.
    body: Option<String>,
    /// Whether the key of such a link is left out.
    hides_key: bool,
    /// Whether it had its words, and lost them to time.
    is_old: bool,
}

/// `GET /admin/mail/{id}`
pub(super) async fn mail(portal: Data<Portal>, frame: Frame, _: Admin, id: Path<MailId>) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let mail = mail::find(&mut db, *id).await?;
    let hides_key = mail.has_key() && !is_only_way_in(&mut db, &mail).await?;
    let words = if hides_key { mail.without_keys() } else { mail.body.clone() };
    let body = words.filter(|_| portal.mailer.keeps_mails());
    let ended_at = mail.bounced_at.or(mail.sent_at).or(mail.gave_up_at);
    let is_old = mail.body.is_none() && ended_at.is_some_and(|at| at < now - mail::WORDS_LIFE);
    page(&MailPage { frame, view: MailView::new(mail, now), body, hides_key, is_old })
}

/// Whether nobody but an admin who reads the outbox can bring its reader in: a researcher who has never been here and proves the address.
/// Any other link would let whoever reads it act as somebody who is.
async fn is_only_way_in(db: &mut PgConnection, mail: &Mail) -> Result<bool, Error> {
    let Ok(address) = Email::parse(&mail.recipient) else { return Ok(false) };
    let reader = accounts::find_by_email(db, &address).await?;
    Ok(reader.is_some_and(|reader| reader.email_verified_at.is_none() && reader.role == Role::Researcher))
}

/// `POST /admin/mail/{id}/retry`
pub(super) async fn retry(portal: Data<Portal>, _: Admin, id: Path<MailId>, _: Form<Vec<(String, String)>>) -> Result<HttpResponse, Error> {
    let again = mail::send_again(&mut *portal.db.acquire().await?, *id, portal.clock.now()).await?;
    if again == *id {
        return Ok(see_other("/admin/mail", Some("The mail will be tried again in a moment.")));
    }
    Ok(see_other(
        &format!("/admin/mail/{again}"),
        Some("The mail leaves again in a moment, as this one. The one that came back stays in sight."),
    ))
}

/// `POST /admin/mail/retry`: every mail that has failed.
pub(super) async fn retry_all(portal: Data<Portal>, _: Admin, _: Form<Vec<(String, String)>>) -> Result<HttpResponse, Error> {
    let told = match mail::retry_all(&mut *portal.db.acquire().await?, portal.clock.now()).await? {
        0 => "No mail has failed; there is nothing to try again.".to_owned(),
        1 => "One mail will be tried again in a moment.".to_owned(),
        count => format!("{count} mails will be tried again, one after the other."),
    };
    Ok(see_other("/admin/mail?state=waiting", Some(&told)))
}
