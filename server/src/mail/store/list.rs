//! Looking through the mails, and trying failed ones again.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::MailId;

/// A mail in the outbox.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns of the table, told there")]
pub struct Mail {
    pub id: MailId,
    pub kind: String,
    pub recipient: String,
    pub subject: String,
    /// Gone 90 days after its end, and once handed to an SMTP server where it carries a one-time link.
    pub body: Option<String>,
    pub created_at: Timestamp,
    pub next_attempt_at: Timestamp,
    pub attempts: i32,
    pub sent_at: Option<Timestamp>,
    pub gave_up_at: Option<Timestamp>,
    /// Why the last try failed; nothing while a try runs.
    pub last_error: Option<String>,
    pub bounced_at: Option<Timestamp>,
    /// What the far server said.
    pub bounce: Option<String>,
    /// The mail that came back and is sent again by this one.
    pub again_of: Option<MailId>,
    /// The mail that sends this one again.
    pub again_as: Option<MailId>,
}

/// What stands before the key of a one-time link.
const KEY: &str = "?key=";

impl Mail {
    /// Whether it carries a link that lets whoever opens it into its reader's account.
    pub fn has_key(&self) -> bool {
        self.body.as_deref().is_some_and(|body| body.contains(KEY))
    }

    /// Its words without the keys of such links.
    pub fn without_keys(&self) -> Option<String> {
        let mut parts = self.body.as_deref()?.split(KEY);
        let mut words = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            words.push_str(KEY);
            words.push('…');
            words.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric()));
        }
        Some(words)
    }

    /// What became of it: the same as the column `state`.
    pub fn state(&self) -> State {
        match (self.bounced_at, self.sent_at, self.gave_up_at) {
            (Some(_), _, _) => State::Bounced,
            (None, Some(_), _) => State::Sent,
            (None, None, Some(_)) => State::GivenUp,
            (None, None, None) => State::Waiting,
        }
    }
}

/// What became of a mail, as the outbox is filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is to leave, now or later.
    Waiting,
    /// It could not leave, and is tried no more.
    GivenUp,
    /// It left, and came back.
    Bounced,
    /// It left.
    Sent,
}

impl State {
    /// Every state, as the page offers them.
    pub const ALL: [State; 4] = [State::Waiting, State::GivenUp, State::Bounced, State::Sent];

    /// As the database and addresses of pages say it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::GivenUp => "given_up",
            State::Bounced => "bounced",
            State::Sent => "sent",
        }
    }
}

/// Which mails are meant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In this state; nothing for all.
    pub state: Option<State>,
    /// To addresses that begin so, in small letters; empty for all.
    pub recipient: String,
    /// Older than this one.
    pub before: Option<MailId>,
}

/// How many there are of the mails that somebody has to see to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// To leave, now or later.
    pub waiting: i64,
    /// Tried no more.
    pub given_up: i64,
    /// Came back.
    pub bounced: i64,
    /// When the one that is due longest was due.
    pub due_since: Option<Timestamp>,
}

/// The newest of the mails meant, newest first.
pub async fn page(db: &mut PgConnection, filter: &Filter, limit: i64) -> Result<Vec<Mail>, Error> {
    let mails = sqlx::query_as!(
        Mail,
        r#"select id as "id: MailId", kind, recipient, subject, body, created_at, next_attempt_at, attempts, sent_at, gave_up_at, last_error,
                bounced_at, nullif(bounce, '') as bounce, again_of as "again_of: MailId",
                (select later.id from mail as later where later.again_of = mail.id) as "again_as: MailId"
         from mail
         where ($1::uuid is null or id < $1)
           and ($2::text is null or state = $2)
           and ($3 = '' or recipient collate "C" >= $3 and recipient collate "C" < $3 || chr(1114111))
         order by id desc
         limit $4"#,
        filter.before.map(MailId::uuid),
        filter.state.map(State::as_str),
        filter.recipient,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(mails)
}

/// How many mails there are to see to. Those that are held until later do not count as due.
pub async fn counts(db: &mut PgConnection, now: Timestamp) -> Result<Counts, Error> {
    let counts = sqlx::query_as!(
        Counts,
        r#"select count(*) filter (where state = 'waiting') as "waiting!",
                count(*) filter (where state = 'given_up') as "given_up!",
                count(*) filter (where state = 'bounced') as "bounced!",
                min(case when attempts > 0 then created_at else next_attempt_at end)
                    filter (where state = 'waiting' and (attempts > 0 or next_attempt_at <= $1)) as due_since
         from mail where state in ('waiting', 'given_up', 'bounced')"#,
        now,
    )
    .fetch_one(db)
    .await?;
    Ok(counts)
}

/// One mail.
pub async fn find(db: &mut PgConnection, id: MailId) -> Result<Mail, Error> {
    sqlx::query_as!(
        Mail,
        r#"select id as "id: MailId", kind, recipient, subject, body, created_at, next_attempt_at, attempts, sent_at, gave_up_at, last_error,
                bounced_at, nullif(bounce, '') as bounce, again_of as "again_of: MailId",
                (select later.id from mail as later where later.again_of = mail.id) as "again_as: MailId"
         from mail where id = $1"#,
        id.uuid(),
    )
    .fetch_optional(db)
    .await?
    .ok_or(Error::NotFound("mail"))
}

/// Puts a mail that failed or was given up back in front, to be tried now. One that is on its way at this moment has no error yet, and
/// is left alone, or it would go twice.
pub async fn retry(db: &mut PgConnection, id: MailId, now: Timestamp) -> Result<(), Error> {
    let done = sqlx::query!(
        "update mail set next_attempt_at = $2, attempts = 0, gave_up_at = null, last_error = null
         where id = $1 and sent_at is null and body is not null and last_error is not null",
        id.uuid(),
        now
    )
    .execute(db)
    .await?;
    if done.rows_affected() == 0 {
        let told = "this mail has left, is to leave in a moment, or has lost its words to time; nothing was changed";
        Err(Error::Conflict(told.into()).mended_by(format!("/admin/mail/{id}"), "See where it stands"))
    } else {
        Ok(())
    }
}

/// The same with every mail that failed or was given up. Says how many.
pub async fn retry_all(db: &mut PgConnection, now: Timestamp) -> Result<u64, Error> {
    let done = sqlx::query!(
        "update mail set next_attempt_at = $1, attempts = 0, gave_up_at = null, last_error = null
         where state in ('waiting', 'given_up') and body is not null and last_error is not null",
        now
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Writes the words of a mail that came back once more, as the mail `fresh`. Says whether that was done: not for one that has no words, did
/// not come back, or was written once more before.
pub async fn insert_again(db: &mut PgConnection, fresh: MailId, id: MailId, now: Timestamp) -> Result<bool, Error> {
    let done = sqlx::query!(
        "insert into mail (id, kind, recipient, subject, body, created_at, next_attempt_at, again_of)
         select $1, kind, recipient, subject, body, $3, $3, id from mail where id = $2 and bounced_at is not null and body is not null
         on conflict on constraint mail_again_of_uq do nothing",
        fresh.uuid(),
        id.uuid(),
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
