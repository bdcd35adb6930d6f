//! What the database keeps of blocks.

use sqlx::PgConnection;

use super::super::block::Block;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, BlockId, ModelId};

/// Adds a block.
pub async fn insert_block(tx: &mut PgConnection, block: &Block) -> Result<(), Error> {
    sqlx::query!(
        "insert into block (id, account_id, model_id, reason, set_by, set_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        block.id.uuid(),
        block.account.uuid(),
        block.model.map(ModelId::uuid),
        block.reason,
        block.set_by.map(AccountId::uuid),
        block.set_at,
        block.expires_at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Every block there ever was against an account, the newest first.
pub async fn blocks(db: &mut PgConnection, account: AccountId) -> Result<Vec<Block>, Error> {
    let blocks = sqlx::query_as!(
        Block,
        r#"select id as "id: BlockId", account_id as "account: AccountId", model_id as "model: ModelId", reason,
                set_by as "set_by: AccountId", set_at, expires_at, lifted_at
         from block where account_id = $1
         order by set_at desc, id desc"#,
        account.uuid(),
    )
    .fetch_all(db)
    .await?;
    Ok(blocks)
}

/// Blocks of whoever is meant, of everybody unless said; with `standing_at`, those alone that stand at that moment. The newest first, from
/// behind `after` on.
pub async fn blocks_after(
    db: &mut PgConnection,
    account: Option<AccountId>,
    standing_at: Option<Timestamp>,
    after: Option<BlockId>,
    limit: i64,
) -> Result<Vec<Block>, Error> {
    let blocks = sqlx::query_as!(
        Block,
        r#"select id as "id: BlockId", account_id as "account: AccountId", model_id as "model: ModelId", reason,
                set_by as "set_by: AccountId", set_at, expires_at, lifted_at
         from block
         where ($1::uuid is null or account_id = $1)
           and ($2::timestamptz is null or (lifted_at is null and expires_at > $2))
           and ($3::uuid is null or id < $3)
         order by id desc
         limit $4"#,
        account.map(AccountId::uuid),
        standing_at,
        after.map(BlockId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(blocks)
}

/// The block `id`, locked until the end of the transaction.
pub async fn lock_block(tx: &mut PgConnection, id: BlockId) -> Result<Block, Error> {
    let block = sqlx::query_as!(
        Block,
        r#"select id as "id: BlockId", account_id as "account: AccountId", model_id as "model: ModelId", reason,
                set_by as "set_by: AccountId", set_at, expires_at, lifted_at
         from block where id = $1
         for update"#,
        id.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    block.ok_or(Error::NotFound("block"))
}

/// Ends a block before its time.
pub async fn lift_block(tx: &mut PgConnection, id: BlockId, by: AccountId, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("update block set lifted_at = $2, lifted_by = $3 where id = $1", id.uuid(), now, by.uuid()).execute(tx).await?;
    Ok(())
}
