//! Enqueue in the caller's transaction, or hold and take back; claim, mark sent, look through.

use sqlx::PgConnection;
use time::Duration;

use super::Message;
use super::client::Failure;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::MailId;

/// After so many tries a mail is given up, visibly.
const ATTEMPTS_MAX: i32 = 12;
/// How long a claimed mail stays claimed: longer than a slow server takes, short enough after a crash.
const CLAIM: Duration = Duration::minutes(2);

/// A mail in the outbox.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns of the table, told there")]
pub struct Mail {
    pub id: MailId,
    pub kind: String,
    pub recipient: String,
    pub subject: String,
    /// Gone once handed to an SMTP server: it may carry a one-time link.
    pub body: Option<String>,
    pub created_at: Timestamp,
    pub next_attempt_at: Timestamp,
    pub attempts: i32,
    pub sent_at: Option<Timestamp>,
    pub gave_up_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// Writes a mail to be sent once the caller's transaction commits.
pub async fn enqueue(tx: &mut PgConnection, now: Timestamp, message: &Message) -> Result<(), Error> {
    insert(tx, now, now, None, message).await
}

/// Like [`enqueue`], but the mail leaves at `until` at the earliest, and until then it can be taken back under `subject`, a printed id.
pub async fn hold(tx: &mut PgConnection, now: Timestamp, until: Timestamp, subject: &str, message: &Message) -> Result<(), Error> {
    insert(tx, now, until, Some(subject), message).await
}

/// Takes back the mails held for `subject`, and says how many. One that the worker has in its hands, or has sent, is not taken back:
/// a claim and a taking back wait for each other's row.
pub async fn take_back(tx: &mut PgConnection, subject: &str) -> Result<u64, Error> {
    let gone = sqlx::query!("delete from mail where held_for = $1 and sent_at is null and attempts = 0", subject).execute(tx).await?;
    Ok(gone.rows_affected())
}

async fn insert(tx: &mut PgConnection, now: Timestamp, due: Timestamp, held_for: Option<&str>, message: &Message) -> Result<(), Error> {
    sqlx::query!(
        "insert into mail (id, kind, recipient, subject, body, created_at, next_attempt_at, held_for)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        MailId::fresh().uuid(),
        message.kind(),
        message.recipient(),
        message.subject(),
        message.body()?,
        now,
        due,
        held_for,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes the mail that is due longest, for this worker alone; it comes due again if the worker dies with it.
pub(super) async fn claim(db: &mut PgConnection, now: Timestamp) -> Result<Option<Mail>, Error> {
    let mail = sqlx::query_as!(
        Mail,
        r#"update mail
         set next_attempt_at = $2, attempts = attempts + 1
         where id = (
             select id from mail
             where sent_at is null and gave_up_at is null and next_attempt_at <= $1
             order by next_attempt_at
             limit 1
             for update skip locked
         )
         returning id as "id: MailId", kind, recipient, subject, body, created_at, next_attempt_at, attempts, sent_at, gave_up_at, last_error"#,
        now,
        now + CLAIM,
    )
    .fetch_optional(db)
    .await?;
    Ok(mail)
}

/// Notes that a mail has left. `forget_body`: it went to a server and need not be kept.
pub(super) async fn mark_sent(db: &mut PgConnection, id: MailId, now: Timestamp, forget_body: bool) -> Result<(), Error> {
    sqlx::query!(
        "update mail set sent_at = $2, last_error = null, body = case when $3 then null else body end where id = $1",
        id.uuid(),
        now,
        forget_body
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes a failed try; the next one waits twice as long, up to six hours. After the last, or a lasting failure, the mail is given up.
pub(super) async fn mark_failed(db: &mut PgConnection, mail: &Mail, now: Timestamp, failure: &Failure) -> Result<(), Error> {
    let wait = Duration::seconds(30).saturating_mul(1 << mail.attempts.clamp(0, 10)).min(Duration::hours(6));
    sqlx::query!(
        "update mail
         set next_attempt_at = $2, last_error = $3, gave_up_at = case when attempts >= $4 then $5::timestamptz end
         where id = $1",
        mail.id.uuid(),
        now + wait,
        failure.text,
        if failure.lasting { mail.attempts } else { ATTEMPTS_MAX },
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The newest mails, newest first; `before` pages backwards.
pub async fn page(db: &mut PgConnection, before: Option<MailId>, limit: i64) -> Result<Vec<Mail>, Error> {
    let mails = sqlx::query_as!(
        Mail,
        r#"select id as "id: MailId", kind, recipient, subject, body, created_at, next_attempt_at, attempts, sent_at, gave_up_at, last_error
         from mail
         where $1::uuid is null or id < $1
         order by id desc
         limit $2"#,
        before.map(MailId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(mails)
}

/// How many mails wait to leave, and how many were given up.
pub async fn counts(db: &mut PgConnection) -> Result<(i64, i64), Error> {
    let row = sqlx::query!(
        r#"select count(*) filter (where gave_up_at is null) as "waiting!", count(*) filter (where gave_up_at is not null) as "given_up!"
         from mail where sent_at is null"#
    )
    .fetch_one(db)
    .await?;
    Ok((row.waiting, row.given_up))
}

/// One mail.
pub async fn find(db: &mut PgConnection, id: MailId) -> Result<Mail, Error> {
    sqlx::query_as!(
        Mail,
        r#"select id as "id: MailId", kind, recipient, subject, body, created_at, next_attempt_at, attempts, sent_at, gave_up_at, last_error
         from mail where id = $1"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?
    .ok_or(Error::NotFound("mail"))
}

/// Puts a mail that failed or was given up back in front, to be tried now.
pub async fn retry(db: &mut PgConnection, id: MailId, now: Timestamp) -> Result<(), Error> {
    let done = sqlx::query!(
        "update mail set next_attempt_at = $2, attempts = 0, gave_up_at = null where id = $1 and sent_at is null and body is not null",
        id.uuid(),
        now
    )
    .execute(db)
    .await?;
    if done.rows_affected() == 0 { Err(Error::Conflict("this mail has been sent".into())) } else { Ok(()) }
}
