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
    mails_waiting: i64,
    mails_given_up: i64,
}

/// `GET /admin`
pub(super) async fn overview(portal: Data<Portal>, frame: Frame, _: Admin) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let (mails_waiting, mails_given_up) = mail::counts(&mut db).await?;
    page(&OverviewPage {
        frame,
        people: accounts::count_accounts(&mut db).await?,
        models: catalog::list_all_models(&mut db, MODELS_COUNTED_MAX).await?.len(),
        counts: access::counts(&mut db, portal.clock.now()).await?,
        mails_waiting,
        mails_given_up,
    })
}
