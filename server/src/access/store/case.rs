//! All that is read of one case besides the people.

use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::super::answers::Answers;
use super::super::application::Application;
use super::super::block::Bar;
use super::super::check::Attestation;
use super::super::comment::{Comment, Kind, Lane};
use super::super::evidence::Known;
use super::super::state::State;
use super::application_row::ApplicationRow;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, CommentId, ModelId};

/// One case.
pub struct CaseFile {
    /// Where it stands.
    pub application: Application,
    /// The answers as they were sent last, and the time before.
    pub sendings: Vec<Answers>,
    /// When it was sent last, if it was.
    pub sent_last_at: Option<Timestamp>,
    /// What was attested.
    pub attestations: Vec<Attestation>,
    /// The thread, the oldest first, with what reviewers wrote among themselves.
    pub comments: Vec<Comment>,
    /// The points of the checklist that are ticked.
    pub checked: Vec<String>,
    /// The block that keeps its applicant from its model longest, if there is one; it may be over.
    pub bar: Option<Bar>,
    /// Whether mail does not reach its applicant.
    pub is_unreachable: bool,
    /// What else its applicant has sent, the newest first.
    pub others: Vec<OtherCase>,
}

/// Another application of the same person, in short.
#[derive(Debug, Deserialize)]
pub struct OtherCase {
    /// Its id.
    pub id: uuid::Uuid,
    /// For which model.
    pub model: uuid::Uuid,
    /// What it is called.
    pub title: String,
    /// The name of its state.
    pub state: String,
    /// When it was sent.
    #[serde(with = "time::serde::rfc3339")]
    pub sent_at: Timestamp,
}

impl CaseFile {
    /// As reviewers read it: with the answers that were sent last, whatever the applicant has written since then.
    pub fn into_sent(mut self) -> Self {
        if let Some(sent) = self.sendings.first() {
            self.application.answers = sent.clone();
        }
        self
    }

    /// What is known of it beside its words.
    pub fn known(&self, now: Timestamp) -> Known {
        let application = &self.application;
        let sent_at = application.state.sent().map(|sent| sent.at);
        let is_open = matches!(application.state, State::Submitted(_) | State::ChangesRequested { .. });
        let last = self.comments.iter().rfind(|comment| comment.lane == Lane::Shared);
        Known {
            earlier: self.others.iter().filter(|other| Some(other.sent_at) < sent_at).count() as i64,
            is_blocked: self.bar.as_ref().is_some_and(|bar| now < bar.until),
            is_unreachable: self.is_unreachable,
            is_unanswered: is_open && last.is_some_and(|last| last.author == application.applicant && last.kind == Kind::Comment),
        }
    }
}

#[derive(Debug, Deserialize)]
struct AttestationJson {
    clause: String,
    wording: String,
    licence_sha256: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct CommentJson {
    id: uuid::Uuid,
    author: uuid::Uuid,
    lane: String,
    kind: String,
    fields: Vec<String>,
    body: String,
    #[serde(with = "time::serde::rfc3339")]
    at: Timestamp,
}

/// How many others of its applicant a case tells of.
const OTHERS_MAX: i64 = 50;

/// The case `id`, in one statement.
pub async fn case_file(db: &mut PgConnection, id: ApplicationId) -> Result<CaseFile, Error> {
    let row = sqlx::query!(
        r#"select a.account_id as "account_id: AccountId", a.model_id as "model_id: ModelId", version, answers as "answers: Json<Answers>",
             licence_sha256, form_sha256, state, created_at, updated_at, submitted_at, due_at, claimed_by as "claimed_by: AccountId",
             claimed_at, changes_by as "changes_by: AccountId", changes_at, changes_text, changes_fields, appealed_at,
             appealed_decline_at, appeal_text, appeal_against as "appeal_against: AccountId", closed_at, decided_by as "decided_by: AccountId", decline_code, decision_text,
             checked,
             (select coalesce(jsonb_agg(s.answers order by s.number desc), '[]') from (
                 select answers, number from application_sending where application_id = $1 order by number desc limit 2) s
             ) as "sendings!: Json<Vec<Answers>>",
             (select max(sent_at) from application_sending where application_id = $1) as sent_last_at,
             (select coalesce(jsonb_agg(jsonb_build_object('clause', clause, 'wording', wording, 'licence_sha256', licence_sha256,
                     'at', attested_at) order by licence_sha256 is null, clause), '[]')
                 from attestation where application_id = $1
             ) as "attestations!: Json<Vec<AttestationJson>>",
             (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'author', author_id, 'lane', lane, 'kind', kind, 'fields', fields,
                     'body', body, 'at', written_at) order by id), '[]')
                 from application_comment where application_id = $1
             ) as "comments!: Json<Vec<CommentJson>>",
             (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'model', o.model_id, 'title', coalesce(o.title, ''),
                     'state', o.state, 'sent_at', o.submitted_at) order by o.created_at desc, o.id desc), '[]')
                 from (select id, model_id, state, submitted_at, created_at,
                         (select s.answers->>'title' from application_sending s where s.application_id = other.id order by number desc limit 1) as title
                     from application other
                     where account_id = a.account_id and id <> $1 and submitted_at is not null
                     order by created_at desc, id desc limit $2) o
             ) as "others!: Json<Vec<OtherCase>>",
             exists (select from unreachable_account u where u.account_id = a.account_id) as "is_unreachable!",
             bar.expires_at as "bar_until?", bar.reason as "bar_reason?", bar.model_id as "bar_model?: ModelId"
         from application a
         left join lateral (
             select b.expires_at, b.reason, b.model_id from block b
             where b.account_id = a.account_id and (b.model_id is null or b.model_id = a.model_id) and b.lifted_at is null
             order by b.expires_at desc
             limit 1) bar on true
         where a.id = $1"#,
        id.uuid(),
        OTHERS_MAX,
    )
    .fetch_optional(db)
    .await?
    .ok_or(Error::NotFound("application"))?;
    let application = ApplicationRow {
        id,
        account_id: row.account_id,
        model_id: row.model_id,
        version: row.version,
        answers: row.answers,
        licence_sha256: row.licence_sha256,
        form_sha256: row.form_sha256,
        state: row.state,
        created_at: row.created_at,
        updated_at: row.updated_at,
        submitted_at: row.submitted_at,
        due_at: row.due_at,
        claimed_by: row.claimed_by,
        claimed_at: row.claimed_at,
        changes_by: row.changes_by,
        changes_at: row.changes_at,
        changes_text: row.changes_text,
        changes_fields: row.changes_fields,
        appealed_at: row.appealed_at,
        appealed_decline_at: row.appealed_decline_at,
        appeal_text: row.appeal_text,
        appeal_against: row.appeal_against,
        closed_at: row.closed_at,
        decided_by: row.decided_by,
        decline_code: row.decline_code,
        decision_text: row.decision_text,
    };
    let attestations = row.attestations.0.into_iter().map(|json| Attestation {
        clause: json.clause,
        wording: json.wording,
        licence_sha256: json.licence_sha256,
        at: json.at,
    });
    let comments = row.comments.0.into_iter().map(|json| Comment {
        id: CommentId::from(json.id),
        author: AccountId::from(json.author),
        lane: if json.lane == "internal" { Lane::Internal } else { Lane::Shared },
        kind: Kind::named(&json.kind).unwrap_or(Kind::Comment),
        fields: json.fields,
        body: json.body,
        at: json.at,
    });
    Ok(CaseFile {
        application: application.application()?,
        sendings: row.sendings.0,
        sent_last_at: row.sent_last_at,
        attestations: attestations.collect(),
        comments: comments.collect(),
        checked: row.checked,
        bar: row.bar_until.zip(row.bar_reason).map(|(until, reason)| Bar { until, reason, model: row.bar_model }),
        is_unreachable: row.is_unreachable,
        others: row.others.0,
    })
}

/// Whether mail does not reach an account, and what it has sent, the newest first.
pub async fn sent_by(db: &mut PgConnection, account: AccountId) -> Result<(bool, Vec<OtherCase>), Error> {
    let row = sqlx::query!(
        r#"select exists (select from unreachable_account where account_id = $1) as "is_unreachable!",
             (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'model', o.model_id, 'title', coalesce(o.title, ''),
                     'state', o.state, 'sent_at', o.submitted_at) order by o.created_at desc, o.id desc), '[]')
                 from (select id, model_id, state, submitted_at, created_at,
                         (select s.answers->>'title' from application_sending s where s.application_id = a.id order by number desc limit 1) as title
                     from application a
                     where account_id = $1 and submitted_at is not null
                     order by created_at desc, id desc limit $2) o
             ) as "sent!: Json<Vec<OtherCase>>""#,
        account.uuid(),
        OTHERS_MAX,
    )
    .fetch_one(db)
    .await?;
    Ok((row.is_unreachable, row.sent.0))
}

/// Keeps which points of the checklist are ticked, and says whether they were others before.
pub async fn set_checked(tx: &mut PgConnection, id: ApplicationId, checked: &[String]) -> Result<bool, Error> {
    let done = sqlx::query!("update application set checked = $2 where id = $1 and checked <> $2", id.uuid(), checked,).execute(tx).await?;
    Ok(done.rows_affected() > 0)
}
