//! Everything that is kept of a person, as one JSON document in parts: a page of rows is read when the one before was taken, so that
//! no archive is too long.

use serde_json::{Value, json};
use sqlx::PgConnection;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::printed::printed;
use crate::error::Error;
use crate::ids::{
    AccountId, ApplicationId, BlockId, DeviceSignInId, DownloadId, GenerationId, GrantId, LinkId, MailId, SessionId, TokenId,
};
use crate::portal::Portal;
use crate::{access, accounts, audit, downloads, mail, playground};

/// Rows fetched at once.
const PAGE_ROWS: i64 = 500;
/// What stands at the beginning, for whoever opens the file years later.
const WHAT: &str = "Everything this portal keeps about you. Times are UTC. Passwords, tokens and links are kept as hashes alone and are left \
                    out; so are the words of mails, and what reviewers write to each other. Prompts and answers of models are never kept.";

/// What is in the archive behind the account, in order.
#[derive(Clone, Copy)]
enum Section {
    Sessions,
    Browsers,
    Tokens,
    Links,
    Programs,
    Applications,
    Grants,
    Blocks,
    Downloads,
    Generations,
    MailChoices,
    Mails,
    Events,
}

const SECTIONS: [Section; 13] = [
    Section::Sessions,
    Section::Browsers,
    Section::Tokens,
    Section::Links,
    Section::Programs,
    Section::Applications,
    Section::Grants,
    Section::Blocks,
    Section::Downloads,
    Section::Generations,
    Section::MailChoices,
    Section::Mails,
    Section::Events,
];

/// How far the reader has come.
enum Place {
    Beginning,
    /// In this section; behind the row that is named so, if there was one.
    At(usize, Option<String>),
    End,
}

/// The archive of one person, to be read from its beginning to its end.
pub struct Archive {
    account: AccountId,
    place: Place,
}

impl Archive {
    /// Of this account.
    pub fn of(account: AccountId) -> Self {
        Self { account, place: Place::Beginning }
    }

    /// The next part, which ends where white space may stand; nothing when all was read.
    pub async fn next(&mut self, portal: &Portal) -> Result<Option<String>, Error> {
        let mut db = portal.db.acquire().await?;
        match std::mem::replace(&mut self.place, Place::End) {
            Place::Beginning => {
                let mut account = accounts::account_row(&mut db, self.account).await?;
                printed(&mut account, |id| AccountId::from(id).to_string());
                let made_at = portal.clock.now().format(&Rfc3339).unwrap_or_default();
                self.place = Place::At(0, None);
                Ok(Some(format!("{{\"what\":{},\"made_at\":{},\"account\":{account},", json!(WHAT), json!(made_at))))
            }
            Place::At(at, after) => {
                let Some(section) = SECTIONS.get(at).copied() else { return Ok(Some("}".into())) };
                let mut rows = self.rows(&mut db, section, after.as_deref()).await?;
                let last = rows.last().map(cursor).filter(|_| section.is_paged() && rows.len() as i64 == PAGE_ROWS);
                rows.iter_mut().for_each(|row| printed(row, section.own()));
                let begin = if after.is_some() { String::new() } else { format!("\"{}\":[", section.name()) };
                let comma = if after.is_some() && !rows.is_empty() { "," } else { "" };
                let lines = rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(",\n");
                let end = match (&last, at + 1 == SECTIONS.len()) {
                    (Some(_), _) => "",
                    (None, false) => "],",
                    (None, true) => "]",
                };
                self.place = if last.is_some() { Place::At(at, last) } else { Place::At(at + 1, None) };
                Ok(Some(format!("{begin}{comma}{lines}{end}")))
            }
            Place::End => Ok(None),
        }
    }

    async fn rows(&self, db: &mut PgConnection, section: Section, after: Option<&str>) -> Result<Vec<Value>, Error> {
        let id = self.account;
        let uuid = after.and_then(|after| after.parse::<Uuid>().ok());
        match section {
            Section::Sessions => accounts::session_rows(db, id).await,
            Section::Browsers => accounts::browser_rows(db, id).await,
            Section::Tokens => accounts::token_rows(db, id).await,
            Section::Links => accounts::link_rows(db, id).await,
            Section::Programs => accounts::device_rows(db, id).await,
            Section::Applications => access::application_rows(db, id, uuid.map(ApplicationId::from), PAGE_ROWS).await,
            Section::Grants => access::grant_rows(db, id).await,
            Section::Blocks => access::block_rows(db, id).await,
            Section::Downloads => downloads::rows_of(db, id, uuid.map(DownloadId::from), PAGE_ROWS).await,
            Section::Generations => playground::rows_of(db, id, uuid.map(GenerationId::from), PAGE_ROWS).await,
            Section::MailChoices => {
                let address = accounts::find_account(db, id).await?.email;
                mail::choice_rows(db, address.as_str()).await
            }
            Section::Mails => {
                let address = accounts::find_account(db, id).await?.email;
                mail::rows_to(db, address.as_str(), uuid.map(MailId::from), PAGE_ROWS).await
            }
            Section::Events => events(db, id, after.and_then(|after| after.parse().ok()).unwrap_or(0)).await,
        }
    }
}

impl Section {
    fn name(self) -> &'static str {
        match self {
            Section::Sessions => "sessions",
            Section::Browsers => "browsers",
            Section::Tokens => "tokens",
            Section::Links => "links",
            Section::Programs => "programs_signed_in",
            Section::Applications => "applications",
            Section::Grants => "grants",
            Section::Blocks => "blocks",
            Section::Downloads => "downloads",
            Section::Generations => "generations",
            Section::MailChoices => "mail_choices",
            Section::Mails => "mails",
            Section::Events => "record",
        }
    }

    /// Whether its rows come a page at a time. The others are few, and come at once.
    fn is_paged(self) -> bool {
        match self {
            Section::Applications | Section::Downloads | Section::Generations | Section::Mails | Section::Events => true,
            Section::Sessions
            | Section::Browsers
            | Section::Tokens
            | Section::Links
            | Section::Programs
            | Section::Grants
            | Section::Blocks
            | Section::MailChoices => false,
        }
    }

    /// How the id of a row is printed.
    fn own(self) -> fn(Uuid) -> String {
        match self {
            Section::Sessions => |id| SessionId::from(id).to_string(),
            Section::Tokens => |id| TokenId::from(id).to_string(),
            Section::Links => |id| LinkId::from(id).to_string(),
            Section::Programs => |id| DeviceSignInId::from(id).to_string(),
            Section::Applications => |id| ApplicationId::from(id).to_string(),
            Section::Grants => |id| GrantId::from(id).to_string(),
            Section::Blocks => |id| BlockId::from(id).to_string(),
            Section::Downloads => |id| DownloadId::from(id).to_string(),
            Section::Generations => |id| GenerationId::from(id).to_string(),
            Section::Mails => |id| MailId::from(id).to_string(),
            Section::Browsers | Section::MailChoices | Section::Events => |id| id.to_string(),
        }
    }
}

/// What the next page begins behind.
fn cursor(row: &Value) -> String {
    let id = row.get("id").or_else(|| row.get("seq"));
    id.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)).unwrap_or_default()
}

/// What the account did, and what was done about it.
async fn events(db: &mut PgConnection, account: AccountId, after: i64) -> Result<Vec<Value>, Error> {
    let subjects = subjects(db, account).await?;
    let rows = audit::about(db, account, &subjects, after, PAGE_ROWS).await?;
    let rows = rows.into_iter().map(|row| {
        let at = row.at.format(&Rfc3339).unwrap_or_default();
        json!({ "seq": row.seq, "at": at, "actor": row.actor, "kind": row.kind, "subject": row.subject, "detail": row.detail })
    });
    Ok(rows.collect())
}

/// The printed ids of the account and of everything that is about it.
pub(super) async fn subjects(db: &mut PgConnection, account: AccountId) -> Result<Vec<String>, Error> {
    let mut subjects = access::subjects_of(db, account).await?;
    subjects.extend(accounts::token_ids(db, account).await?.iter().map(ToString::to_string));
    subjects.push(account.to_string());
    Ok(subjects)
}
