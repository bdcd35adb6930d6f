//! Erasing a person who asks for it and cannot do it themselves.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;

use crate::accounts::{self, Account, Admin};
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, filters, see_other};
use crate::ids::AccountId;
use crate::portal::Portal;
use crate::privacy::{self, Asker};

#[derive(Template)]
#[template(path = "admin/erasure.html")]
struct ErasurePage {
    frame: Frame,
    person: Account,
    faults: Vec<FieldError>,
}

/// `GET /admin/people/{id}/erase`
pub(super) async fn erase_page(portal: Data<Portal>, frame: Frame, by: Admin, id: Path<AccountId>) -> Result<HttpResponse, Error> {
    page(&ErasurePage { frame, person: somebody_else(&portal, &by, *id).await?, faults: vec![] })
}

#[derive(Deserialize)]
pub(super) struct EraseForm {
    #[serde(default)]
    email: String,
}

/// `POST /admin/people/{id}/erase`
pub(super) async fn erase(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    id: Path<AccountId>,
    Form(sent): Form<EraseForm>,
) -> Result<HttpResponse, Error> {
    match erase_person(&portal, &by, *id, &sent.email).await {
        Ok(()) => Ok(see_other("/admin/people", Some("Erased. A pseudonym takes this person's place."))),
        Err(Error::Invalid(faults)) => page_with_faults(&ErasurePage { frame, person: somebody_else(&portal, &by, *id).await?, faults }),
        Err(other) => Err(other),
    }
}

/// Erases somebody else, whose address is typed so that it is nobody else. Errors: `Invalid` for another address, and as [`privacy::erase`].
pub(super) async fn erase_person(portal: &Portal, by: &Admin, id: AccountId, email: &str) -> Result<(), Error> {
    let person = somebody_else(portal, by, id).await?;
    if !person.email.as_str().eq_ignore_ascii_case(email.trim()) {
        return Err(FieldError::new("email", "this is not the address of this account").into());
    }
    privacy::erase(portal, id, Asker::Admin(by.0.id)).await?;
    Ok(())
}

/// An account that can be erased here. Errors: `Conflict` for one's own, and for one that was erased.
async fn somebody_else(portal: &Portal, by: &Admin, id: AccountId) -> Result<Account, Error> {
    if id == by.0.id {
        let own = Error::Conflict("your own account is erased under My data, with your password".into());
        return Err(own.mended_by("/account/erase", "Erase your own account"));
    }
    let person = accounts::find_account(&mut *portal.db.acquire().await?, id).await?;
    if person.is_erased() {
        return Err(Error::Conflict("this person was erased already".into()).mended_by("/admin/people", "Go to the people"));
    }
    Ok(person)
}
