//! What the database keeps of the words about an application, of its sendings, and of who looks at it.

use std::collections::HashMap;

use sqlx::PgConnection;
use sqlx::types::{Json, Uuid};
use time::Duration;

use super::super::answers::Answers;
use super::super::application::Application;
use super::super::comment::{Comment, Lane};
use super::super::state::State;
use crate::accounts::Account;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId};

/// Keeps the answers as they were sent, and what the application may be found by.
pub async fn insert_sending(tx: &mut PgConnection, application: &Application, applicant: &Account, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into application_sending (application_id, number, answers, sent_at)
         select $1, coalesce(max(number), 0) + 1, $2, $3 from application_sending where application_id = $1",
        application.id.uuid(),
        Json(&application.answers) as _,
        now,
    )
    .execute(&mut *tx)
    .await?;
    let (title, organisation) = (application.answers.get("title"), application.answers.get("organisation"));
    let found_by = format!("{title} {organisation} {} {}", applicant.name, applicant.email).replace(|c: char| !c.is_alphanumeric(), " ");
    sqlx::query!("update application set found_by = to_tsvector('simple', $2) where id = $1", application.id.uuid(), found_by)
        .execute(tx)
        .await?;
    Ok(())
}

/// The same with the answers that were sent last: what its applicant has written since then is theirs alone until it is sent.
pub async fn as_sent(db: &mut PgConnection, mut applications: Vec<Application>) -> Result<Vec<Application>, Error> {
    let ids: Vec<Uuid> = applications.iter().filter(|one| one.state.may_hold_unsent()).map(|one| one.id.uuid()).collect();
    if ids.is_empty() {
        return Ok(applications);
    }
    let sent = sqlx::query!(
        r#"select distinct on (application_id) application_id as "id: ApplicationId", answers as "answers: Json<Answers>"
         from application_sending where application_id = any($1)
         order by application_id, number desc"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    for row in sent {
        if let Some(one) = applications.iter_mut().find(|one| one.id == row.id) {
            one.answers = row.answers.0;
        }
    }
    Ok(applications)
}

/// When those of these applications that wait were sent last.
pub async fn sent_last(db: &mut PgConnection, applications: &[Application]) -> Result<HashMap<ApplicationId, Timestamp>, Error> {
    let waiting = applications.iter().filter(|one| matches!(one.state, State::Submitted(_)));
    let ids: Vec<Uuid> = waiting.map(|one| one.id.uuid()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"select application_id as "id: ApplicationId", max(sent_at) as "at!"
         from application_sending where application_id = any($1)
         group by application_id"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.at)).collect())
}

/// Adds a comment.
pub async fn insert_comment(tx: &mut PgConnection, id: ApplicationId, comment: &Comment) -> Result<(), Error> {
    sqlx::query!(
        "insert into application_comment (id, application_id, author_id, lane, kind, fields, body, written_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        comment.id.uuid(),
        id.uuid(),
        comment.author.uuid(),
        comment.lane.as_str(),
        comment.kind.as_str(),
        &comment.fields,
        comment.body,
        comment.at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// How many comments an application has.
pub async fn count_comments(tx: &mut PgConnection, id: ApplicationId) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from application_comment where application_id = $1"#, id.uuid());
    Ok(count.fetch_one(tx).await?)
}

/// The first comment behind the first `seen` ones that somebody else than `reader` wrote: by whom, and in which lane.
pub async fn unread_comment(
    tx: &mut PgConnection,
    id: ApplicationId,
    seen: i64,
    reader: AccountId,
) -> Result<Option<(AccountId, Lane)>, Error> {
    let row = sqlx::query!(
        r#"select author_id as "author: AccountId", lane
         from (select id, author_id, lane from application_comment where application_id = $1 order by id offset $2) later
         where author_id <> $3
         order by id
         limit 1"#,
        id.uuid(),
        seen.max(0),
        reader.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| (row.author, if row.lane == "internal" { Lane::Internal } else { Lane::Shared })))
}

/// How many comments each of these applications has; those that have none are left out.
pub async fn comment_counts(db: &mut PgConnection, ids: &[ApplicationId]) -> Result<HashMap<ApplicationId, i64>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"select application_id as "id: ApplicationId", count(*) as "count!"
         from application_comment where application_id = any($1)
         group by application_id"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.count)).collect())
}

/// The applications that their applicants have left alone for so long that they lapse within `notice`, or should have, and of which
/// there is something to tell or to do.
pub async fn left_alone(db: &mut PgConnection, now: Timestamp, notice: Duration, limit: i64) -> Result<Vec<ApplicationId>, Error> {
    use super::super::application::{CHANGES_LIFE, DRAFT_LIFE};
    let ids = sqlx::query_scalar!(
        r#"select id as "id: ApplicationId" from application
         where state = 'draft' and (updated_at <= $1 or updated_at <= $2 and lapse_told_at is null)
            or state = 'changes_requested' and (changes_at <= $3 or changes_at <= $4 and lapse_told_at is null)
         order by updated_at
         limit $5"#,
        now - DRAFT_LIFE,
        now - (DRAFT_LIFE - notice),
        now - CHANGES_LIFE,
        now - (CHANGES_LIFE - notice),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(ids)
}

/// Notes that the applicant was told.
pub async fn note_lapse_told(tx: &mut PgConnection, id: ApplicationId, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("update application set lapse_told_at = $2 where id = $1", id.uuid(), now).execute(tx).await?;
    Ok(())
}
