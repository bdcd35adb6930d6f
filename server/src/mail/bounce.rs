//! Mails that come back as a report (RFC 3464): the far server took them and told later that it could not deliver. The operator's mail
//! server hands the report over (`sluice mail bounce`); we take no mail ourselves.

use sqlx::PgConnection;

use super::store;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::MailId;

/// Longer reports are read to here: what we look for stands before the mail they return.
pub const REPORT_BYTES_MAX: u64 = 1 << 20;
const SAID_CHARS_MAX: usize = 500;

/// What a message was.
#[derive(Debug, PartialEq, Eq)]
pub enum Returned {
    /// A mail of ours came back, and is marked.
    Bounced {
        /// Which one.
        mail: MailId,
        /// Whom it went to.
        recipient: String,
        /// What the far server said.
        said: String,
    },
    /// A report of another kind: it is late, or it arrived.
    NotFailed(String),
    /// A report about a mail that we have not sent.
    Unknown,
    /// No report: an answer of a person or a machine.
    NoReport,
}

/// Takes one message from the operator's mail server.
pub async fn take_returned(db: &mut PgConnection, now: Timestamp, message: &[u8]) -> Result<Returned, Error> {
    let Some(report) = Report::read(&String::from_utf8_lossy(message)) else { return Ok(Returned::NoReport) };
    if report.action != "failed" {
        return Ok(Returned::NotFailed(report.action));
    }
    let Some(mail) = report.mail else { return Ok(Returned::Unknown) };
    match store::mark_bounced(db, mail, now, &report.said).await? {
        Some(recipient) => Ok(Returned::Bounced { mail, recipient, said: report.said }),
        None => Ok(Returned::Unknown),
    }
}

/// What we read of a report.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    mail: Option<MailId>,
    /// `failed`, `delayed`, `delivered`, `relayed` or `expanded`.
    action: String,
    /// Status and diagnosis of the recipient it is about.
    said: String,
}

impl Report {
    fn read(message: &str) -> Option<Self> {
        let message = message.replace("\r\n", "\n");
        // What pipes of some mail servers put in front.
        let message = if message.starts_with("From ") { message.split_once('\n')?.1 } else { &message };
        let (head, body) = split(message);
        let boundary = boundary_of(&head.get("content-type")?)?;
        let (mut status, mut original) = (None, None);
        for part in body.split(&format!("--{boundary}")).skip(1) {
            let (head, content) = split(part.trim_start_matches('\n'));
            let media_type = head.get("content-type").unwrap_or_default().to_ascii_lowercase();
            match media_type.split(';').next().unwrap_or_default().trim() {
                "message/delivery-status" | "message/global-delivery-status" if status.is_none() => status = Some(content),
                "message/rfc822" | "text/rfc822-headers" | "message/rfc822-headers" | "message/global" | "message/global-headers" => {
                    original = original.or(split(content.trim_start_matches('\n')).0.get("message-id"));
                }
                _ => {}
            }
        }
        // The first group of fields is about the report, each further one about a recipient; we write to one at a time.
        let recipients = status?.split("\n\n").skip(1).map(Fields::read).filter(|fields| fields.get("action").is_some());
        let recipients: Vec<Fields> = recipients.collect();
        let about = recipients.iter().find(|fields| fields.is("action", "failed")).or(recipients.first())?;
        let mail = [original, head.get("in-reply-to"), head.get("references")].into_iter().flatten().find_map(|text| id_in(&text));
        let diagnosis =
            about.get("diagnostic-code").map(|text| text.split_once(';').map_or(text.clone(), |(_, said)| said.trim().to_owned()));
        let said = format!("{} {}", about.get("status").unwrap_or_default(), diagnosis.unwrap_or_default());
        let said = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect::<String>().trim().to_owned();
        Some(Self {
            mail,
            action: about.get("action")?.trim().to_ascii_lowercase(),
            said: if said.is_empty() { "no reason was given".into() } else { said },
        })
    }
}

/// Header fields, unfolded, their names in small letters.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn read(text: &str) -> Self {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            match (line.starts_with([' ', '\t']), fields.last_mut(), line.split_once(':')) {
                (true, Some((_, value)), _) => {
                    value.push(' ');
                    value.push_str(line.trim());
                }
                (_, _, Some((name, value))) => fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned())),
                _ => {}
            }
        }
        Self(fields)
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|found| found.trim().eq_ignore_ascii_case(value))
    }
}

/// Head and body.
fn split(message: &str) -> (Fields, &str) {
    let (head, body) = message.split_once("\n\n").unwrap_or((message, ""));
    (Fields::read(head), body)
}

/// The boundary of a report's parts, if this is a report's type.
fn boundary_of(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/report") {
        return None;
    }
    let found = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    });
    found.filter(|boundary| !boundary.is_empty())
}

/// The first id of ours in a list such as `<mail_…@lab.example> <x@y>`.
fn id_in(text: &str) -> Option<MailId> {
    text.split('<').find_map(|rest| rest.trim().split_once('@')?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "mail_01jd0000000000000000000000";

    fn report(action: &str, original: &str) -> String {
        format!(
            "From MAILER-DAEMON Mon Mar  2 09:00:00 2026\nReturn-Path: <>\nFrom: MAILER-DAEMON@mx.example (Mail Delivery System)\n\
             Subject: Undelivered Mail\nContent-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"9B095B5ADSN=_x/mx\"\n\
             MIME-Version: 1.0\n\nThis is a MIME-encapsulated message.\n\n--9B095B5ADSN=_x/mx\nContent-Type: text/plain\n\nI'm sorry.\n\n\
             --9B095B5ADSN=_x/mx\nContent-Description: Delivery report\nContent-Type: message/delivery-status\n\n\
             Reporting-MTA: dns; mx.example\nArrival-Date: Mon, 2 Mar 2026 09:00:00 +0000\n\n\
             Final-Recipient: rfc822; ada@university.edu\nOriginal-Recipient: rfc822;ada@university.edu\nAction: {action}\nStatus: 5.1.1\n\
             Diagnostic-Code: smtp; 550 5.1.1 <ada@university.edu>: no such\n    mailbox\u{7}\n\n\
             --9B095B5ADSN=_x/mx\nContent-Type: {original}\n\nFrom: Sluice <sluice@lab.example>\nMessage-ID: <{ID}@lab.example>\n\n\
             --9B095B5ADSN=_x/mx--\n"
        )
    }

    #[test]
    fn a_report_says_which_mail_came_back_and_why() {
        for (original, crlf) in [("text/rfc822-headers", false), ("message/rfc822", true)] {
            let text = report("failed", original);
            let read = Report::read(&if crlf { text.replace('\n', "\r\n") } else { text }).expect("a report");
            assert_eq!(read.mail.map(|id| id.to_string()).as_deref(), Some(ID));
            assert_eq!((read.action.as_str(), read.said.as_str()), ("failed", "5.1.1 550 5.1.1 <ada@university.edu>: no such mailbox"));
        }
        assert_eq!(Report::read(&report("delayed", "message/rfc822")).expect("a report").action, "delayed");
    }

    #[test]
    fn a_report_without_the_mail_names_it_in_its_own_head() {
        let text = report("failed", "text/plain").replacen("Return-Path: <>", &format!("References: <x@y> <{ID}@lab.example>"), 1);
        assert_eq!(Report::read(&text).expect("a report").mail.map(|id| id.to_string()).as_deref(), Some(ID));
    }

    #[test]
    fn what_is_no_report_is_none_whatever_it_is() {
        for text in [
            "",
            "\n",
            "From x",
            "Subject: I am away\n\nBack in May.",
            "Content-Type: multipart/report\n\n",
            "Content-Type: multipart/report; boundary=\"\"\n\nx",
        ] {
            assert_eq!(Report::read(text), None, "{text:?}");
        }
        assert_eq!(Report::read(&report("failed", "message/rfc822").replace("message/delivery-status", "text/plain")), None);
    }

    proptest::proptest! {
        #[test]
        fn no_message_is_too_strange(text: String, at in 0usize..900) {
            let mut broken = report("failed", "message/rfc822");
            if broken.is_char_boundary(at) { broken.insert_str(at, &text); }
            drop((Report::read(&text), Report::read(&broken)));
        }
    }
}
