//! The overview: where to look, and how much there is.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;

use crate::access::{self, Counts};
use crate::accounts::{self, Admin};
use crate::error::Error;
use crate::http::Frame;
use crate::http::page::page;
use crate::portal::Portal;
use crate::{catalog, mail};

/// More models than this are counted as "this many".
const MODELS_COUNTED_MAX: i64 = 10_000;

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct OverviewPage {
    frame: Frame,
    people: i64,
    models: usize,
    counts: Counts,
    mails: mail::Counts,
    mail_is_in_trouble: bool,
}

/// `GET /admin`
pub(super) async fn overview(portal: Data<Portal>, frame: Frame, _: Admin) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    page(&OverviewPage {
        frame,
        people: accounts::count_accounts(&mut db).await?,
        models: catalog::list_all_models(&mut db, MODELS_COUNTED_MAX).await?.len(),
        counts: access::counts(&mut db, portal.clock.now()).await?,
        mails: mail::counts(&mut db, portal.clock.now()).await?,
        mail_is_in_trouble: portal.mailer.trouble().is_some(),
    })
}
