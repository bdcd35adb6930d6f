//! What the database keeps of requests to renew a grant.

use sqlx::PgConnection;

use super::super::renewal::{Asked, Renewal, RenewalState};
use crate::clock::Timestamp;
use crate::error::{Error, OnConstraint};
use crate::ids::{AccountId, GrantId, RenewalId};

/// The columns of a request, as they lie in the table.
struct RenewalRow {
    id: RenewalId,
    grant_id: GrantId,
    state: String,
    summary: String,
    publications: String,
    months: i16,
    asked_at: Timestamp,
    closed_at: Option<Timestamp>,
    decided_by: Option<AccountId>,
    decision_text: Option<String>,
}

impl RenewalRow {
    fn renewal(self) -> Result<Renewal, Error> {
        let text = self.decision_text.unwrap_or_default();
        let state = match (self.state.as_str(), self.closed_at, self.decided_by) {
            ("open", None, None) => RenewalState::Open,
            ("approved", Some(at), Some(by)) => RenewalState::Approved { by, at, note: text },
            ("declined", Some(at), Some(by)) => RenewalState::Declined { by, at, text },
            ("withdrawn", Some(at), None) => RenewalState::Withdrawn { at },
            ("lapsed", Some(at), None) => RenewalState::Lapsed { at },
            (state, ..) => return Err(Error::internal(format!("{} is {state:?}, and its columns do not agree", self.id))),
        };
        let months = u8::try_from(self.months).map_err(Error::internal)?;
        let asked = Asked { summary: self.summary, publications: self.publications, months };
        Ok(Renewal { id: self.id, grant: self.grant_id, asked, asked_at: self.asked_at, state })
    }
}

/// Adds a request. Errors: `Conflict` if one is open for the grant (renewal_one_open_uq).
pub async fn insert_renewal(tx: &mut PgConnection, renewal: &Renewal) -> Result<(), Error> {
    sqlx::query!(
        "insert into renewal (id, grant_id, state, summary, publications, months, asked_at)
         values ($1, $2, 'open', $3, $4, $5, $6)",
        renewal.id.uuid(),
        renewal.grant.uuid(),
        renewal.asked.summary,
        renewal.asked.publications,
        i16::from(renewal.asked.months),
        renewal.asked_at,
    )
    .execute(tx)
    .await
    .on_constraint("renewal_one_open_uq", Error::Conflict("a renewal was asked for already; it waits for a reviewer".into()))?;
    Ok(())
}

/// The request `id`, locked until the end of the transaction.
pub async fn lock_renewal(tx: &mut PgConnection, id: RenewalId) -> Result<Renewal, Error> {
    let row = sqlx::query_as!(
        RenewalRow,
        r#"select id as "id: RenewalId", grant_id as "grant_id: GrantId", state, summary, publications, months, asked_at, closed_at,
                decided_by as "decided_by: AccountId", decision_text
         from renewal where id = $1
         for update"#,
        id.uuid(),
    )
    .fetch_optional(tx)
    .await?;
    row.map(RenewalRow::renewal).transpose()?.ok_or(Error::NotFound("renewal"))
}

/// The request `id`.
pub async fn find_renewal(db: &mut PgConnection, id: RenewalId) -> Result<Renewal, Error> {
    let row = sqlx::query_as!(
        RenewalRow,
        r#"select id as "id: RenewalId", grant_id as "grant_id: GrantId", state, summary, publications, months, asked_at, closed_at,
                decided_by as "decided_by: AccountId", decision_text
         from renewal where id = $1"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?;
    row.map(RenewalRow::renewal).transpose()?.ok_or(Error::NotFound("renewal"))
}

/// Every request that was made for a grant, the newest first.
pub async fn renewals_of(db: &mut PgConnection, grant: GrantId) -> Result<Vec<Renewal>, Error> {
    let rows = sqlx::query_as!(
        RenewalRow,
        r#"select id as "id: RenewalId", grant_id as "grant_id: GrantId", state, summary, publications, months, asked_at, closed_at,
                decided_by as "decided_by: AccountId", decision_text
         from renewal where grant_id = $1
         order by asked_at desc, id desc"#,
        grant.uuid(),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(RenewalRow::renewal).collect()
}

/// The newest request for each of these grants, where one was made.
pub async fn newest_renewals(db: &mut PgConnection, grants: &[GrantId]) -> Result<Vec<Renewal>, Error> {
    let grants: Vec<uuid::Uuid> = grants.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query_as!(
        RenewalRow,
        r#"select distinct on (grant_id) id as "id: RenewalId", grant_id as "grant_id: GrantId", state, summary, publications, months,
                asked_at, closed_at, decided_by as "decided_by: AccountId", decision_text
         from renewal where grant_id = any($1)
         order by grant_id, asked_at desc, id desc"#,
        &grants,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(RenewalRow::renewal).collect()
}

/// The requests that wait for a reviewer, the longest waiting first, from behind `after` on.
pub async fn open_renewals(db: &mut PgConnection, after: Option<RenewalId>, limit: i64) -> Result<Vec<Renewal>, Error> {
    let rows = sqlx::query_as!(
        RenewalRow,
        r#"select id as "id: RenewalId", grant_id as "grant_id: GrantId", state, summary, publications, months, asked_at, closed_at,
                decided_by as "decided_by: AccountId", decision_text
         from renewal
         where state = 'open' and ($1::uuid is null or (asked_at, id) > ((select asked_at from renewal where id = $1), $1))
         order by asked_at, id
         limit $2"#,
        after.map(RenewalId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(RenewalRow::renewal).collect()
}

/// Open requests whose grant is over for good: ended otherwise, or so long ago that it cannot be renewed any more.
pub async fn renewals_to_lapse(db: &mut PgConnection, ended_before: Timestamp, limit: i64) -> Result<Vec<Renewal>, Error> {
    let rows = sqlx::query_as!(
        RenewalRow,
        r#"select r.id as "id: RenewalId", r.grant_id as "grant_id: GrantId", r.state, r.summary, r.publications, r.months, r.asked_at,
                r.closed_at, r.decided_by as "decided_by: AccountId", r.decision_text
         from renewal r
         join access_grant g on g.id = r.grant_id
         where r.state = 'open' and (g.revoked_at is not null or g.expires_at <= $1)
         order by r.asked_at, r.id
         limit $2"#,
        ended_before,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(RenewalRow::renewal).collect()
}

/// Writes what may change about a request.
pub async fn save_renewal(tx: &mut PgConnection, renewal: &Renewal) -> Result<(), Error> {
    let (closed_at, by, text) = match &renewal.state {
        RenewalState::Open => (None, None, None),
        RenewalState::Approved { by, at, note } => (Some(*at), Some(*by), Some(note.as_str())),
        RenewalState::Declined { by, at, text } => (Some(*at), Some(*by), Some(text.as_str())),
        RenewalState::Withdrawn { at } | RenewalState::Lapsed { at } => (Some(*at), None, None),
    };
    sqlx::query!(
        "update renewal set state = $2, closed_at = $3, decided_by = $4, decision_text = $5 where id = $1",
        renewal.id.uuid(),
        renewal.state.as_str(),
        closed_at,
        by.map(AccountId::uuid),
        text,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Moves the end of a grant; which notices were sent counts from there.
pub async fn move_end(tx: &mut PgConnection, id: GrantId, until: Timestamp, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("update access_grant set expires_at = $2, renewed_at = $3, noticed_days = null where id = $1", id.uuid(), until, now,)
        .execute(tx)
        .await?;
    Ok(())
}
