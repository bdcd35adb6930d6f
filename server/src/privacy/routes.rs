//! The pages of the room: what is kept of me, and forget me.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Data, ServiceConfig, get, post};
use askama::Template;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;

use super::archive::Archive;
use super::erase::{Asker, erase};
use crate::accounts::{self, Account, ApplyingProgram, SignedIn};
use crate::error::{Error, FieldError};
use crate::http::api::Refused;
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, filters, see_other};
use crate::ids::AccountId;
use crate::portal::Portal;

/// The room's part of the document.
#[derive(utoipa::OpenApi)]
#[openapi(paths(archive_for_program))]
pub struct Operations;

/// Every URL of this room.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/account/data", get().to(data))
        .route("/account/data.json", get().to(archive))
        .route("/api/v1/me/data", get().to(archive_for_program))
        .route("/account/erase", get().to(erase_page))
        .route("/account/erase", post().to(erase_me));
}

#[derive(Template)]
#[template(path = "privacy/data.html")]
struct DataPage {
    frame: Frame,
}

/// `GET /account/data`
async fn data(frame: Frame, _: SignedIn) -> Result<HttpResponse, Error> {
    page(&DataPage { frame })
}

/// `GET /account/data.json`
async fn archive(portal: Data<Portal>, who: SignedIn) -> HttpResponse {
    download(portal, who.account.id)
}

/// Everything that is kept of me
///
/// One JSON document, streamed: the account, sessions, tokens, applications, grants, downloads, generations, mails and the record, as they are
/// kept. Secrets are left out.
#[utoipa::path(get, path = "/api/v1/me/data", operation_id = "get_my_data", tag = "account",
    responses((status = 200, body = Object), Refused), security(("token" = ["apply"])))]
pub(super) async fn archive_for_program(portal: Data<Portal>, by: ApplyingProgram) -> HttpResponse {
    download(portal, by.0.id)
}

/// The archive of `account`, streamed.
fn download(portal: Data<Portal>, account: AccountId) -> HttpResponse {
    let parts = stream::try_unfold((portal, Archive::of(account)), |(portal, mut archive)| async move {
        let part = archive.next(&portal).await?;
        Ok::<_, Error>(part.map(|part| (Bytes::from(format!("{part}\n")), (portal, archive))))
    });
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"my-data.json\""))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(parts)
}

#[derive(Template)]
#[template(path = "privacy/erase.html")]
struct ErasePage {
    frame: Frame,
    account: Account,
    understood: bool,
    faults: Vec<FieldError>,
}

/// `GET /account/erase`
async fn erase_page(frame: Frame, who: SignedIn) -> Result<HttpResponse, Error> {
    page(&ErasePage { frame, account: who.account, understood: false, faults: vec![] })
}

#[derive(Deserialize)]
struct EraseForm {
    #[serde(default)]
    password: String,
    understood: Option<String>,
}

/// `POST /account/erase`
async fn erase_me(portal: Data<Portal>, frame: Frame, who: SignedIn, Form(sent): Form<EraseForm>) -> Result<HttpResponse, Error> {
    let understood = sent.understood.is_some();
    let confirmed = match sent.understood {
        Some(_) => accounts::confirm_password(&portal, &who, sent.password).await,
        None => Err(FieldError::new("understood", "tick this, because it cannot be undone").into()),
    };
    match confirmed {
        Ok(()) => {
            erase(&portal, who.account.id, Asker::Themselves).await?;
            Ok(see_other("/", Some("Your account has been erased. Thank you for using Sluice.")))
        }
        Err(Error::Invalid(faults)) => page_with_faults(&ErasePage { frame, account: who.account, understood, faults }),
        Err(other) => Err(other),
    }
}
