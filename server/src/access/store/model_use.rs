//! What the ledgers say about the use of a model, through a view over the rooms that keep them.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ModelId};

/// What somebody has had of a model.
pub struct ModelUse {
    pub files: i64,
    pub sent_bytes: i64,
    pub generations: i64,
    pub tokens: i64,
    pub last_at: Option<Timestamp>,
}

/// What an account has had of a model since a moment.
pub async fn used(db: &mut PgConnection, account: AccountId, model: ModelId, since: Timestamp) -> Result<ModelUse, Error> {
    let used = sqlx::query_as!(
        ModelUse,
        r#"select count(*) filter (where kind = 'download') as "files!",
                coalesce(sum(sent_bytes), 0)::bigint as "sent_bytes!",
                count(*) filter (where kind = 'generation') as "generations!",
                coalesce(sum(tokens), 0)::bigint as "tokens!",
                max(at) as last_at
         from model_use where account_id = $1 and model_id = $2 and at >= $3"#,
        account.uuid(),
        model.uuid(),
        since,
    )
    .fetch_one(db)
    .await?;
    Ok(used)
}
