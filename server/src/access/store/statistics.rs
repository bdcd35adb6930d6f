//! What the database counts of applications and grants, period by period. Every question is answered by an index or by a narrow table.

use sqlx::PgConnection;
use time::Date;

use super::super::statistics::{Closed, Counted, Decided, GrantsMoved, Load, Span, Waited};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ModelId};

/// Applications sent for the first time.
pub async fn sent(db: &mut PgConnection, span: &Span) -> Result<Vec<Counted>, Error> {
    let rows = sqlx::query_as!(
        Counted,
        r#"select date_trunc($1, submitted_at at time zone 'UTC')::date as "period!", count(*) as "count!"
         from application
         where submitted_at >= $2 and submitted_at < $3 and ($4::uuid is null or model_id = $4)
         group by 1"#,
        span.unit.as_str(),
        span.from,
        span.until,
        span.model.map(ModelId::uuid),
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Applications closed, by how and why.
pub async fn closed(db: &mut PgConnection, span: &Span) -> Result<Vec<Closed>, Error> {
    let rows = sqlx::query_as!(
        Closed,
        r#"select date_trunc($1, closed_at at time zone 'UTC')::date as "period!", state, decline_code, count(*) as "count!"
         from application
         where closed_at >= $2 and closed_at < $3 and ($4::uuid is null or model_id = $4) and submitted_at is not null
         group by 1, state, decline_code"#,
        span.unit.as_str(),
        span.from,
        span.until,
        span.model.map(ModelId::uuid),
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// How long those that were decided had waited since they were sent.
pub async fn waited(db: &mut PgConnection, span: &Span) -> Result<Vec<Waited>, Error> {
    let rows = sqlx::query_as!(
        Waited,
        r#"select date_trunc($1, closed_at at time zone 'UTC')::date as "period!", count(*) as "decided!",
                percentile_cont(0.5) within group (order by extract(epoch from closed_at - submitted_at)::double precision) as "median_s!",
                percentile_cont(0.9) within group (order by extract(epoch from closed_at - submitted_at)::double precision) as "most_s!",
                count(*) filter (where closed_at <= due_at) as "in_time!"
         from application
         where closed_at >= $2 and closed_at < $3 and ($4::uuid is null or model_id = $4)
           and state in ('approved', 'declined') and submitted_at is not null
         group by 1"#,
        span.unit.as_str(),
        span.from,
        span.until,
        span.model.map(ModelId::uuid),
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// What each reviewer decided.
pub async fn decisions(db: &mut PgConnection, span: &Span) -> Result<Vec<Load>, Error> {
    let rows = sqlx::query_as!(
        Load,
        r#"select decided_by as "reviewer!: AccountId", count(*) filter (where state = 'approved') as "approved!",
                count(*) filter (where state = 'declined') as "declined!"
         from application
         where closed_at >= $1 and closed_at < $2 and ($3::uuid is null or model_id = $3) and decided_by is not null
         group by decided_by"#,
        span.from,
        span.until,
        span.model.map(ModelId::uuid),
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// How many cases each reviewer sees to now.
pub async fn cases_held(db: &mut PgConnection, model: Option<ModelId>) -> Result<Vec<(AccountId, i64)>, Error> {
    let rows = sqlx::query!(
        r#"select claimed_by as "reviewer!: AccountId", count(*) as "held!"
         from application
         where state = 'submitted' and claimed_by is not null and ($1::uuid is null or model_id = $1)
         group by claimed_by"#,
        model.map(ModelId::uuid),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.reviewer, row.held)).collect())
}

/// Grants that began and ended, the earlier ones in the period before `span` begins.
pub async fn grants_moved(db: &mut PgConnection, span: &Span) -> Result<Vec<GrantsMoved>, Error> {
    let rows = sqlx::query_as!(
        GrantsMoved,
        r#"select greatest(date_trunc($1, moved.at at time zone 'UTC'), $2::timestamptz at time zone 'UTC' - interval '1 day')::date as "period!",
                sum(moved.by)::bigint as "by!"
         from (
             select granted_at as at, 1 as by from access_grant where $4::uuid is null or model_id = $4
             union all
             select least(expires_at, revoked_at), -1 from access_grant where $4::uuid is null or model_id = $4) as moved
         where moved.at < $3
         group by 1"#,
        span.unit.as_str(),
        span.from,
        span.until,
        span.model.map(ModelId::uuid),
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// For every model and month: what was decided, how, and after how long. For the page that everybody may read.
pub async fn decided_by_model(db: &mut PgConnection, from: Timestamp, until: Timestamp) -> Result<Vec<Decided>, Error> {
    let rows = sqlx::query_as!(
        Decided,
        r#"select model_id as "model: ModelId", date_trunc('month', closed_at at time zone 'UTC')::date as "month!",
                count(*) as "decided!", count(*) filter (where state = 'approved') as "approved!",
                count(*) filter (where closed_at <= due_at) as "in_time!",
                percentile_cont(0.5) within group (order by extract(epoch from closed_at - submitted_at)::double precision) as "median_s!",
                percentile_cont(0.9) within group (order by extract(epoch from closed_at - submitted_at)::double precision) as "most_s!"
         from application
         where closed_at >= $1 and closed_at < $2 and state in ('approved', 'declined') and submitted_at is not null
         group by 1, 2"#,
        from,
        until,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// For every model and month: how often it was declined for which reason.
pub async fn declined_by_model(
    db: &mut PgConnection,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<(ModelId, Date, String, i64)>, Error> {
    let rows = sqlx::query!(
        r#"select model_id as "model: ModelId", date_trunc('month', closed_at at time zone 'UTC')::date as "month!",
                decline_code as "code!", count(*) as "count!"
         from application
         where closed_at >= $1 and closed_at < $2 and state = 'declined' and submitted_at is not null
         group by 1, 2, 3"#,
        from,
        until,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.model, row.month, row.code, row.count)).collect())
}
