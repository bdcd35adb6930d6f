//! The state machine against an independent model: every state × every actor × every command, and sequences of commands.

use proptest::prelude::*;
use time::Duration;
use time::macros::datetime;

use super::answers::Answers;
use super::application::{APPEAL, Application, Approval, CHANGES_LIFE, DRAFT_LIFE, UNDO, WORDS_CHARS_MAX};
use super::check::tests::{LICENCE, complete};
use super::decline::DeclineReason;
use super::form::Form;
use super::grant::GRANT_LIFE_MAX;
use super::scope::GrantScope;
use super::state::{Appeal, Changes, Claim, Sent, State};
use crate::clock::Timestamp;
use crate::error::{Error, Refusal};
use crate::ids::{AccountId, ModelId};

const NOW: Timestamp = datetime!(2026-03-02 12:00 UTC);
const SENT: Timestamp = datetime!(2026-02-27 09:00 UTC);
const PROMISE: Duration = Duration::days(7);

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Actor {
    Applicant,
    /// Who has claimed it, or decided, or whose decline an appeal is against.
    Grace,
    /// Another reviewer.
    Barbara,
}

const ACTORS: [Actor; 3] = [Actor::Applicant, Actor::Grace, Actor::Barbara];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    SaveDraft,
    Submit,
    Withdraw,
    Claim,
    Release,
    Check,
    RequestChanges,
    Approve,
    Decline,
    Undo,
    Appeal,
    Lapse,
}

const COMMANDS: [Command; 12] = [
    Command::SaveDraft,
    Command::Submit,
    Command::Withdraw,
    Command::Claim,
    Command::Release,
    Command::Check,
    Command::RequestChanges,
    Command::Approve,
    Command::Decline,
    Command::Undo,
    Command::Appeal,
    Command::Lapse,
];

/// Every state with what else decides: who has claimed it, whether there was an appeal, how long ago.
const STATES: [&str; 16] = [
    "draft",
    "draft, old",
    "submitted",
    "submitted, claimed",
    "submitted, appeal",
    "submitted, appeal claimed",
    "changes_requested",
    "changes_requested, old",
    "approved",
    "approved, long ago",
    "declined",
    "declined, long ago",
    "declined, past appeal",
    "declined again",
    "withdrawn",
    "lapsed",
];

struct People {
    ada: AccountId,
    grace: AccountId,
    barbara: AccountId,
}

impl People {
    fn new() -> Self {
        Self { ada: AccountId::fresh(), grace: AccountId::fresh(), barbara: AccountId::fresh() }
    }

    fn id(&self, actor: Actor) -> AccountId {
        match actor {
            Actor::Applicant => self.ada,
            Actor::Grace => self.grace,
            Actor::Barbara => self.barbara,
        }
    }
}

fn application(people: &People, state: &str) -> Application {
    let (grace, barbara) = (people.grace, people.barbara);
    let just_now = NOW - Duration::minutes(3);
    let long_ago = NOW - UNDO;
    let appeal = Appeal {
        at: NOW - Duration::hours(1),
        text: "You overlooked page 3.".into(),
        against: grace,
        declined_at: NOW - Duration::days(1),
    };
    let plain = Sent { at: SENT, due_at: SENT + PROMISE, claim: None, appeal: None };
    let claimed = Sent { claim: Some(Claim { by: grace, at: SENT }), ..plain.clone() };
    let appealed = Sent { appeal: Some(appeal), ..plain };
    let changes = |at| Changes { by: grace, at, text: "Which data?".into(), fields: vec!["summary".into()] };
    let declined =
        |by, at, sent: &Sent| State::Declined { sent: sent.clone(), by, at, reason: DeclineReason::Duplicate, text: String::new() };
    let approved = |at| State::Approved { sent: claimed.clone(), by: grace, at, note: String::new() };
    let (state, updated_at) = match state {
        "draft" => (State::Draft, just_now),
        "draft, old" => (State::Draft, NOW - DRAFT_LIFE),
        "submitted" => (State::Submitted(plain), SENT),
        "submitted, claimed" => (State::Submitted(claimed.clone()), SENT),
        "submitted, appeal" => (State::Submitted(appealed), just_now),
        "submitted, appeal claimed" => (State::Submitted(Sent { claim: Some(Claim { by: barbara, at: just_now }), ..appealed }), just_now),
        "changes_requested" => (State::ChangesRequested { sent: claimed.clone(), changes: changes(just_now) }, just_now),
        "changes_requested, old" => (State::ChangesRequested { sent: claimed.clone(), changes: changes(NOW - CHANGES_LIFE) }, just_now),
        "approved" => (approved(just_now), just_now),
        "approved, long ago" => (approved(long_ago), long_ago),
        "declined" => (declined(grace, just_now, &claimed), just_now),
        "declined, long ago" => (declined(grace, long_ago, &claimed), long_ago),
        "declined, past appeal" => (declined(grace, NOW - APPEAL, &claimed), NOW - APPEAL),
        "declined again" => (declined(barbara, just_now, &appealed), just_now),
        "withdrawn" => (State::Withdrawn { sent: Some(plain), at: just_now }, just_now),
        "lapsed" => (State::Lapsed { sent: None, at: just_now }, just_now),
        other => panic!("{other} is no state"),
    };
    let begun = Application::begin(people.ada, ModelId::fresh(), SENT);
    Application { answers: Answers::from_fields(Form::built_in(), complete(Some(LICENCE))), updated_at, state, ..begun }
}

fn everything(until: Timestamp) -> Approval<'static> {
    Approval { until, scopes: &GrantScope::ALL, note: "" }
}

fn run(application: Application, people: &People, actor: Actor, command: Command, now: Timestamp) -> Result<Application, Error> {
    let by = people.id(actor);
    match command {
        Command::SaveDraft => application.save_draft(Answers::from_fields(Form::built_in(), complete(Some(LICENCE))), now),
        Command::Submit => application.submit(Form::built_in(), Some(LICENCE), PROMISE, now).map(|(application, _)| application),
        Command::Withdraw => application.withdraw(now),
        Command::Claim => application.claim(by, now),
        Command::Release => application.release(by, now),
        Command::Check => application.check(by, now),
        Command::RequestChanges => application.request_changes(by, "Which data?", vec![], now),
        Command::Approve => application.approve(by, everything(now + Duration::days(30)), now).map(|(application, _)| application),
        Command::Decline => application.decline(by, DeclineReason::PurposeUnclear, "Which data?", now),
        Command::Undo => application.undo(by, now),
        Command::Appeal => application.appeal("You overlooked page 3.", PROMISE, now),
        Command::Lapse => application.lapse(now),
    }
}

/// The whole machine, written apart from it: the state a command leads to, or none where it is refused. The commands of an applicant
/// are asked by the applicant alone (the door sees to that), so who acts does not matter for them.
fn expected(state: &str, actor: Actor, command: Command) -> Option<&'static str> {
    use Actor::{Applicant, Barbara, Grace};
    use Command::{Appeal, Approve, Check, Claim, Decline, Lapse, Release, RequestChanges, SaveDraft, Submit, Undo, Withdraw};
    let to = match command {
        Claim | Check => "submitted",
        Approve => "approved",
        Decline => "declined",
        RequestChanges => "changes_requested",
        _ => "",
    };
    match (state, command, actor) {
        ("draft" | "draft, old", SaveDraft, _) => Some("draft"),
        ("changes_requested" | "changes_requested, old", SaveDraft, _) => Some("changes_requested"),
        ("draft" | "draft, old" | "changes_requested" | "changes_requested, old", Submit, _) => Some("submitted"),
        ("draft, old" | "changes_requested, old", Lapse, _) => Some("lapsed"),
        ("draft" | "draft, old" | "changes_requested" | "changes_requested, old", Withdraw, _) => Some("withdrawn"),
        (open, Withdraw, _) if open.starts_with("submitted") => Some("withdrawn"),
        ("submitted", Claim | Check | Approve | Decline | RequestChanges, Grace | Barbara) => Some(to),
        ("submitted, claimed", Claim | Check | Approve | Decline | RequestChanges, Grace) => Some(to),
        ("submitted, claimed", Claim, Barbara) => Some(to),
        ("submitted, claimed", Release, Grace) => Some("submitted"),
        ("submitted, appeal" | "submitted, appeal claimed", Claim | Check | Approve | Decline | RequestChanges, Barbara) => Some(to),
        ("submitted, appeal claimed", Release, Barbara) => Some("submitted"),
        ("approved" | "declined", Undo, Grace) => Some("submitted"),
        ("declined again", Undo, Barbara) => Some("submitted"),
        ("declined" | "declined, long ago", Appeal, _) => Some("submitted"),
        (_, _, Applicant | Grace | Barbara) => None,
    }
}

#[test]
fn every_command_of_everybody_in_every_state_leads_where_the_table_says() {
    let people = People::new();
    for state in STATES {
        for actor in ACTORS {
            for command in COMMANDS {
                let before = application(&people, state);
                match (run(before.clone(), &people, actor, command, NOW), expected(state, actor, command)) {
                    (Ok(after), Some(to)) => {
                        assert_eq!(after.state.as_str(), to, "{state} × {actor:?} × {command:?}");
                        assert_eq!((after.updated_at, after.version), (NOW, before.version + 1));
                        let place = |application: &Application| application.state.sent().map(|sent| sent.at);
                        assert!(place(&before).is_none() || place(&before) == place(&after), "{state} × {command:?}: the place is lost");
                    }
                    (Err(Error::Conflict(why)), None) => assert!(!why.is_empty()),
                    (Err(Error::Forbidden(Refusal { code, .. })), None) => {
                        assert!(["own_application", "own_decision", "not_your_decision"].contains(&code), "{code}");
                    }
                    (outcome, expected) => panic!("{state} × {actor:?} × {command:?}: expected {expected:?}, got {outcome:?}"),
                }
            }
        }
    }
}

proptest! {
    /// Whatever is done in whatever order: the place in the queue stays, versions rise one at a time, nobody decides on their own or on
    /// the appeal against them, there is one appeal at most, and what is closed opens by an undo or an appeal alone.
    #[test]
    fn no_sequence_of_commands_breaks_what_has_to_hold(steps in prop::collection::vec((0..ACTORS.len(), 0..COMMANDS.len(), 0i64..20_000), 1..60)) {
        let people = People::new();
        let mut now = NOW;
        let mut current = Application::begin(people.ada, ModelId::fresh(), now).save_draft(Answers::from_fields(Form::built_in(), complete(Some(LICENCE))), now)?;
        let mut appeals = 0;
        for (actor, command, minutes) in steps {
            now += Duration::minutes(minutes);
            let (actor, command) = (ACTORS[actor], COMMANDS[command]);
            let Ok(after) = run(current.clone(), &people, actor, command, now) else { continue };
            prop_assert_eq!(after.version, current.version + 1);
            if let (Some(before), Some(is)) = (current.state.sent(), after.state.sent()) {
                prop_assert_eq!(before.at, is.at);
                prop_assert!(is.due_at >= before.due_at || command == Command::Appeal);
            }
            if !current.state.is_open() {
                prop_assert!(matches!(command, Command::Undo | Command::Appeal), "{:?} opened what was closed", command);
            }
            appeals += usize::from(command == Command::Appeal);
            prop_assert!(appeals <= 1);
            if let State::Approved { sent, by, .. } | State::Declined { sent, by, .. } = &after.state {
                prop_assert_ne!(*by, people.ada);
                prop_assert!(sent.appeal.as_ref().is_none_or(|appeal| appeal.against != *by));
                prop_assert!(sent.claim.is_none_or(|claim| claim.by == *by));
            }
            current = after;
        }
    }
}

#[test]
fn the_promise_moves_on_by_what_the_applicant_takes() {
    let people = People::new();
    let asked = application(&people, "changes_requested");
    let (again, _) = asked.clone().submit(Form::built_in(), Some(LICENCE), PROMISE, NOW + Duration::days(3)).expect("it is complete");
    let due = |application: &Application| application.state.sent().expect("it was sent").due_at;
    assert_eq!(due(&again) - due(&asked), Duration::days(3) + Duration::minutes(3));
    assert_eq!(again.state.sent().and_then(|sent| sent.claim).map(|claim| claim.by), Some(people.grace), "the same reviewer reads it");
}

#[test]
fn whoever_acts_on_what_they_did_not_see_is_told() {
    let seen = application(&People::new(), "submitted");
    assert!(seen.clone().seen_as(Some(seen.version)).is_ok());
    assert!(seen.clone().seen_as(None).is_ok());
    assert!(matches!(seen.clone().seen_as(Some(seen.version + 1)), Err(Error::Stale(_))));
}

#[test]
fn a_grant_ends_within_a_year_and_not_before_it_begins() {
    let people = People::new();
    let until = |until| application(&people, "submitted").approve(people.grace, everything(until), NOW).map(|(_, grant)| grant);
    let grant = until(NOW + GRANT_LIFE_MAX).expect("a year is allowed");
    assert_eq!((grant.granted_at, grant.expires_at), (NOW, NOW + GRANT_LIFE_MAX));
    for wrong in [NOW, NOW - Duration::days(1), NOW + GRANT_LIFE_MAX + Duration::seconds(1)] {
        assert!(matches!(until(wrong), Err(Error::Invalid(faults)) if faults[0].field == "until"), "{wrong}");
    }
}

#[test]
fn a_grant_is_for_what_was_chosen_and_for_something() {
    let people = People::new();
    let chosen = |scopes: &[GrantScope]| {
        application(&people, "submitted").approve(people.grace, Approval { scopes, ..everything(NOW + Duration::days(30)) }, NOW)
    };
    let (_, grant) = chosen(&[GrantScope::Api, GrantScope::Download, GrantScope::Api]).expect("two of the three");
    assert_eq!(grant.scopes, [GrantScope::Download, GrantScope::Api]);
    assert!(matches!(chosen(&[]), Err(Error::Invalid(faults)) if faults[0].field == "scopes"));
}

#[test]
fn what_has_to_be_said_in_words_is() {
    let people = People::new();
    let waiting = || application(&people, "submitted");
    let declined = |text: &str| waiting().decline(people.grace, DeclineReason::Other, text, NOW);
    for reason in DeclineReason::ALL {
        let silent = waiting().decline(people.grace, reason, " \r\n ", NOW);
        assert!(matches!(silent, Err(Error::Invalid(faults)) if faults[0].field == "text"), "{reason:?}");
        assert_eq!(reason.words().is_empty(), reason == DeclineReason::Other, "{reason:?} brings words to begin with");
    }
    assert!(declined("The project ended in January.").is_ok());
    assert!(declined(&"x".repeat(WORDS_CHARS_MAX + 1)).is_err());
    assert!(matches!(waiting().request_changes(people.grace, " ", vec![], NOW), Err(Error::Invalid(faults)) if faults[0].field == "text"));
    let appealed = application(&people, "declined").appeal("\u{0}", PROMISE, NOW);
    assert!(matches!(appealed, Err(Error::Invalid(faults)) if faults[0].field == "appeal"));
}

#[test]
fn what_is_not_complete_stays_a_draft() {
    let draft = application(&People::new(), "draft").save_draft(Answers::default(), NOW).expect("drafts keep anything");
    assert!(matches!(draft.submit(Form::built_in(), Some(LICENCE), PROMISE, NOW), Err(Error::Invalid(faults)) if faults.len() > 10));
}
