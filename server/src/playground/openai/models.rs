//! `GET /v1/models`: the models the token's owner may use.

use serde_json::{Value, json};

use super::super::usable::{self, Usable};
use crate::access::{self, Action, Verdict, authorize};
use crate::accounts::{Via, Visitor};
use crate::catalog::{self, Model};
use crate::error::Error;
use crate::portal::Portal;

/// The visitor, if they showed a token that is somebody's. Cookies count for nothing on these routes. Asked before anything is read of
/// what they sent. Errors: `SignedOut`, or what is wrong with the token.
pub(super) fn by_token(visitor: Visitor) -> Result<Visitor, Error> {
    match &visitor {
        Visitor::Known { via: Via::Token { .. }, .. } => Ok(visitor),
        Visitor::BadToken => Err(access::bad_token().into()),
        Visitor::Anonymous | Visitor::Known { via: Via::Session(_), .. } => Err(Error::SignedOut),
    }
}

/// The models the visitor may use. Errors: what is wrong with the token, if it opens none at all because of itself.
pub(super) async fn list(portal: &Portal, visitor: &Visitor) -> Result<Vec<Model>, Error> {
    let Usable { models, refused, .. } = usable::models(portal, visitor, Action::Generate).await?;
    match refused.into_iter().find(|(_, refusal)| refusal.code.starts_with("token_")) {
        Some((_, about_the_token)) => Err(about_the_token.into()),
        None => Ok(models),
    }
}

/// One model that the visitor may use.
pub(super) async fn find(portal: &Portal, visitor: &Visitor, org: &str, name: &str) -> Result<Model, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model(&mut db, org, name).await?.ok_or(Error::NotFound("model"))?;
    match authorize(&mut db, visitor, &model, Action::Generate, portal.clock.now()).await? {
        Verdict::Allowed(_) => Ok(model),
        Verdict::Refused(refusal) => Err(refusal.into()),
    }
}

/// A model as the interface shows it.
pub(super) fn object(model: &Model) -> Value {
    json!({ "id": model.full_name(), "object": "model", "created": model.created_at.unix_timestamp(), "owned_by": model.org })
}
