//! Blocks: who is kept from a model, or from all, until when and why.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::block::{self, Block};
use super::super::people::People;
use super::super::state_view::name_of;
use super::super::store;
use super::mine::Paging;
use crate::accounts::{self, Person, ReviewingProgram};
use crate::catalog;
use crate::error::{Error, FieldError};
use crate::http::api::{Body, Cut, Listed, Moment, NotDone, Nothing, Refused, answer, cursor, limit};
use crate::http::when;
use crate::ids::{AccountId, BlockId, ModelId};
use crate::portal::Portal;

/// A block.
#[derive(Serialize, ToSchema)]
pub(super) struct BlockLine {
    /// Its id.
    id: BlockId,
    /// Who is kept out; null once they are forgotten.
    person: Option<Person>,
    /// From which model: `org/name`; null for every model.
    model: Option<String>,
    /// Why, as the person reads it.
    reason: String,
    /// Who set it; null where it followed an address from an account that was erased.
    set_by: Option<String>,
    /// When.
    set_at: Moment,
    /// The first moment at which it does not stand any more.
    expires_at: Moment,
    /// When somebody lifted it before that; null unless it was.
    lifted_at: Option<Moment>,
    /// Whether it stands now.
    stands: bool,
}

/// To whom a block concerns, a reviewer is a reviewer.
async fn lines(portal: &Portal, blocks: &[Block], reader: AccountId) -> Result<Vec<BlockLine>, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let models = catalog::find_models(&mut db, &blocks.iter().filter_map(|block| block.model).collect::<Vec<ModelId>>()).await?;
    let ids: Vec<AccountId> = blocks.iter().flat_map(|block| [Some(block.account), block.set_by]).flatten().collect();
    let people = People(accounts::find_accounts(&mut db, &ids).await?);
    let line = |block: &Block| BlockLine {
        id: block.id,
        person: people.find(block.account).map(Person::from),
        model: block.model.map(|model| name_of(&models, model).0),
        reason: block.reason.clone(),
        set_by: block.set_by.map(|by| if block.account == reader { "A reviewer".into() } else { people.name(by) }),
        set_at: block.set_at.into(),
        expires_at: block.expires_at.into(),
        lifted_at: block.lifted_at.map(Moment),
        stands: block.stands(now),
    };
    Ok(blocks.iter().map(line).collect())
}

/// Blocks in force
///
/// Everybody's, the newest first.
#[utoipa::path(get, path = "/api/v1/admin/blocks", operation_id = "list_blocks", tag = "people", params(Paging),
    responses((status = 200, body = Listed<BlockLine>), Refused), security(("token" = ["review"])))]
pub(super) async fn in_force(
    portal: Data<Portal>,
    request: HttpRequest,
    ReviewingProgram(by): ReviewingProgram,
    asked: Query<Paging>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let (after, now) = (cursor(asked.cursor.as_deref())?, portal.clock.now());
    let mut blocks = store::blocks_after(&mut *portal.db.acquire().await?, None, Some(now), after, cut.rows()).await?;
    let next = cut.next(&mut blocks, |block| block.id);
    Ok(answer(&Listed { items: lines(&portal, &blocks, by.0.id).await?, next }))
}

/// Blocks of one person
///
/// All that there ever were, the newest first.
#[utoipa::path(get, path = "/api/v1/admin/people/{id}/blocks", operation_id = "list_blocks_of", tag = "people",
    params(("id" = String, Path, description = "The account's id, `acct_…`."), Paging),
    responses((status = 200, body = Listed<BlockLine>), Refused), security(("token" = ["review"])))]
pub(super) async fn of_person(
    portal: Data<Portal>,
    request: HttpRequest,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<AccountId>,
    asked: Query<Paging>,
) -> Result<HttpResponse, Error> {
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let after = cursor(asked.cursor.as_deref())?;
    let mut db = portal.db.acquire().await?;
    accounts::find_account(&mut db, *id).await?;
    let mut blocks = store::blocks_after(&mut db, Some(*id), None, after, cut.rows()).await?;
    drop(db);
    let next = cut.next(&mut blocks, |block| block.id);
    Ok(answer(&Listed { items: lines(&portal, &blocks, by.0.id).await?, next }))
}

/// What somebody is kept from.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "model": "sluice/opt-verse-6m", "until": "2026-12-31", "reason": "The weights were passed on." }))]
pub(super) struct NewBlock {
    /// From which model: `org/name`; from every model unless said.
    model: Option<String>,
    /// The last day on which it stands (UTC), three years away at most.
    until: String,
    /// Why, in a line or two, as the person reads it.
    reason: String,
}

/// Block somebody
///
/// From one model or from all. None of their grants for it holds and nothing can be applied for, from the next request on. They get a mail.
#[utoipa::path(post, path = "/api/v1/admin/people/{id}/blocks", operation_id = "block_person", tag = "people",
    params(("id" = String, Path, description = "The account's id.")), request_body = NewBlock,
    responses((status = 200, body = BlockLine), NotDone), security(("token" = ["review"])))]
pub(super) async fn set(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<AccountId>,
    Body(sent): Body<NewBlock>,
) -> Result<HttpResponse, Error> {
    let model = match &sent.model {
        Some(name) => {
            let (org, name) = name.split_once('/').unwrap_or((name, ""));
            let found = catalog::find_any_model(&mut *portal.db.acquire().await?, org, name).await?;
            Some(found.ok_or_else(|| FieldError::new("model", "is none of this portal's; it looks like lab/opt-125m"))?.id)
        }
        None => None,
    };
    let block = block::set(&portal, &by, *id, model, when::last_moment_of("until", &sent.until)?, &sent.reason).await?;
    told(&portal, &block, by.0.id).await
}

/// Lift a block
///
/// Before its end: what they had holds again. They get a mail.
#[utoipa::path(post, path = "/api/v1/admin/people/{id}/blocks/{block}/lift", operation_id = "lift_block", tag = "people",
    params(("id" = String, Path, description = "The account's id."), ("block" = String, Path, description = "The block's id, `block_…`.")),
    request_body = Nothing, responses((status = 200, body = BlockLine), NotDone), security(("token" = ["review"])))]
pub(super) async fn lift(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    ids: Path<(AccountId, BlockId)>,
    _: Body<Nothing>,
) -> Result<HttpResponse, Error> {
    let (account, id) = ids.into_inner();
    let lifted = block::lift(&portal, &by, account, id).await?;
    told(&portal, &lifted, by.0.id).await
}

async fn told(portal: &Portal, block: &Block, reader: AccountId) -> Result<HttpResponse, Error> {
    let mut lines = lines(portal, std::slice::from_ref(block), reader).await?;
    Ok(answer(&lines.pop().ok_or(Error::NotFound("block"))?))
}
