//! What the database keeps of downloads.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::PgConnection;
use time::Date;

use super::filter::{Filter, Totals};
use super::ledger::{Before, Download, Key, Tally};
use super::send::Names;
use crate::access::Grant;
use crate::accounts::TokenHolder;
use crate::catalog::{Model, Release, ReleaseFile};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, DownloadId, GrantId, ModelId, ReleaseId, TokenId};

/// A token that works, a file that is on offer, and the grant that might join them.
pub(super) struct Everything {
    pub holder: TokenHolder,
    pub model: Model,
    pub grant: Option<Grant>,
    pub release: Release,
    pub file: ReleaseFile,
}

/// What there is of a token and a file, both spelled exactly; nothing if the token does not work or the file is not on offer.
pub(super) async fn permitted_file(
    db: &mut PgConnection,
    token: &[u8; 32],
    names: &Names,
    now: Timestamp,
) -> Result<Option<Everything>, Error> {
    let row = sqlx::query!(
        r#"select token_id as "token_id!: TokenId", token_name as "token_name!", scopes as "scopes!", token_created_at as "token_created_at!",
                token_expires_at as "token_expires_at!", last_used_at,
                account_id as "account_id!: AccountId", email as "email!", account_name as "account_name!", role as "role!",
                email_verified_at, account_created_at as "account_created_at!",
                model_id as "model_id!: ModelId", gate as "gate!", licence_sha256, summary as "summary!", model_created_at as "model_created_at!",
                grant_id as "grant_id: GrantId", granted_at, grant_expires_at, grant_scopes, blocked_until, consent_due_at,
                release_id as "release_id!: ReleaseId", notes as "notes!", config_json, published_at as "published_at!",
                is_lfs as "is_lfs!", size_bytes as "size_bytes!", sha256 as "sha256!", blake3 as "blake3!", git_sha1
         from permitted_file
         where secret_hash = $1 and token_expires_at > $2 and lower(org) = lower($3) and lower(model_name) = lower($4)
           and org = $3 and model_name = $4 and revision = $5 and path = $6"#,
        token.as_slice(),
        now,
        names.org,
        names.name,
        names.revision,
        names.path,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Everything {
        holder: TokenHolder {
            token: row.token_id,
            token_name: row.token_name,
            scopes: row.scopes,
            token_created_at: row.token_created_at,
            token_expires_at: row.token_expires_at,
            last_used_at: row.last_used_at,
            account: row.account_id,
            email: row.email,
            name: row.account_name,
            role: row.role,
            email_verified_at: row.email_verified_at,
            created_at: row.account_created_at,
        },
        grant: row.grant_id.zip(row.granted_at).zip(row.grant_expires_at).map(|((id, granted_at), expires_at)| Grant {
            blocked_until: row.blocked_until,
            consent_due_at: row.consent_due_at,
            ..Grant::unstopped(id, &row.grant_scopes.unwrap_or_default(), granted_at, expires_at)
        }),
        model: Model {
            id: row.model_id,
            org: names.org.clone(),
            name: names.name.clone(),
            gate: row.gate.parse().expect("model_gate_ck allows only known gates"),
            licence_sha256: row.licence_sha256,
            summary: row.summary,
            created_at: row.model_created_at,
        },
        release: Release {
            id: row.release_id,
            model_id: row.model_id,
            revision: names.revision.clone(),
            notes: row.notes,
            config_json: row.config_json,
            published_at: row.published_at,
            yanked_at: None,
            yank_reason: None,
        },
        file: ReleaseFile {
            path: names.path.clone(),
            size_bytes: row.size_bytes,
            sha256: row.sha256,
            blake3: row.blake3,
            git_sha1: row.git_sha1.unwrap_or_default(),
            is_lfs: row.is_lfs,
        },
    }))
}

/// Adds a tally to the row of its account, file and day. A row is complete once as many bytes left as the file has:
/// for a client that asks for each byte once, in however many ranges, that is when it has them all. One that begins again
/// from the start is called complete too early, and never too late.
pub(super) async fn add(tx: &mut PgConnection, key: &Key, tally: &Tally) -> Result<(), Error> {
    sqlx::query!(
        "insert into download (id, account_id, model_id, model_name, release_id, revision, path, day, size_bytes,
                               sent_bytes, requests, started_at, last_at, completed_at, client)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9::bigint, $10::bigint, $11, $12, $13::timestamptz, case when $10::bigint >= $9::bigint then $13::timestamptz end, $14)
         on conflict (account_id, release_id, path, day) do update
         set sent_bytes = download.sent_bytes + excluded.sent_bytes,
             requests = download.requests + excluded.requests,
             last_at = greatest(download.last_at, excluded.last_at),
             completed_at = coalesce(download.completed_at,
                 case when download.sent_bytes + excluded.sent_bytes >= download.size_bytes then excluded.last_at end),
             client = excluded.client",
        DownloadId::fresh().uuid(),
        key.account.map(AccountId::uuid),
        tally.model.uuid(),
        tally.model_name,
        key.release.uuid(),
        tally.revision,
        key.path,
        key.day,
        tally.size_bytes,
        tally.sent_bytes,
        tally.requests,
        tally.started_at,
        tally.last_at,
        tally.client,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The latest downloads that `filter` lets through, newest first, from before `before` if given.
pub async fn page(db: &mut PgConnection, filter: &Filter, before: Option<Before>, limit: i64) -> Result<Vec<Download>, Error> {
    let accounts = filter.accounts.as_ref().map(|accounts| accounts.iter().map(|account| account.uuid()).collect::<Vec<_>>());
    let rows = sqlx::query_as!(
        Download,
        r#"select id as "id: DownloadId", account_id as "account: AccountId", model_name, revision, path, size_bytes, sent_bytes, requests,
                started_at, last_at, completed_at, client
         from download
         where ($1::uuid[] is null or account_id = any($1))
           and ($2 = '' or strpos(lower(model_name), lower($2)) > 0)
           and ($3::boolean is null or (completed_at is not null) = $3)
           and ($4::date is null or day >= $4)
           and ($5::date is null or day <= $5)
           and ($6::timestamptz is null or (last_at, id) < ($6, $7))
         order by last_at desc, id desc
         limit $8"#,
        accounts.as_deref(),
        filter.model,
        filter.complete,
        filter.from,
        filter.to,
        before.map(|before| before.at),
        before.map(|before| before.id.uuid()),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// What the downloads that `filter` lets through are together.
pub async fn totals(db: &mut PgConnection, filter: &Filter) -> Result<Totals, Error> {
    let accounts = filter.accounts.as_ref().map(|accounts| accounts.iter().map(|account| account.uuid()).collect::<Vec<_>>());
    let totals = sqlx::query_as!(
        Totals,
        r#"select count(*) as "rows!", count(completed_at) as "complete!", coalesce(sum(sent_bytes), 0)::bigint as "sent_bytes!",
                count(distinct account_id) as "accounts!"
         from download
         where ($1::uuid[] is null or account_id = any($1))
           and ($2 = '' or strpos(lower(model_name), lower($2)) > 0)
           and ($3::boolean is null or (completed_at is not null) = $3)
           and ($4::date is null or day >= $4)
           and ($5::date is null or day <= $5)"#,
        accounts.as_deref(),
        filter.model,
        filter.complete,
        filter.from,
        filter.to,
    )
    .fetch_one(db)
    .await?;
    Ok(totals)
}

/// The bytes that an account was sent on one day (UTC).
pub(super) async fn sent_on(db: &mut PgConnection, account: AccountId, day: Date) -> Result<i64, Error> {
    let sent = sqlx::query_scalar!(
        r#"select coalesce(sum(sent_bytes), 0)::bigint as "sent!" from download where account_id = $1 and day = $2"#,
        account.uuid(),
        day,
    )
    .fetch_one(db)
    .await?;
    Ok(sent)
}

/// For each of `models`, how often it was downloaded since `day`: as on the Hub, its `config.json` stands for the whole.
/// A model nobody fetched is not in the answer.
pub(super) async fn counts(db: &mut PgConnection, models: &[ModelId], day: Date) -> Result<HashMap<ModelId, i64>, Error> {
    let models: Vec<_> = models.iter().map(|model| model.uuid()).collect();
    let rows = sqlx::query!(
        r#"select model_id as "model: ModelId", count(*) as "count!"
         from download
         where model_id = any($1) and path = 'config.json' and day >= $2
         group by model_id"#,
        &models,
        day,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.model, row.count)).collect())
}

/// The moment since which downloads are counted for listings.
pub(super) fn counted_since(now: Timestamp) -> Date {
    (now - time::Duration::days(30)).date()
}

/// Who fetched anything of a release and has not been told that it was yanked.
pub(super) async fn untold(db: &mut PgConnection, release: ReleaseId) -> Result<Vec<AccountId>, Error> {
    let accounts = sqlx::query_scalar!(
        r#"select distinct d.account_id as "account!: AccountId"
         from download d
         where d.release_id = $1 and d.account_id is not null
           and not exists (select 1 from yank_notice n where n.release_id = $1 and n.account_id = d.account_id)"#,
        release.uuid(),
    )
    .fetch_all(db)
    .await?;
    Ok(accounts)
}

/// Notes that these accounts were told.
pub(super) async fn note_told(tx: &mut PgConnection, release: ReleaseId, accounts: &[AccountId], now: Timestamp) -> Result<(), Error> {
    let accounts: Vec<_> = accounts.iter().map(|account| account.uuid()).collect();
    sqlx::query!(
        "insert into yank_notice (release_id, account_id, told_at) select $1, account, $3 from unnest($2::uuid[]) as a (account)
         on conflict do nothing",
        release.uuid(),
        &accounts,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets who was told, and says who that was.
pub(super) async fn forget_told(tx: &mut PgConnection, release: ReleaseId) -> Result<Vec<AccountId>, Error> {
    let accounts = sqlx::query_scalar!(
        r#"delete from yank_notice where release_id = $1 returning account_id as "account: AccountId""#,
        release.uuid()
    )
    .fetch_all(tx)
    .await?;
    Ok(accounts)
}

/// Who fetched anything of another release of the model, and nothing of this one.
pub(super) async fn have_another(db: &mut PgConnection, model: ModelId, release: ReleaseId) -> Result<Vec<AccountId>, Error> {
    let accounts = sqlx::query_scalar!(
        r#"select distinct d.account_id as "account!: AccountId"
         from download d
         where d.model_id = $1 and d.release_id <> $2 and d.account_id is not null
           and not exists (select from download this where this.release_id = $2 and this.account_id = d.account_id)"#,
        model.uuid(),
        release.uuid(),
    )
    .fetch_all(db)
    .await?;
    Ok(accounts)
}

/// How many accounts fetched anything of a release.
pub(super) async fn fetched_by(db: &mut PgConnection, release: ReleaseId) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(r#"select count(distinct account_id) as "count!" from download where release_id = $1"#, release.uuid())
        .fetch_one(db)
        .await?;
    Ok(count)
}

/// Everything that is kept of an account's downloads, from behind `after` on.
pub async fn rows_of(db: &mut PgConnection, account: AccountId, after: Option<DownloadId>, limit: i64) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query_scalar!(
        r#"select to_jsonb(d) as "row!" from download d
         where account_id = $1 and ($2::uuid is null or id > $2)
         order by id
         limit $3"#,
        account.uuid(),
        after.map(DownloadId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Forgets with which programs an account downloaded.
pub async fn forget(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    sqlx::query!("update download set client = '' where account_id = $1 and client <> ''", account.uuid()).execute(tx).await?;
    Ok(())
}

/// What was sent in a period.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its first day.
    pub period: Date,
    /// Files: one for each person, release and day.
    pub files: i64,
    /// Of these, sent whole.
    pub complete: i64,
    /// Bytes.
    pub bytes: i64,
}

/// What was sent from `from` on and before `until`, in periods of a `unit` that the database knows, of one model or of all.
pub async fn volumes(db: &mut PgConnection, unit: &str, from: Date, until: Date, model: Option<ModelId>) -> Result<Vec<Volume>, Error> {
    let rows = sqlx::query_as!(
        Volume,
        r#"select date_trunc($1, day::timestamp)::date as "period!", count(*) as "files!", count(completed_at) as "complete!",
                sum(sent_bytes)::bigint as "bytes!"
         from download
         where day >= $2 and day < $3 and ($4::uuid is null or model_id = $4)
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
