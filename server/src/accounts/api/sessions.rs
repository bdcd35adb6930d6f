//! Where one is signed in with a browser.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::program::ApplyingProgram;
use super::super::session::SESSION_IDLE;
use super::super::sign_in::{self, Ending};
use super::super::store;
use crate::error::Error;
use crate::http::api::{Listed, Moment, NotDone, Refused, answer};
use crate::ids::SessionId;
use crate::portal::Portal;

/// A browser that is signed in.
#[derive(Serialize, ToSchema)]
struct SessionLine {
    /// Its id.
    id: SessionId,
    /// What the browser called itself.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")]
    browser: String,
    /// When it signed in.
    began_at: Moment,
    /// When it was used last, to a few minutes.
    last_seen_at: Moment,
}

/// My sessions
///
/// The browsers that are signed in, the latest used first, on one page.
#[utoipa::path(get, path = "/api/v1/sessions", operation_id = "list_sessions", tag = "account",
    responses((status = 200, body = Listed<SessionLine>), Refused), security(("token" = ["apply"])))]
pub async fn sessions(portal: Data<Portal>, by: ApplyingProgram) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let sessions = store::sessions(&mut *portal.db.acquire().await?, by.0.id, now, now - SESSION_IDLE).await?;
    let line = |session: store::Session| SessionLine {
        id: session.id,
        browser: session.user_agent,
        began_at: session.created_at.into(),
        last_seen_at: session.last_seen_at.into(),
    };
    Ok(answer(&Listed { items: sessions.into_iter().map(line).collect(), next: None }))
}

/// End a session of mine
///
/// The browser is signed out at its next request.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", operation_id = "end_session", tag = "account",
    params(("id" = String, Path, description = "The session's id, `sess_…`.")),
    responses((status = 204, description = "Ended."), NotDone), security(("token" = ["apply"])))]
pub async fn end_session(portal: Data<Portal>, by: ApplyingProgram, id: Path<SessionId>) -> Result<HttpResponse, Error> {
    sign_in::end_session(&portal, by.0.id, Ending::One(*id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// End all my sessions
///
/// Every browser is signed out. Tokens go on.
#[utoipa::path(delete, path = "/api/v1/sessions", operation_id = "end_all_sessions", tag = "account",
    responses((status = 204, description = "Ended."), NotDone), security(("token" = ["apply"])))]
pub async fn end_sessions(portal: Data<Portal>, by: ApplyingProgram) -> Result<HttpResponse, Error> {
    sign_in::end_session(&portal, by.0.id, Ending::All).await?;
    Ok(HttpResponse::NoContent().finish())
}
