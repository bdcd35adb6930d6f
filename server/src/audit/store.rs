//! Append, page through, and give places in the log; never update.

use std::collections::HashSet;

use futures_util::Stream;
use serde_json::Value;
use sqlx::PgConnection;

use super::Event;
use super::event::DETAILS_ERASED;
use super::leaf::Leaf;
use super::merkle::Hash;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::AccountId;

/// So many erased details are told by one event; more by several.
const ERASED_TOLD_MAX: usize = 200;

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
    /// See [`Event::detail`]. Nothing if it was erased, to forget somebody.
    pub detail: Option<Value>,
}

impl Row {
    /// Whether it is of what reviewers say among themselves, which is not for whom it is about. Before such words had a kind of their own,
    /// only the detail told.
    pub fn is_among_reviewers(&self) -> bool {
        let is_internal = || self.detail.as_ref().is_some_and(|detail| detail["lane"] == "internal");
        matches!(self.kind.as_str(), "application.note_written" | "application.checked")
            || (self.kind == "application.comment_written" && is_internal())
    }
}

/// Which rows to show. Nothing set: all.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    /// Only about one of these printed ids.
    pub subjects: Option<Vec<String>>,
    /// Only of this kind, or of kinds beginning with it and a dot.
    pub kind: Option<String>,
    /// Only what this account did.
    pub actor: Option<AccountId>,
    /// Only from then on.
    pub from: Option<Timestamp>,
    /// Only what was before then.
    pub until: Option<Timestamp>,
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

/// The newest `limit` rows that match, newest first: by their number, or, between two days, by their moment, which has an index of its own.
pub async fn page(db: &mut PgConnection, filter: &Filter, limit: i64) -> Result<Vec<Row>, Error> {
    let kinds = match &filter.kind {
        Some(word) => Some(kinds(db, word).await?),
        None => None,
    };
    let rows = sqlx::query_as!(
        Row,
        r#"with chosen as (
             (select seq from audit_event
              where $4::timestamptz is null and $5::timestamptz is null
                and ($1::text[] is null or subject = any($1)) and ($2::text[] is null or kind = any($2))
                and ($3::uuid is null or actor_id = $3)
                and ($6::bigint is null or seq < $6)
              order by seq desc limit $7)
             union all
             (select seq from audit_event
              where ($4 is not null or $5 is not null)
                and ($1 is null or subject = any($1)) and ($2 is null or kind = any($2)) and ($3 is null or actor_id = $3)
                and at >= coalesce($4, '-infinity') and at < coalesce($5, 'infinity')
                and ($6 is null or (at, seq) < ((select at from audit_event where seq = $6), $6))
              order by at desc, seq desc limit $7)
         )
         select seq, at, actor_id as "actor: AccountId", kind, subject, p.detail as "detail?"
         from audit_event e left join audit_payload p using (seq)
         where seq in (select seq from chosen)
         order by case when $4 is not null or $5 is not null then at end desc, seq desc"#,
        filter.subjects.as_deref(),
        kinds.as_deref(),
        filter.actor.map(AccountId::uuid),
        filter.from,
        filter.until,
        filter.before,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// The kinds on the record that are `word` or begin with it and a dot. One step of the index for each kind that there is, so that the rows
/// of a rare kind are asked for by name, and not looked for among millions.
async fn kinds(db: &mut PgConnection, word: &str) -> Result<Vec<String>, Error> {
    let kinds = sqlx::query_scalar!(
        r#"with recursive known as (
             select min(kind) as kind from audit_event
             union all
             select (select min(kind) from audit_event where kind > known.kind) from known where known.kind is not null
         )
         select kind as "kind!" from known where kind = $1 or starts_with(kind, $1 || '.')"#,
        word,
    )
    .fetch_all(db)
    .await?;
    Ok(kinds)
}

/// One row. `None` if there is none of this number.
pub async fn find(db: &mut PgConnection, seq: i64) -> Result<Option<Row>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select seq, at, actor_id as "actor: AccountId", kind, subject, p.detail as "detail?"
         from audit_event e left join audit_payload p using (seq)
         where seq = $1"#,
        seq,
    )
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// What an account did, and what is about one of `subjects` (but for [`Row::is_among_reviewers`]), from behind `after` on, the oldest first.
pub async fn about(db: &mut PgConnection, account: AccountId, subjects: &[String], after: i64, limit: i64) -> Result<Vec<Row>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select seq, at, actor_id as "actor: AccountId", kind, subject, p.detail as "detail?"
         from audit_event e left join audit_payload p using (seq)
         where seq in (
             (select seq from audit_event where actor_id = $1 and seq > $3 order by seq limit $4)
             union
             (select seq from audit_event e
              where subject = any($2) and seq > $3 and kind not in ('application.note_written', 'application.checked')
                and not (kind = 'application.comment_written' and exists (
                    select from audit_payload p where p.seq = e.seq and p.detail->>'lane' = 'internal'))
              order by seq limit $4))
         order by seq
         limit $4"#,
        account.uuid(),
        subjects,
        after,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Forgets the details of what is about `account`, as one of `subjects`, but for that it was erased. The events stay, and every proof of
/// them holds; which details went is on the record, since a detail that is missing otherwise is a fault of it. `by`: as for [`record`].
pub async fn forget(
    tx: &mut PgConnection,
    now: Timestamp,
    by: Option<AccountId>,
    account: AccountId,
    subjects: &[String],
) -> Result<(), Error> {
    let mut erased = sqlx::query_scalar!(
        "delete from audit_payload
         where seq in (select seq from audit_event where subject = any($1) and kind <> all(array['account.erased', $2]))
         returning seq",
        subjects,
        DETAILS_ERASED,
    )
    .fetch_all(&mut *tx)
    .await?;
    erased.sort_unstable();
    for events in erased.chunks(ERASED_TOLD_MAX) {
        record(tx, now, by, &Event::DetailsErased { account, events: events.to_vec() }).await?;
    }
    Ok(())
}

/// The events whose details were erased, as the record says.
pub(super) async fn erased(db: &mut PgConnection) -> Result<HashSet<i64>, Error> {
    let lists = sqlx::query_scalar!(
        r#"select p.detail->'events' as "events?" from audit_event join audit_payload p using (seq) where kind = $1"#,
        DETAILS_ERASED,
    )
    .fetch_all(db)
    .await?;
    Ok(lists.into_iter().flatten().filter_map(|list| serde_json::from_value::<Vec<i64>>(list).ok()).flatten().collect())
}

/// An event that is in the record and has no place in the log yet.
pub(super) struct Committed {
    seq: i64,
    at: Timestamp,
    actor: Option<AccountId>,
    kind: String,
    subject: String,
    commitment: Vec<u8>,
}

impl Committed {
    /// The hash of its entry.
    pub(super) fn hash(&self) -> Hash {
        Leaf::new(self.seq, self.at, self.actor, &self.kind, &self.subject, &self.commitment).hash()
    }
}

/// Takes the oldest `limit` events off the waiting list. Whoever else takes some at this moment waits until we are through.
pub(super) async fn take_pending(tx: &mut PgConnection, limit: i64) -> Result<Vec<Committed>, Error> {
    let events = sqlx::query_as!(
        Committed,
        r#"with taken as (
             delete from audit_pending where seq in (select seq from audit_pending order by seq limit $1) returning seq
         )
         select seq, at, actor_id as "actor: AccountId", kind, subject, commitment
         from taken join audit_event using (seq)
         order by seq"#,
        limit,
    )
    .fetch_all(tx)
    .await?;
    Ok(events)
}

/// Gives events their places, from `first` on. The table refuses a place that is taken.
pub(super) async fn insert_leaves(tx: &mut PgConnection, first: u64, events: &[Committed], hashes: &[Hash]) -> Result<(), Error> {
    let seqs: Vec<i64> = events.iter().map(|event| event.seq).collect();
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    sqlx::query!(
        "insert into audit_leaf (index, seq, hash)
         select $1 + place - 1, seq, hash
         from unnest($2::bigint[], $3::bytea[]) with ordinality as leaf (seq, hash, place)",
        first.cast_signed(),
        &seqs,
        &hashes,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// How many entries of the log the database knows.
pub(super) async fn leaf_count(db: &mut PgConnection) -> Result<u64, Error> {
    let count = sqlx::query_scalar!(r#"select coalesce(max(index) + 1, 0) as "count!" from audit_leaf"#).fetch_one(db).await?;
    Ok(count.unsigned_abs())
}

/// The leaf hash at a place. `None` if there is none.
pub(super) async fn leaf_hash(db: &mut PgConnection, index: u64) -> Result<Option<Hash>, Error> {
    let hash = sqlx::query_scalar!("select hash from audit_leaf where index = $1", index.cast_signed()).fetch_optional(db).await?;
    Ok(hash.and_then(|hash| hash.try_into().ok()))
}

/// How many events have no place in the log yet.
pub async fn pending(db: &mut PgConnection) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(r#"select count(*) as "count!" from audit_pending"#).fetch_one(db).await?)
}

/// An event at its place, and what opens its commitment. What somebody took out of the database is missing here.
pub(super) struct Logged {
    pub(super) index: i64,
    pub(super) seq: i64,
    /// The leaf hash as the database keeps it.
    pub(super) hash: Vec<u8>,
    pub(super) at: Option<Timestamp>,
    pub(super) actor: Option<AccountId>,
    pub(super) kind: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) commitment: Option<Vec<u8>>,
    pub(super) salt: Option<Vec<u8>>,
    pub(super) detail: Option<String>,
}

impl Logged {
    /// The entry of the log, made from the event as it is now; `None` if there is none any more.
    pub(super) fn leaf(&self) -> Option<Leaf<'_>> {
        let (at, kind, subject, commitment) = (self.at?, self.kind.as_deref()?, self.subject.as_deref()?, self.commitment.as_deref()?);
        Some(Leaf::new(self.seq, at, self.actor, kind, subject, commitment))
    }
}

/// The whole log as the database has it, in order.
pub(super) fn logged(db: &mut PgConnection) -> impl Stream<Item = sqlx::Result<Logged>> {
    sqlx::query_as!(
        Logged,
        r#"select l.index, l.seq, l.hash, e.at as "at?", e.actor_id as "actor?: AccountId", e.kind as "kind?", e.subject as "subject?",
             e.commitment as "commitment?", p.salt as "salt?", p.detail::text as "detail?"
         from audit_leaf l left join audit_event e on e.seq = l.seq left join audit_payload p on p.seq = l.seq
         order by l.index"#
    )
    .fetch(db)
}

/// One event of the log. `None` if there is none of this number, or it waits for its place.
pub(super) async fn logged_as(db: &mut PgConnection, seq: i64) -> Result<Option<Logged>, Error> {
    let logged = sqlx::query_as!(
        Logged,
        r#"select l.index, l.seq, l.hash, e.at as "at?", e.actor_id as "actor?: AccountId", e.kind as "kind?", e.subject as "subject?",
             e.commitment as "commitment?", p.salt as "salt?", p.detail::text as "detail?"
         from audit_leaf l left join audit_event e on e.seq = l.seq left join audit_payload p on p.seq = l.seq
         where l.seq = $1"#,
        seq,
    )
    .fetch_optional(db)
    .await?;
    Ok(logged)
}

/// The entries at these places, without what opens their commitments.
pub(super) async fn logged_between(db: &mut PgConnection, first: u64, count: u64) -> Result<Vec<Logged>, Error> {
    let logged = sqlx::query_as!(
        Logged,
        r#"select l.index, l.seq, l.hash, e.at as "at?", e.actor_id as "actor?: AccountId", e.kind as "kind?", e.subject as "subject?",
             e.commitment as "commitment?", null::bytea as "salt?", null::text as "detail?"
         from audit_leaf l left join audit_event e on e.seq = l.seq
         where l.index >= $1 and l.index < $1 + $2
         order by l.index"#,
        first.cast_signed(),
        count.cast_signed(),
    )
    .fetch_all(db)
    .await?;
    Ok(logged)
}

/// The first event that has no place in the log and does not wait for one: it came in behind the log's back.
pub(super) async fn first_beside_the_log(db: &mut PgConnection) -> Result<Option<i64>, Error> {
    let seq = sqlx::query_scalar!(
        "select min(seq) from audit_event e
         where not exists (select from audit_leaf l where l.seq = e.seq) and not exists (select from audit_pending p where p.seq = e.seq)"
    )
    .fetch_one(db)
    .await?;
    Ok(seq)
}

/// Begins to see the database as it is now, and changes nothing.
pub(super) async fn look_at_one_moment(tx: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("set transaction isolation level repeatable read, read only").execute(tx).await?;
    Ok(())
}

/// The entries at these places as c2sp.org/tlog-tiles bundles them: each behind its length, two bytes, big-endian.
pub async fn entries(db: &mut PgConnection, first: u64, count: u64) -> Result<Vec<u8>, Error> {
    let mut bundle = Vec::new();
    for logged in logged_between(db, first, count).await? {
        let entry = logged.leaf().ok_or(Error::NotFound("entry"))?.entry();
        bundle.extend(u16::try_from(entry.len()).map_err(Error::internal)?.to_be_bytes());
        bundle.extend(entry);
    }
    Ok(bundle)
}
