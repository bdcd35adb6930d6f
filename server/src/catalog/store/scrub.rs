//! What the database keeps of the store's health: which objects no release needs, when each was read back, and the rounds of that.

use sqlx::PgConnection;

use super::super::gc::Unneeded;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::ScrubId;

/// An object as it should be.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its SHA-256.
    pub sha256: String,
    /// Its size.
    pub size_bytes: u64,
}

/// One time through the whole store.
#[derive(Debug, Clone)]
pub struct Round {
    /// Its id.
    pub id: ScrubId,
    /// When it began.
    pub started_at: Timestamp,
    /// When it came on last.
    pub last_at: Timestamp,
    /// When it was through.
    pub finished_at: Option<Timestamp>,
    /// How many objects it has read.
    pub objects: i64,
    /// How many bytes these have.
    pub bytes: i64,
    /// How many were not what they should be.
    pub faults: i64,
}

/// An object that is not what it should be, and a file that it is.
#[derive(Debug, Clone)]
pub struct Faulty {
    /// Its SHA-256.
    pub sha256: String,
    /// What is wrong.
    pub fault: String,
    /// When that was seen.
    pub checked_at: Timestamp,
    /// The files it is: model, revision and path.
    pub files: Vec<String>,
}

/// What the store should hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Holdings {
    /// How many objects.
    pub objects: i64,
    /// How many bytes.
    pub bytes: i64,
    /// How many were not what they should be when they were read last.
    pub faulty: i64,
}

/// Says that objects are being counted on, for as long as the connection lives; waits out who removes some, however long it takes.
pub async fn hold_objects(db: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("set lock_timeout = 0").execute(&mut *db).await?;
    sqlx::query!("select pg_advisory_lock_shared(hashtextextended('objects of the store', 0))").execute(db).await?;
    Ok(())
}

/// Keeps everybody from counting on objects, for as long as the connection lives; says whether nobody does.
pub async fn claim_objects(db: &mut PgConnection) -> Result<bool, Error> {
    let claimed = sqlx::query_scalar!(r#"select pg_try_advisory_lock(hashtextextended('objects of the store', 0)) as "claimed!""#)
        .fetch_one(db)
        .await?;
    Ok(claimed)
}

/// Makes this the one connection that scrubs, for as long as it lives; says whether no other does.
pub async fn claim_scrub(db: &mut PgConnection) -> Result<bool, Error> {
    let claimed = sqlx::query_scalar!(r#"select pg_try_advisory_lock(hashtextextended('scrub', 0)) as "claimed!""#).fetch_one(db).await?;
    Ok(claimed)
}

/// Objects on record since before `before` that no release needs.
pub async fn unneeded_objects(db: &mut PgConnection, before: Timestamp) -> Result<Vec<Unneeded>, Error> {
    let rows = sqlx::query!(
        "select sha256, size_bytes from object o
         where created_at < $1 and not exists (select 1 from release_file f where f.object_sha256 = o.sha256)
         order by sha256",
        before
    )
    .fetch_all(db)
    .await?;
    let unneeded = |sha256, size_bytes: i64| Unneeded { sha256, size_bytes: size_bytes.unsigned_abs(), is_on_record: true };
    Ok(rows.into_iter().map(|row| unneeded(row.sha256, row.size_bytes)).collect())
}

/// Takes an object off the record unless a release needs it; says whether it did.
pub async fn forget_object(db: &mut PgConnection, sha256: &str) -> Result<bool, Error> {
    let done = sqlx::query!(
        "delete from object o where sha256 = $1 and not exists (select 1 from release_file f where f.object_sha256 = o.sha256)",
        sha256
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Gives back what this connection has claimed, at once: its end would do it too, a moment later.
pub async fn let_go(db: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("select pg_advisory_unlock_all()").execute(db).await?;
    Ok(())
}

/// The SHA-256 of every object on record.
pub async fn object_names(db: &mut PgConnection) -> Result<Vec<String>, Error> {
    Ok(sqlx::query_scalar!("select sha256 from object").fetch_all(db).await?)
}

/// The round that is not through.
pub async fn open_round(db: &mut PgConnection) -> Result<Option<Round>, Error> {
    let round = sqlx::query_as!(
        Round,
        r#"select id as "id: ScrubId", started_at, last_at, finished_at, objects, bytes, faults from scrub_round where finished_at is null"#
    )
    .fetch_optional(db)
    .await?;
    Ok(round)
}

/// Begins a round.
pub async fn begin_round(db: &mut PgConnection, id: ScrubId, now: Timestamp) -> Result<Round, Error> {
    let round = sqlx::query_as!(
        Round,
        r#"insert into scrub_round (id, started_at, last_at) values ($1, $2, $2)
         returning id as "id: ScrubId", started_at, last_at, finished_at, objects, bytes, faults"#,
        id.uuid(),
        now,
    )
    .fetch_one(db)
    .await?;
    Ok(round)
}

/// The next object that was not read since `since`, those first that were never read.
pub async fn next_to_check(db: &mut PgConnection, since: Timestamp) -> Result<Option<Stored>, Error> {
    let row = sqlx::query!(
        "select sha256, size_bytes from object
         where (checked_at is null or checked_at < $1) and created_at < $1
         order by checked_at nulls first, sha256
         limit 1",
        since
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Stored { sha256: row.sha256, size_bytes: row.size_bytes.unsigned_abs() }))
}

/// Notes what was seen of an object, in the round it belongs to; one that was taken off the record meanwhile does not count.
pub async fn note_checked(
    db: &mut PgConnection,
    round: &Round,
    object: &Stored,
    now: Timestamp,
    fault: Option<&str>,
) -> Result<Round, Error> {
    let round = sqlx::query_as!(
        Round,
        r#"with seen as (update object set checked_at = $3, fault = $4 where sha256 = $2 returning size_bytes)
         update scrub_round
         set last_at = $3, objects = objects + (select count(*) from seen), bytes = bytes + (select coalesce(sum(size_bytes), 0)::bigint from seen),
             faults = faults + (select count(*) from seen where $4::text is not null)
         where id = $1
         returning id as "id: ScrubId", started_at, last_at, finished_at, objects, bytes, faults"#,
        round.id.uuid(),
        object.sha256,
        now,
        fault,
    )
    .fetch_one(db)
    .await?;
    Ok(round)
}

/// Ends a round.
pub async fn finish_round(db: &mut PgConnection, id: ScrubId, now: Timestamp) -> Result<Round, Error> {
    let round = sqlx::query_as!(
        Round,
        r#"update scrub_round set finished_at = $2, last_at = $2 where id = $1
         returning id as "id: ScrubId", started_at, last_at, finished_at, objects, bytes, faults"#,
        id.uuid(),
        now,
    )
    .fetch_one(db)
    .await?;
    Ok(round)
}

/// The latest rounds, newest first.
pub async fn rounds(db: &mut PgConnection, limit: i64) -> Result<Vec<Round>, Error> {
    let rounds = sqlx::query_as!(
        Round,
        r#"select id as "id: ScrubId", started_at, last_at, finished_at, objects, bytes, faults
         from scrub_round order by started_at desc limit $1"#,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rounds)
}

/// Objects that were not what they should be when they were read last, and the files they are.
pub async fn faulty(db: &mut PgConnection, limit: i64) -> Result<Vec<Faulty>, Error> {
    let rows = sqlx::query_as!(
        Faulty,
        r#"select o.sha256, o.fault as "fault!", o.checked_at as "checked_at!",
                array(select m.org || '/' || m.name || ' ' || left(r.revision, 10) || ' ' || f.path
                      from release_file f join release r on r.id = f.release_id join model m on m.id = r.model_id
                      where f.object_sha256 = o.sha256
                      order by r.published_at desc, f.path
                      limit 20) as "files!"
         from object o
         where o.fault is not null
         order by o.checked_at desc, o.sha256
         limit $1"#,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// What the store should hold.
pub async fn holdings(db: &mut PgConnection) -> Result<Holdings, Error> {
    let holdings = sqlx::query_as!(
        Holdings,
        r#"select count(*) as "objects!", coalesce(sum(size_bytes), 0)::bigint as "bytes!", count(fault) as "faulty!" from object"#
    )
    .fetch_one(db)
    .await?;
    Ok(holdings)
}
