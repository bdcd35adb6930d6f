//! The outbox: which mails wait, left, or failed and why.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::accounts::AdministeringProgram;
use crate::error::{Error, FieldError};
use crate::http::api::{Body, Cut, Listed, Moment, NotDone, Nothing, Refused, answer, cursor, limit};
use crate::ids::MailId;
use crate::mail::{self, Filter, Mail, State};
use crate::portal::Portal;

/// What stands behind the `?` of the mails.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Only those that are `waiting`, `given_up`, `bounced` or `sent`.
    state: Option<String>,
    /// Only those to addresses that begin so.
    to: Option<String>,
    /// 1 to 200 items a page; 50 unless said.
    limit: Option<i64>,
    /// From the address of the page before.
    cursor: Option<String>,
}

/// A mail, without its text: that may carry a link that is its reader's alone.
#[derive(Serialize, ToSchema)]
struct MailLine {
    /// Its id.
    id: MailId,
    /// Which of our mails it is.
    kind: String,
    /// To whom.
    recipient: String,
    /// Its subject.
    subject: String,
    /// `waiting`, `given_up`, `bounced` or `sent`.
    state: &'static str,
    /// When it was written.
    created_at: Moment,
    /// When it is tried next, or was.
    next_attempt_at: Moment,
    /// How often it was tried.
    attempts: i32,
    /// When it left.
    sent_at: Option<Moment>,
    /// What the mail server said last.
    last_error: Option<String>,
    /// When it came back.
    bounced_at: Option<Moment>,
    /// What the far server said then.
    bounce: Option<String>,
    /// The mail that came back and is sent again by this one.
    again_of: Option<MailId>,
    /// The mail that sends this one again, which came back.
    again_as: Option<MailId>,
}

impl From<Mail> for MailLine {
    fn from(mail: Mail) -> Self {
        let state = mail.state().as_str();
        Self {
            id: mail.id,
            kind: mail.kind,
            recipient: mail.recipient,
            subject: mail.subject,
            state,
            created_at: mail.created_at.into(),
            next_attempt_at: mail.next_attempt_at.into(),
            attempts: mail.attempts,
            sent_at: mail.sent_at.map(Moment),
            last_error: mail.last_error,
            bounced_at: mail.bounced_at.map(Moment),
            bounce: mail.bounce,
            again_of: mail.again_of,
            again_as: mail.again_as,
        }
    }
}

/// Mails
///
/// The outbox, the newest first.
#[utoipa::path(get, path = "/api/v1/admin/mails", operation_id = "list_mails", tag = "admin", params(Paging),
    responses((status = 200, body = Listed<MailLine>), Refused), security(("token" = ["admin"])))]
pub(super) async fn mails(
    portal: Data<Portal>,
    request: HttpRequest,
    _: AdministeringProgram,
    asked: Query<Paging>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let named = |name: &str| State::ALL.into_iter().find(|state| state.as_str() == name);
    let state = match asked.state.as_deref() {
        Some(name) => Some(named(name).ok_or_else(|| FieldError::new("state", "is waiting, given_up, bounced or sent"))?),
        None => None,
    };
    let recipient = asked.to.as_deref().unwrap_or_default().trim().replace('\0', "").to_lowercase();
    let filter = Filter { state, recipient, before: cursor(asked.cursor.as_deref())? };
    let mut mails = mail::page(&mut *portal.db.acquire().await?, &filter, cut.rows()).await?;
    let next = cut.next(&mut mails, |last| last.id);
    Ok(answer(&Listed { items: mails.into_iter().map(MailLine::from).collect(), next }))
}

/// A mail with all that is kept of it.
#[derive(Serialize, ToSchema)]
struct MailWhole {
    /// All but its text.
    mail: MailLine,
    /// Its text, where the portal sends no mails but keeps them; null else, and for a mail with a link that lets its reader in, which is
    /// theirs alone: `sluice user link` makes one.
    text: Option<String>,
}

/// A mail
#[utoipa::path(get, path = "/api/v1/admin/mails/{id}", operation_id = "get_mail", tag = "admin",
    params(("id" = String, Path, description = "The mail's id, `mail_…`.")),
    responses((status = 200, body = MailWhole), Refused), security(("token" = ["admin"])))]
pub(super) async fn one(portal: Data<Portal>, _: AdministeringProgram, id: Path<MailId>) -> Result<HttpResponse, Error> {
    let mail = mail::find(&mut *portal.db.acquire().await?, *id).await?;
    let text = mail.body.clone().filter(|_| portal.mailer.keeps_mails() && !mail.has_key());
    Ok(answer(&MailWhole { mail: mail.into(), text }))
}

/// Send a mail again
///
/// One that failed is tried in a moment. One that came back stays as it is: its words leave as another mail, which is answered, unless they
/// are gone, or carried a link that works once.
#[utoipa::path(post, path = "/api/v1/admin/mails/{id}/retry", operation_id = "retry_mail", tag = "admin",
    params(("id" = String, Path, description = "The mail's id, `mail_…`.")), request_body = Nothing,
    responses((status = 200, body = MailLine), NotDone), security(("token" = ["admin"])))]
pub(super) async fn retry(
    portal: Data<Portal>,
    _: AdministeringProgram,
    id: Path<MailId>,
    _: Body<Nothing>,
) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let again = mail::send_again(&mut db, *id, portal.clock.now()).await?;
    Ok(answer(&MailLine::from(mail::find(&mut db, again).await?)))
}

/// How many.
#[derive(Serialize, ToSchema)]
struct Retried {
    /// Mails that are tried again, one after the other.
    #[schema(example = 3)]
    mails: u64,
}

/// Send all failed mails again
///
/// Those that were given up and those that wait for another try.
#[utoipa::path(post, path = "/api/v1/admin/mails/retry", operation_id = "retry_all_mails", tag = "admin", request_body = Nothing,
    responses((status = 200, body = Retried), NotDone), security(("token" = ["admin"])))]
pub(super) async fn retry_all(portal: Data<Portal>, _: AdministeringProgram, _: Body<Nothing>) -> Result<HttpResponse, Error> {
    let mails = mail::retry_all(&mut *portal.db.acquire().await?, portal.clock.now()).await?;
    Ok(answer(&Retried { mails }))
}
