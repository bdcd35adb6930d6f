//! People: who has an account, what they may do, and closing an account.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;
use url::form_urlencoded;

use crate::accounts::{self, Account, Admin, Role};
use crate::audit::{self, Event};
use crate::error::Error;
use crate::http::page::page;
use crate::http::{Form, Frame, filters, see_other};
use crate::ids::AccountId;
use crate::mail::{self, Message};
use crate::portal::Portal;

/// Accounts on one page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "admin/people.html")]
struct PeoplePage {
    frame: Frame,
    search: String,
    people: Vec<Account>,
    /// The addresses that the newest mail did not reach.
    unreachable: Vec<String>,
    roles: [Role; 3],
    own: AccountId,
    older: Option<String>,
    /// The same people as files: what stands behind their `?`.
    exports: String,
}

impl PeoplePage {
    fn is_unreachable(&self, person: &Account) -> bool {
        self.unreachable.iter().any(|address| address == person.email.as_str())
    }
}

#[derive(Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    q: String,
    before: Option<AccountId>,
}

impl Search {
    /// Part of a name or address.
    pub(super) fn words(&self) -> &str {
        self.q.trim()
    }
}

/// `GET /admin/people`
pub(super) async fn people(portal: Data<Portal>, frame: Frame, by: Admin, search: Query<Search>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let search = search.into_inner();
    let mut people = accounts::list_accounts(&mut db, search.words(), search.before, PAGE as i64 + 1).await?;
    let is_more = people.len() > PAGE;
    people.truncate(PAGE);
    let exports = form_urlencoded::Serializer::new(String::new()).append_pair("q", search.words()).finish();
    let older = people.last().filter(|_| is_more).map(|last| format!("/admin/people?{exports}&before={}", last.id));
    let addresses: Vec<String> = people.iter().map(|person| person.email.to_string()).collect();
    let unreachable = mail::unreachable(&mut db, &addresses).await?;
    page(&PeoplePage {
        frame,
        search: search.q,
        people,
        unreachable,
        roles: [Role::Researcher, Role::Reviewer, Role::Admin],
        own: by.0.id,
        older,
        exports,
    })
}

#[derive(Deserialize)]
pub(super) struct RoleForm {
    role: String,
}

/// `POST /admin/people/{id}/role`
pub(super) async fn role(portal: Data<Portal>, by: Admin, id: Path<AccountId>, Form(sent): Form<RoleForm>) -> Result<HttpResponse, Error> {
    let role: Role = sent.role.parse()?;
    let account = change_role(&portal, &by, *id, role).await?;
    Ok(see_other("/admin/people", Some(&format!("{} is now: {}.", account.email, role.as_str()))))
}

/// Changes what somebody may do. It holds from their next request on. Errors: `Conflict` for one's own role.
pub(super) async fn change_role(portal: &Portal, by: &Admin, id: AccountId, role: Role) -> Result<Account, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let account = other_account(&mut tx, by, id).await?;
    if account.role != role {
        accounts::set_role(&mut tx, id, role).await?;
        let event = Event::RoleChanged { account: id, role: role.as_str() };
        audit::record(&mut tx, now, Some(by.0.id), &event).await?;
        let start = match role {
            Role::Researcher => "/",
            Role::Reviewer => "/review",
            Role::Admin => "/admin",
        };
        let message = Message::RoleChanged {
            to: account.email.to_string(),
            name: account.name.clone(),
            role: role.as_str(),
            link: portal.config.url_of(start),
        };
        mail::enqueue(&mut tx, now, &message).await?;
    }
    tx.commit().await?;
    Ok(account)
}

/// `POST /admin/people/{id}/close`
pub(super) async fn close(
    portal: Data<Portal>,
    by: Admin,
    id: Path<AccountId>,
    _: Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let account = close_account(&portal, &by, *id).await?;
    let told = format!("The account of {} is closed: its sessions and tokens no longer work.", account.email);
    Ok(see_other("/admin/people", Some(&told)))
}

/// `POST /admin/people/{id}/reopen`
pub(super) async fn reopen(
    portal: Data<Portal>,
    by: Admin,
    id: Path<AccountId>,
    _: Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let account = reopen_account(&portal, &by, *id).await?;
    Ok(see_other("/admin/people", Some(&format!("The account of {} is open again.", account.email))))
}

/// Closes an account: its sessions and tokens do not count any more. One that is closed stays so. Errors: `Conflict` for one's own.
pub(super) async fn close_account(portal: &Portal, by: &Admin, id: AccountId) -> Result<Account, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let account = other_account(&mut tx, by, id).await?;
    if account.disabled_at.is_none() {
        accounts::set_disabled(&mut tx, id, Some(now)).await?;
        audit::record(&mut tx, now, Some(by.0.id), &Event::AccountClosed { account: id }).await?;
    }
    tx.commit().await?;
    Ok(account)
}

/// Opens an account again. Errors: `Conflict` for one's own.
pub(super) async fn reopen_account(portal: &Portal, by: &Admin, id: AccountId) -> Result<Account, Error> {
    let mut tx = portal.db.begin().await?;
    let account = other_account(&mut tx, by, id).await?;
    if account.disabled_at.is_some() {
        accounts::set_disabled(&mut tx, id, None).await?;
        audit::record(&mut tx, portal.clock.now(), Some(by.0.id), &Event::AccountReopened { account: id }).await?;
    }
    tx.commit().await?;
    Ok(account)
}

/// The account of somebody else, while `by` runs the portal and goes on doing so.
/// Invariant: an admin remains, because nobody changes their own account here and every change waits for the one before.
async fn other_account(tx: &mut PgConnection, by: &Admin, id: AccountId) -> Result<Account, Error> {
    if !accounts::lock_admins(tx).await?.contains(&by.0.id) {
        return Err(Error::NotFound("page"));
    }
    if id == by.0.id {
        let own = Error::Conflict("your own role and account are changed by another admin, so that one always remains".into());
        return Err(own.mended_by("/admin/people", "See who is an admin"));
    }
    let account = accounts::find_account(tx, id).await?;
    if account.is_erased() {
        return Err(
            Error::Conflict("this person was erased; the account no longer exists".into()).mended_by("/admin/people", "Go to the people")
        );
    }
    Ok(account)
}
