//! One's own tokens and sessions as files.

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::super::session::{SESSION_IDLE, SignedIn};
use super::super::{Token, store};
use crate::error::Error;
use crate::http::table::{Cell, Format};
use crate::portal::Portal;

/// `GET /account/tokens.{ending}`: everything but their secrets.
pub async fn tokens(portal: Data<Portal>, who: SignedIn, format: Format) -> Result<HttpResponse, Error> {
    let tokens = store::tokens(&mut *portal.db.acquire().await?, who.account.id).await?;
    let cells = |token: Token| {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        vec![
            Cell::text(token.id),
            Cell::text(token.name),
            Cell::text(token.hint),
            Cell::text(scopes.join(" ")),
            Cell::at(token.created_at),
            Cell::at(token.last_used_at),
            Cell::at(token.expires_at),
            Cell::maybe(token.made_with),
        ]
    };
    let rows: Vec<_> = tokens.into_iter().map(cells).collect();
    let keys = ["id", "name", "ends_with", "scopes", "created_at", "last_used_at", "expires_at", "made_with"];
    Ok(format.whole("my-tokens", &keys, &rows))
}

/// `GET /account/sessions.{ending}`
pub async fn sessions(portal: Data<Portal>, who: SignedIn, format: Format) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let sessions = store::sessions(&mut *portal.db.acquire().await?, who.account.id, now, now - SESSION_IDLE).await?;
    let cells = |session: store::Session| {
        let browser = Cell::text(session.user_agent);
        vec![Cell::text(session.id), browser, Cell::at(session.created_at), Cell::at(session.last_seen_at)]
    };
    let rows: Vec<_> = sessions.into_iter().map(cells).collect();
    Ok(format.whole("my-sessions", &["id", "browser", "signed_in_at", "last_seen_at"], &rows))
}
