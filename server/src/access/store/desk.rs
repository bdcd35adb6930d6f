//! What the database tells a reviewer's desk: its views, how many there are in each, and how long people wait.

use std::collections::HashMap;

use sqlx::PgConnection;
use sqlx::types::Uuid;
use time::Duration;

use super::super::application::Application;
use super::super::evidence::Known;
use super::super::view::View;
use super::super::waits::Waits;
use super::application_row::ApplicationRow;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId};

/// From how many decisions on something is said about how long they take: fewer tell of single people.
const DECISIONS_MIN: i64 = 5;
/// How many of the latest decisions count.
const DECISIONS_LATE: i64 = 100;

/// Among how many of the newest a search looks before it asks the index on words.
const NEWEST: i64 = 2_000;

/// One page of a view as it was sent, from behind `after` on. One statement; of its branches only the one of the view is run.
pub async fn view(
    db: &mut PgConnection,
    view: View,
    reader: AccountId,
    now: Timestamp,
    after: Option<ApplicationId>,
    limit: i64,
) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"with place as (
             select (select submitted_at from application where id = $4) as submitted_at, (select due_at from application where id = $4) as due_at,
                 (select closed_at from application where id = $4) as closed_at
         ), chosen as (
             (select id from application
              where $1 = 'mine' and state = 'submitted' and claimed_by = $2
                and ($4::uuid is null or (submitted_at, id) > ((select submitted_at from place), $4))
              order by submitted_at, id limit $5)
             union all
             (select id from application
              where $1 = 'unclaimed' and state = 'submitted' and claimed_by is null
                and ($4::uuid is null or (submitted_at, id) > ((select submitted_at from place), $4))
              order by submitted_at, id limit $5)
             union all
             (select id from application
              where $1 = 'all' and state = 'submitted'
                and ($4::uuid is null or (submitted_at, id) > ((select submitted_at from place), $4))
              order by submitted_at, id limit $5)
             union all
             (select id from application
              where $1 = 'overdue' and state = 'submitted' and due_at < $3
                and ($4::uuid is null or (due_at, id) > ((select due_at from place), $4))
              order by due_at, id limit $5)
             union all
             (select id from application
              where $1 = 'applicant' and state = 'changes_requested'
                and ($4::uuid is null or (submitted_at, id) > ((select submitted_at from place), $4))
              order by submitted_at, id limit $5)
             union all
             (select id from application
              where $1 = 'decided' and state in ('approved', 'declined')
                and ($4::uuid is null or (closed_at, id) < ((select closed_at from place), $4))
              order by closed_at desc, id desc limit $5)
         )
         select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: _", version,
                coalesce((select s.answers from application_sending s where s.application_id = application.id order by number desc limit 1), answers) as "answers!: _",
                licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at,
                claimed_by as "claimed_by: AccountId", claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text,
                changes_fields, appealed_at, appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at,
                decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where id in (select id from chosen)
         order by case when $1 = 'decided' then closed_at end desc, case when $1 = 'overdue' then due_at else submitted_at end, id"#,
        view.as_str(),
        reader.uuid(),
        now,
        after.map(ApplicationId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ApplicationRow::application).collect()
}

/// What was sent and has every one of these words in title, organisation, name or address, each perhaps not to its end; the newest first.
/// `query` as the database reads it: `opt:* & turin:*`.
///
/// Bounded for every word: one that stands in many is found among the newest, without sorting all that have it; one that does not fill
/// the page from those stands in few, and the index on words finds them.
pub async fn search(db: &mut PgConnection, query: &str, limit: i64) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: _", version,
                coalesce((select s.answers from application_sending s where s.application_id = application.id order by number desc limit 1), answers) as "answers!: _",
                licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at,
                claimed_by as "claimed_by: AccountId", claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text,
                changes_fields, appealed_at, appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at,
                decided_by as "decided_by: AccountId", decline_code, decision_text
         from application where id in (
             with newest as (
                 select id from (
                     select id, submitted_at, found_by from application
                     where submitted_at is not null order by submitted_at desc limit $3) late
                 where found_by @@ to_tsquery('simple', $1) order by submitted_at desc limit $2
             )
             select id from newest
             union
             select older.id from (select count(*) as found from newest) enough cross join lateral (
                 select id from application
                 where enough.found < $2 and found_by @@ to_tsquery('simple', $1) order by submitted_at desc limit $2) older)
         order by submitted_at desc, id limit $2"#,
        query,
        limit,
        NEWEST,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ApplicationRow::application).collect()
}

/// All that [`search`] may find, page by page, the newest first, from behind `after` on.
pub async fn search_after(db: &mut PgConnection, query: &str, after: Option<ApplicationId>, limit: i64) -> Result<Vec<Application>, Error> {
    let rows = sqlx::query_as!(
        ApplicationRow,
        r#"select id as "id: ApplicationId", account_id as "account_id: AccountId", model_id as "model_id: _", version,
                coalesce((select s.answers from application_sending s where s.application_id = application.id order by number desc limit 1), answers) as "answers!: _",
                licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at,
                claimed_by as "claimed_by: AccountId", claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text,
                changes_fields, appealed_at, appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at,
                decided_by as "decided_by: AccountId", decline_code, decision_text
         from application
         where submitted_at is not null and found_by @@ to_tsquery('simple', $1)
           and ($2::uuid is null or (submitted_at, id) < ((select submitted_at from application where id = $2), $2))
         order by submitted_at desc, id desc limit $3"#,
        query,
        after.map(ApplicationId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ApplicationRow::application).collect()
}

/// What is known of each of these applications, which were all sent, beside their words.
pub async fn known(db: &mut PgConnection, found: &[Application], now: Timestamp) -> Result<HashMap<ApplicationId, Known>, Error> {
    let ids: Vec<Uuid> = found.iter().map(|one| one.id.uuid()).collect();
    let rows = sqlx::query!(
        r#"select id as "id: ApplicationId",
             (select count(*) from application e where e.account_id = a.account_id and e.submitted_at < a.submitted_at) as "earlier!",
             exists (select from block b
                 where b.account_id = a.account_id and (b.model_id is null or b.model_id = a.model_id)
                   and b.lifted_at is null and b.expires_at > $2) as "is_blocked!",
             exists (select from unreachable_account u where u.account_id = a.account_id) as "is_unreachable!",
             a.state in ('submitted', 'changes_requested') and coalesce((
                 select c.author_id = a.account_id and c.kind = 'comment' from application_comment c
                 where c.application_id = a.id and c.lane = 'shared' order by c.id desc limit 1), false) as "is_unanswered!"
         from application a where id = any($1)"#,
        &ids,
        now,
    )
    .fetch_all(db)
    .await?;
    let known = rows.into_iter().map(|row| {
        let known = Known {
            earlier: row.earlier,
            is_blocked: row.is_blocked,
            is_unreachable: row.is_unreachable,
            is_unanswered: row.is_unanswered,
        };
        (row.id, known)
    });
    Ok(known.collect())
}

/// How many applications are in each view.
#[derive(Debug, Clone, Copy, Default)]
pub struct ViewCounts {
    pub mine: i64,
    pub unclaimed: i64,
    pub all: i64,
    pub overdue: i64,
    pub applicant: i64,
    /// Requests to renew a grant that wait.
    pub renewals: i64,
    /// Grants that others proposed to revoke, and this reader may confirm or reject.
    pub to_confirm: i64,
}

/// See [`ViewCounts`].
pub async fn view_counts(db: &mut PgConnection, reader: AccountId, now: Timestamp) -> Result<ViewCounts, Error> {
    let counts = sqlx::query_as!(
        ViewCounts,
        r#"select count(*) filter (where state = 'submitted' and claimed_by = $1) as "mine!",
             count(*) filter (where state = 'submitted' and claimed_by is null) as "unclaimed!",
             count(*) filter (where state = 'submitted') as "all!",
             count(*) filter (where state = 'submitted' and due_at < $2) as "overdue!",
             count(*) filter (where state = 'changes_requested') as "applicant!",
             (select count(*) from renewal where state = 'open') as "renewals!",
             (select count(*) from access_grant
              where revocation_proposed_at is not null and revoked_at is null and expires_at > $2
                and revocation_proposed_by is distinct from $1 and account_id <> $1) as "to_confirm!"
         from application where state in ('submitted', 'changes_requested')"#,
        reader.uuid(),
        now,
    )
    .fetch_one(db)
    .await?;
    Ok(counts)
}

/// How many applications wait that were sent before this one, and how long the latest decisions took.
pub async fn waits(db: &mut PgConnection, sent_at: Timestamp, id: ApplicationId) -> Result<Waits, Error> {
    let row = sqlx::query!(
        r#"select (select count(*) from application where state = 'submitted' and (submitted_at, id) < ($1, $2)) as "before!",
             count(*) as "decided!",
             (percentile_cont(0.5) within group (order by took))::float8 as half,
             (percentile_cont(0.9) within group (order by took))::float8 as most
         from (select extract(epoch from closed_at - submitted_at)::float8 as took from application
               where state in ('approved', 'declined') order by closed_at desc limit $3) late"#,
        sent_at,
        id.uuid(),
        DECISIONS_LATE,
    )
    .fetch_one(db)
    .await?;
    let usual = row.half.zip(row.most).filter(|_| row.decided >= DECISIONS_MIN);
    Ok(Waits { before: row.before, usual: usual.map(|(half, most)| (Duration::seconds_f64(half), Duration::seconds_f64(most))) })
}
