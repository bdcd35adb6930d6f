//! What has happened to an application, told out of the record: every step with its moment, and for reviewers with who took it.

use super::people::People;
use crate::audit;
use crate::clock::Timestamp;
use crate::http::when;
use crate::ids::AccountId;

/// How much of the record is read for it: more than there are comments in a full thread.
pub(super) const EVENTS_MAX: i64 = 1_000;

/// One step, as reviewers read it.
pub(super) struct Happened {
    pub(super) what: &'static str,
    /// Who did it; nobody where the portal did.
    pub(super) by: Option<String>,
    pub(super) at: String,
    /// Whether the thread tells of it, and not the list of steps.
    pub(super) is_in_thread: bool,
}

/// What happened to a case and was written about it, in its order, for reviewers. `events`: the newest first, as the record pages.
pub(super) fn for_reviewer(events: &[audit::Row], people: &People) -> Vec<Happened> {
    let mut claimed_by: Option<AccountId> = None;
    let mut told = Vec::new();
    for event in events.iter().rev() {
        let is_taken_over = claimed_by.is_some() && claimed_by != event.actor;
        let what = match event.kind.as_str() {
            "application.submitted" => "Sent",
            "application.resubmitted" => "Sent again",
            "application.claimed" if is_taken_over => "Taken over",
            "application.claimed" => "Claimed",
            "application.released" => "Given back",
            "application.changes_requested" => "Changes asked for",
            "application.approved" => "Approved",
            "application.declined" => "Declined",
            "application.decision_undone" => "Decision taken back",
            "application.appealed" => "Appealed",
            "application.withdrawn" => "Withdrawn",
            "application.lapsed" => "Lapsed",
            "application.comment_written" => "Comment written",
            "application.note_written" => "Internal comment written",
            _ => continue,
        };
        let is_in_thread = matches!(event.kind.as_str(), "application.comment_written" | "application.note_written");
        claimed_by = match event.kind.as_str() {
            "application.claimed" | "application.decision_undone" => event.actor,
            "application.changes_requested" => claimed_by.or(event.actor),
            "application.released" | "application.appealed" => None,
            _ => claimed_by,
        };
        told.push(Happened { what, by: event.actor.map(|actor| people.name(actor)), at: when::minute(event.at), is_in_thread });
    }
    told
}

/// What has happened between the first sending and now, for the applicant: how often it went to and fro. What was taken back before its
/// mail left never happened to them.
pub(super) fn for_applicant(events: &[audit::Row]) -> Vec<(&'static str, Timestamp)> {
    let mut steps: Vec<(&'static str, Timestamp)> = Vec::new();
    for event in events.iter().rev() {
        let what = match event.kind.as_str() {
            "application.resubmitted" => "Sent again",
            "application.changes_requested" => "Changes asked for",
            "application.approved" => "Approved",
            "application.declined" => "Declined",
            "application.appealed" => "You appealed",
            "application.decision_undone" => {
                steps.pop();
                continue;
            }
            _ => continue,
        };
        steps.push((what, event.at));
    }
    steps
}
