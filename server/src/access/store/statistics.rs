//! What the database counts of applications and grants, period by period. Every question is answered by an index or by a narrow table.

use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::Date;

use super::super::statistics::{Closed, Counted, Decided, GrantsMoved, Load, Span, Statistics, Waited};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ModelId};

time::serde::format_description!(day, Date, "[year]-[month]-[day]");

#[derive(Debug, Deserialize)]
struct CountedJson {
    #[serde(with = "day")]
    period: Date,
    count: i64,
}

#[derive(Debug, Deserialize)]
struct ClosedJson {
    #[serde(with = "day")]
    period: Date,
    state: String,
    decline_code: Option<String>,
    count: i64,
}

#[derive(Debug, Deserialize)]
struct WaitedJson {
    #[serde(with = "day")]
    period: Date,
    decided: i64,
    median_s: f64,
    most_s: f64,
    in_time: i64,
}

#[derive(Debug, Deserialize)]
struct LoadJson {
    reviewer: uuid::Uuid,
    approved: i64,
    declined: i64,
}

#[derive(Debug, Deserialize)]
struct HeldJson {
    reviewer: uuid::Uuid,
    cases: i64,
}

#[derive(Debug, Deserialize)]
struct MovedJson {
    #[serde(with = "day")]
    period: Date,
    by: i64,
}

/// All that is counted of one span, declines that were appealed among the decisions, in one statement, so that all of it is of one moment.
/// Grants that began or ended earlier are in the period before the span.
pub async fn statistics(db: &mut PgConnection, span: &Span) -> Result<Statistics, Error> {
    let row = sqlx::query!(
        r#"with sent as (
             select date_trunc($1, submitted_at at time zone 'UTC')::date as period, count(*) as count
             from application
             where submitted_at >= $2 and submitted_at < $3 and ($4::uuid is null or model_id = $4)
             group by 1),
         appealed as (
             select coalesce(appealed_decline_at, appealed_at) as declined_at, appeal_against as declined_by,
                (select c.fields[1] from application_comment c
                 where c.application_id = application.id and c.kind = 'decline' order by c.id desc limit 1) as decline_code
             from application
             where appealed_at is not null and coalesce(appealed_decline_at, appealed_at) >= $2
               and coalesce(appealed_decline_at, appealed_at) < $3 and ($4::uuid is null or model_id = $4)),
         closed as (
             select date_trunc($1, closed_at at time zone 'UTC')::date as period, state, decline_code, count(*) as count
             from application
             where closed_at >= $2 and closed_at < $3 and ($4::uuid is null or model_id = $4) and submitted_at is not null
             group by 1, state, decline_code
             union all
             select date_trunc($1, declined_at at time zone 'UTC')::date, 'declined', decline_code, count(*) from appealed group by 1, decline_code),
         waited as (
             select date_trunc($1, closed_at at time zone 'UTC')::date as period, count(*) as decided,
                percentile_cont(0.5) within group (order by extract(epoch from closed_at - submitted_at)::double precision) as median_s,
                percentile_cont(0.9) within group (order by extract(epoch from closed_at - submitted_at)::double precision) as most_s,
                count(*) filter (where closed_at <= due_at) as in_time
             from application
             where closed_at >= $2 and closed_at < $3 and ($4::uuid is null or model_id = $4)
               and state in ('approved', 'declined') and submitted_at is not null
             group by 1),
         decisions as (
             select reviewer, count(*) filter (where state = 'approved') as approved, count(*) filter (where state = 'declined') as declined
             from (
                 select decided_by as reviewer, state from application
                 where closed_at >= $2 and closed_at < $3 and ($4::uuid is null or model_id = $4) and decided_by is not null
                 union all
                 select declined_by, 'declined' from appealed) made
             group by reviewer),
         held as (
             select claimed_by as reviewer, count(*) as cases
             from application
             where state = 'submitted' and claimed_by is not null and ($4::uuid is null or model_id = $4)
             group by claimed_by),
         moved as (
             select greatest(date_trunc($1, each.at at time zone 'UTC'), $2::timestamptz at time zone 'UTC' - interval '1 day')::date as period,
                sum(each.by)::bigint as by
             from (
                 select granted_at as at, 1 as by from access_grant where $4::uuid is null or model_id = $4
                 union all
                 select least(expires_at, revoked_at), -1 from access_grant where $4::uuid is null or model_id = $4) as each
             where each.at < $3
             group by 1)
         select coalesce((select jsonb_agg(sent) from sent), '[]') as "sent!: Json<Vec<CountedJson>>",
             coalesce((select jsonb_agg(closed) from closed), '[]') as "closed!: Json<Vec<ClosedJson>>",
             coalesce((select jsonb_agg(waited) from waited), '[]') as "waited!: Json<Vec<WaitedJson>>",
             coalesce((select jsonb_agg(decisions) from decisions), '[]') as "decisions!: Json<Vec<LoadJson>>",
             coalesce((select jsonb_agg(held) from held), '[]') as "held!: Json<Vec<HeldJson>>",
             coalesce((select jsonb_agg(moved) from moved), '[]') as "moved!: Json<Vec<MovedJson>>""#,
        span.unit.as_str(),
        span.from,
        span.until,
        span.model.map(ModelId::uuid),
    )
    .fetch_one(db)
    .await?;
    let sent = row.sent.0.into_iter().map(|json| Counted { period: json.period, count: json.count });
    let closed = row.closed.0.into_iter().map(|json| Closed {
        period: json.period,
        state: json.state,
        decline_code: json.decline_code,
        count: json.count,
    });
    let waited = row.waited.0.into_iter().map(|json| Waited {
        period: json.period,
        decided: json.decided,
        median_s: json.median_s,
        most_s: json.most_s,
        in_time: json.in_time,
    });
    let decisions = row.decisions.0.into_iter().map(|json| Load {
        reviewer: AccountId::from(json.reviewer),
        approved: json.approved,
        declined: json.declined,
    });
    Ok(Statistics {
        sent: sent.collect(),
        closed: closed.collect(),
        waited: waited.collect(),
        decisions: decisions.collect(),
        held: row.held.0.into_iter().map(|json| (AccountId::from(json.reviewer), json.cases)).collect(),
        grants_moved: row.moved.0.into_iter().map(|json| GrantsMoved { period: json.period, by: json.by }).collect(),
    })
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
