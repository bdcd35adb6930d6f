//! What the database keeps of generations: who, which release, how many tokens. Never the text.

use serde_json::Value;
use sqlx::PgConnection;
use time::Date;

use crate::access::Action;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, GenerationId, ModelId, ReleaseId};

/// Where a generation was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The playground's page.
    Page,
    /// The OpenAI interface.
    Api,
}

impl Source {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Page => "page",
            Source::Api => "api",
        }
    }
}

impl Source {
    /// What has to be allowed for it.
    pub(super) fn action(self) -> Action {
        match self {
            Source::Page => Action::Try,
            Source::Api => Action::Generate,
        }
    }
}

/// How a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The model ended the text, or a stop text came.
    Stop,
    /// The limit of tokens, or the end of the context.
    Length,
    /// The reader left.
    Cancelled,
    /// The engine could not go on.
    Failed,
    /// Access was taken back meanwhile.
    Revoked,
}

impl Ending {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Ending::Stop => "stop",
            Ending::Length => "length",
            Ending::Cancelled => "cancelled",
            Ending::Failed => "failed",
            Ending::Revoked => "revoked",
        }
    }
}

/// A generation about to begin.
pub(super) struct NewGeneration {
    pub(super) id: GenerationId,
    pub(super) account: AccountId,
    pub(super) model: ModelId,
    pub(super) release: ReleaseId,
    pub(super) source: Source,
    pub(super) prompt_tokens: i32,
    /// Of a trial: so many it may make.
    pub(super) reserved_tokens: i32,
    pub(super) now: Timestamp,
}

/// Notes that a generation begins.
pub(super) async fn insert(db: &mut PgConnection, new: &NewGeneration) -> Result<(), Error> {
    sqlx::query!(
        "insert into generation (id, account_id, model_id, release_id, via, prompt_tokens, reserved_tokens, started_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        new.id.uuid(),
        new.account.uuid(),
        new.model.uuid(),
        new.release.uuid(),
        new.source.as_str(),
        new.prompt_tokens,
        new.reserved_tokens,
        new.now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes how a generation ended and what it took.
pub(super) async fn settle(
    tx: &mut PgConnection,
    id: GenerationId,
    completion_tokens: i32,
    ending: Ending,
    now: Timestamp,
) -> Result<(), Error> {
    // However long somebody else has it locked: what was reserved would stay so.
    sqlx::query!("set local lock_timeout = 0").execute(&mut *tx).await?;
    sqlx::query!(
        "update generation set completion_tokens = $2, finish_reason = $3, finished_at = $4
         where id = $1 and finished_at is null",
        id.uuid(),
        completion_tokens,
        ending.as_str(),
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Closes what an earlier process left open when it was killed; to be called at start, before requests are taken. Says how many.
pub async fn close_interrupted(db: &mut PgConnection, now: Timestamp) -> Result<u64, Error> {
    let done = sqlx::query!("update generation set finish_reason = 'interrupted', finished_at = $1 where finished_at is null", now)
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

/// One generation, as the usage page shows it.
#[derive(Debug, Clone)]
pub struct Generated {
    /// Its id; newer ones sort behind older ones.
    pub id: GenerationId,
    /// Who asked.
    pub account: AccountId,
    /// Which model.
    pub model: ModelId,
    /// `page` or `api`.
    pub source: String,
    /// Tokens read.
    pub prompt_tokens: i32,
    /// Tokens made.
    pub completion_tokens: i32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; nothing while it runs.
    pub finished_at: Option<Timestamp>,
    /// `stop`, `length`, `cancelled`, `failed`, `revoked` or `interrupted`; nothing while it runs.
    pub finish_reason: Option<String>,
}

/// The newest `limit` generations before `before`, newest first.
pub async fn recent(db: &mut PgConnection, before: Option<GenerationId>, limit: i64) -> Result<Vec<Generated>, Error> {
    let rows = sqlx::query_as!(
        Generated,
        r#"select id as "id: GenerationId", account_id as "account: AccountId", model_id as "model: ModelId", via as source,
                prompt_tokens, completion_tokens, started_at, finished_at, finish_reason
         from generation
         where $1::uuid is null or id < $1
         order by id desc
         limit $2"#,
        before.map(GenerationId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Everything that is kept of an account's generations, from behind `after` on.
pub async fn rows_of(db: &mut PgConnection, account: AccountId, after: Option<GenerationId>, limit: i64) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query_scalar!(
        r#"select to_jsonb(g) as "row!" from generation g
         where account_id = $1 and ($2::uuid is null or id > $2)
         order by id
         limit $3"#,
        account.uuid(),
        after.map(GenerationId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// What was generated in a period.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its first day.
    pub period: Date,
    /// Generations.
    pub count: i64,
    /// Tokens read.
    pub prompt_tokens: i64,
    /// Tokens made.
    pub completion_tokens: i64,
}

/// What was generated from `from` on and before `until`, in periods of a `unit` that the database knows, of one model or of all.
pub async fn volumes(
    db: &mut PgConnection,
    unit: &str,
    from: Timestamp,
    until: Timestamp,
    model: Option<ModelId>,
) -> Result<Vec<Volume>, Error> {
    let rows = sqlx::query_as!(
        Volume,
        r#"select date_trunc($1, started_at at time zone 'UTC')::date as "period!", count(*) as "count!",
                sum(prompt_tokens)::bigint as "prompt_tokens!", sum(completion_tokens)::bigint as "completion_tokens!"
         from generation
         where started_at >= $2 and started_at < $3 and ($4::uuid is null or model_id = $4)
         group by 1"#,
        unit,
        from,
        until,
        model.map(ModelId::uuid),
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}
