//! Append and page through; never update.

use serde_json::Value;
use sqlx::PgConnection;

use super::Event;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::AccountId;

/// One thing that happened, as it was kept.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its place in the record.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who did it; nobody when the portal or its operator did.
    pub actor: Option<AccountId>,
    /// See [`Event::kind`].
    pub kind: String,
    /// See [`Event::subject`].
    pub subject: String,
    /// See [`Event::detail`].
    pub detail: Value,
}

/// Which rows to show. Nothing set: all.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    /// Only about this printed id.
    pub subject: Option<String>,
    /// Only of this kind, or of kinds beginning with it and a dot.
    pub kind: Option<String>,
    /// Only what came before this row (to page backwards).
    pub before: Option<i64>,
}

/// Appends one event. `actor` is nobody when the portal itself or its operator acted.
pub async fn record(tx: &mut PgConnection, now: Timestamp, actor: Option<AccountId>, event: &Event) -> Result<(), Error> {
    sqlx::query!(
        "insert into audit_event (at, actor_id, kind, subject, detail)
         values ($1, $2, $3, $4, $5)",
        now,
        actor.map(AccountId::uuid),
        event.kind(),
        event.subject(),
        event.detail(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The newest `limit` rows that match, newest first.
pub async fn page(db: &mut PgConnection, filter: &Filter, limit: i64) -> Result<Vec<Row>, Error> {
    let rows = sqlx::query!(
        r#"select seq, at, actor_id as "actor_id: AccountId", kind, subject, detail
         from audit_event
         where ($1::text is null or subject = $1)
           and ($2::text is null or kind = $2 or kind like $2 || '.%')
           and ($3::bigint is null or seq < $3)
         order by seq desc
         limit $4"#,
        filter.subject,
        filter.kind,
        filter.before,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Row { seq: row.seq, at: row.at, actor: row.actor_id, kind: row.kind, subject: row.subject, detail: row.detail })
        .collect())
}
