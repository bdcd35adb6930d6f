//! Enqueue in the caller's transaction, or hold and take back; claim, mark sent or failed.

use sqlx::PgConnection;
use time::Duration;

use super::Message;
use super::client::{Failure, FailureKind};
use super::store::{self, Mail};
use super::topic::Topic;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::MailId;

/// The longest wait between two tries: soon enough after an outage, rare enough for a server that says "not now".
const WAIT_MAX: Duration = Duration::minutes(30);
/// After so many tries, five days, a mail is given up, visibly. A mail server may be down for a weekend.
const ATTEMPTS_MAX: i32 = 245;
/// How long a claimed mail stays claimed: longer than a try may take ([`super::client::TRY_MAX`]), short enough after a crash.
pub(super) const CLAIM: Duration = Duration::minutes(2);

/// Writes a mail to be sent once the caller's transaction commits.
pub async fn enqueue(tx: &mut PgConnection, now: Timestamp, message: &Message) -> Result<(), Error> {
    enqueue_all(tx, now, std::slice::from_ref(message)).await
}

/// The same of many, as when all who decide are told, at the price of one.
pub async fn enqueue_all(tx: &mut PgConnection, now: Timestamp, messages: &[Message]) -> Result<(), Error> {
    insert(tx, now, now, None, messages).await
}

/// Like [`enqueue`], but the mail leaves at `until` at the earliest, and until then it can be taken back under `subject`, a printed id.
pub async fn hold(tx: &mut PgConnection, now: Timestamp, until: Timestamp, subject: &str, message: &Message) -> Result<(), Error> {
    insert(tx, now, until, Some(subject), std::slice::from_ref(message)).await
}

/// Takes back the mails held for `subject`, and says how many. One that the worker has in its hands, or has sent, is not taken back:
/// a claim and a taking back wait for each other's row.
pub async fn take_back(tx: &mut PgConnection, subject: &str) -> Result<u64, Error> {
    let gone = sqlx::query!("delete from mail where held_for = $1 and sent_at is null and attempts = 0", subject).execute(tx).await?;
    Ok(gone.rows_affected())
}

/// Lets the mails held for `subject` leave now, because what they tell of has gone on: they come before what is written after them.
pub async fn let_go(tx: &mut PgConnection, subject: &str, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update mail set next_attempt_at = $2 where held_for = $1 and sent_at is null and attempts = 0 and next_attempt_at > $2",
        subject,
        now - Duration::SECOND,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The one door into the outbox, so that no sender can forget what somebody has chosen not to get.
async fn insert(tx: &mut PgConnection, now: Timestamp, due: Timestamp, held_for: Option<&str>, messages: &[Message]) -> Result<(), Error> {
    let asked: Vec<(&str, Topic)> = messages.iter().filter_map(|message| Some((message.recipient(), Topic::of(message.kind())?))).collect();
    let chosen = store::chosen(tx, &asked).await?;
    let is_wanted = |message: &&Message| match Topic::of(message.kind()) {
        Some(topic) => chosen.get(&(message.recipient().to_owned(), topic)).is_none_or(|pace| pace.lets_through(message.kind())),
        None => true,
    };
    let wanted: Vec<&Message> = messages.iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = wanted.iter().map(|_| MailId::fresh().uuid()).collect();
    let kinds: Vec<_> = wanted.iter().map(|message| message.kind().to_owned()).collect();
    let recipients: Vec<_> = wanted.iter().map(|message| message.recipient().to_owned()).collect();
    let subjects: Vec<_> = wanted.iter().map(|message| message.subject()).collect();
    let bodies = wanted.iter().map(|message| message.body()).collect::<Result<Vec<_>, _>>()?;
    sqlx::query!(
        "insert into mail (id, kind, recipient, subject, body, created_at, next_attempt_at, held_for)
         select id, kind, recipient, subject, body, $6, $7, $8
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) as told (id, kind, recipient, subject, body)",
        &ids,
        &kinds,
        &recipients,
        &subjects,
        &bodies,
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
         set next_attempt_at = $2, attempts = attempts + 1, last_error = null
         where id = (
             select id from mail
             where sent_at is null and gave_up_at is null and next_attempt_at <= $1
             order by next_attempt_at
             limit 1
             for update skip locked
         )
         returning id as "id: MailId", kind, recipient, subject, body, created_at, next_attempt_at, attempts, sent_at, gave_up_at, last_error,
             bounced_at, bounce, again_of as "again_of: MailId", null::uuid as "again_as: MailId""#,
        now,
        now + CLAIM,
    )
    .fetch_optional(db)
    .await?;
    Ok(mail)
}

/// Lets this transaction wait as long as it takes for what others have locked: what the mail server has taken is noted, or it is sent twice.
pub(super) async fn wait_for_locks(tx: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("set local lock_timeout = 0").execute(tx).await?;
    Ok(())
}

/// Notes that a mail has left. `forget_body`: it went to a server, and carries what is its reader's alone.
pub(super) async fn mark_sent(db: &mut PgConnection, id: MailId, now: Timestamp, forget_body: bool) -> Result<(), Error> {
    sqlx::query!(
        "update mail set sent_at = coalesce(sent_at, $2), gave_up_at = null, last_error = null, body = case when $3 then null else body end
         where id = $1",
        id.uuid(),
        now,
        forget_body
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes a failed try; the next one waits twice as long, up to half an hour. After the last, or where the mail itself is refused, it is
/// given up. A try that was overtaken (its claim ran out, and another worker has the mail) notes nothing.
pub(super) async fn mark_failed(db: &mut PgConnection, mail: &Mail, now: Timestamp, failure: &Failure) -> Result<(), Error> {
    let wait = Duration::seconds(30).saturating_mul(1 << mail.attempts.clamp(0, 10)).min(WAIT_MAX);
    let attempts_max = match failure.kind {
        FailureKind::Refused => mail.attempts,
        FailureKind::NotNow | FailureKind::Away => ATTEMPTS_MAX,
    };
    sqlx::query!(
        "update mail
         set next_attempt_at = $2, last_error = $3, gave_up_at = case when attempts >= $4 then $5::timestamptz end
         where id = $1 and attempts = $6 and sent_at is null",
        mail.id.uuid(),
        now + wait,
        failure.text,
        attempts_max,
        now,
        mail.attempts,
    )
    .execute(db)
    .await?;
    Ok(())
}
