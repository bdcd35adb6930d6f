//! All that a reviewer reads of one case besides the people.

use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::super::answers::Answers;
use super::super::application::Application;
use super::super::check::Attestation;
use super::super::comment::{Comment, Kind, Lane};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, CommentId};

/// One case.
pub struct CaseFile {
    /// Where it stands.
    pub application: Application,
    /// The answers as they were sent last, and the time before.
    pub sendings: Vec<Answers>,
    /// What was attested.
    pub attestations: Vec<Attestation>,
    /// The thread, the oldest first, with what reviewers wrote among themselves.
    pub comments: Vec<Comment>,
    /// The points of the checklist that are ticked.
    pub checked: Vec<String>,
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

/// The case `id`. Two statements: the second reads what belongs to the first.
pub async fn case_file(db: &mut PgConnection, id: ApplicationId) -> Result<CaseFile, Error> {
    let application = super::find(db, id).await?;
    let row = sqlx::query!(
        r#"select a.checked,
             (select coalesce(jsonb_agg(s.answers order by s.number desc), '[]') from (
                 select answers, number from application_sending where application_id = $1 order by number desc limit 2) s
             ) as "sendings!: Json<Vec<Answers>>",
             (select coalesce(jsonb_agg(jsonb_build_object('clause', clause, 'wording', wording, 'licence_sha256', licence_sha256,
                     'at', attested_at) order by licence_sha256 is null, clause), '[]')
                 from attestation where application_id = $1
             ) as "attestations!: Json<Vec<AttestationJson>>",
             (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'author', author_id, 'lane', lane, 'kind', kind, 'fields', fields,
                     'body', body, 'at', written_at) order by id), '[]')
                 from application_comment where application_id = $1
             ) as "comments!: Json<Vec<CommentJson>>"
         from application a where a.id = $1"#,
        id.uuid(),
    )
    .fetch_one(db)
    .await?;
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
        application,
        sendings: row.sendings.0,
        attestations: attestations.collect(),
        comments: comments.collect(),
        checked: row.checked,
    })
}

/// Keeps which points of the checklist are ticked. Errors: `NotFound` if it was never sent.
pub async fn set_checked(db: &mut PgConnection, id: ApplicationId, checked: &[String]) -> Result<(), Error> {
    let done = sqlx::query!("update application set checked = $2 where id = $1 and submitted_at is not null", id.uuid(), checked)
        .execute(db)
        .await?;
    if done.rows_affected() == 0 { Err(Error::NotFound("application")) } else { Ok(()) }
}
