//! The state machine against an independent model: every state × every actor × every command, and sequences of commands.

use proptest::prelude::*;
use time::Duration;
use time::macros::datetime;

use super::answers::Answers;
use super::application::{APPEAL, Application, Approval, CHANGES_LIFE, DRAFT_LIFE, UNDO, WORDS_CHARS_MAX};
use super::check::tests::{LICENCE, complete};
use super::decline::DeclineReason;
use super::each::{changes, is_refused};
use super::form::Form;
use super::grant::GRANT_LIFE_MAX;
use super::scope::GrantScope;
use super::state::{Appeal, Changes, Claim, Sent, State};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ModelId};

const NOW: Timestamp = datetime!(2026-03-02 12:00 UTC);
const SENT: Timestamp = datetime!(2026-02-27 09:00 UTC);
const PROMISE: Duration = Duration::days(7);

each! {
    /// Who acts. That it is a reviewer or an admin at all is the door's to see to (`tests/journeys/foreign_ids.rs`).
    Actor {
        /// Who applies, and is a reviewer as well.
        Applicant,
        /// Who sees to it, where somebody does.
        Claimer,
        /// Who declined it, where an appeal is possible or was made.
        Decliner,
        /// Another reviewer.
        Another,
        Admin,
    }
}

each! {
    /// What a reviewer does.
    Verb { Claim, Release, Check, RequestChanges, Approve, Decline, Undo }
}

each! {
    /// What the applicant does, who is the only one the door lets do it, or time.
    Unasked { SaveDraft, Submit, Withdraw, Appeal, Lapse }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Of(Unasked),
    By(Verb, Actor),
}

impl Command {
    fn all() -> impl Iterator<Item = Command> {
        let by = Verb::ALL.iter().flat_map(|verb| Actor::ALL.iter().map(|actor| Command::By(*verb, *actor)));
        Unasked::ALL.iter().map(|unasked| Command::Of(*unasked)).chain(by)
    }

    /// The function of [`Application`] that does it.
    fn function(self) -> &'static str {
        match self {
            Command::Of(Unasked::SaveDraft) => "save_draft",
            Command::Of(Unasked::Submit) => "submit",
            Command::Of(Unasked::Withdraw) => "withdraw",
            Command::Of(Unasked::Appeal) => "appeal",
            Command::Of(Unasked::Lapse) => "lapse",
            Command::By(Verb::Claim, _) => "claim",
            Command::By(Verb::Release, _) => "release",
            Command::By(Verb::Check, _) => "check",
            Command::By(Verb::RequestChanges, _) => "request_changes",
            Command::By(Verb::Approve, _) => "approve",
            Command::By(Verb::Decline, _) => "decline",
            Command::By(Verb::Undo, _) => "undo",
        }
    }
}

each! {
    /// Every state with what else decides: who sees to it, whether there was an appeal, how long ago.
    Case {
        Draft,
        DraftOld,
        Submitted,
        Claimed,
        Changes,
        ChangesOld,
        Approved,
        ApprovedLongAgo,
        Declined,
        DeclinedByClaimer,
        DeclinedLongAgo,
        DeclinedPastAppeal,
        Appealed,
        AppealClaimed,
        AppealChanges,
        AppealChangesOld,
        AppealApproved,
        AppealApprovedLongAgo,
        AppealDeclined,
        AppealDeclinedLongAgo,
        WithdrawnUnsent,
        WithdrawnSent,
        WithdrawnAppeal,
        LapsedUnsent,
        LapsedSent,
        LapsedAppeal,
    }
}

/// Whose turn it is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Unsent,
    Reviewer,
    Applicant,
    Approved,
    Declined,
    Withdrawn,
    Lapsed,
}

/// How long ago it came there, as far as that decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    JustNow,
    /// Too old to be taken back; for what waits for its applicant: old enough to lapse.
    Old,
    /// Too old to be appealed.
    Ancient,
}

/// All that the table has to know of a case.
struct Facts {
    turn: Turn,
    claimed: Option<Actor>,
    against: Option<Actor>,
    decided: Option<Actor>,
    age: Age,
}

#[rustfmt::skip]
fn facts(case: Case) -> Facts {
    use Actor::{Claimer, Decliner};
    let (turn, claimed, against, decided, age) = match case {
        Case::Draft => (Turn::Unsent, None, None, None, Age::JustNow),
        Case::DraftOld => (Turn::Unsent, None, None, None, Age::Old),
        Case::Submitted => (Turn::Reviewer, None, None, None, Age::JustNow),
        Case::Claimed => (Turn::Reviewer, Some(Claimer), None, None, Age::JustNow),
        Case::Changes => (Turn::Applicant, Some(Claimer), None, None, Age::JustNow),
        Case::ChangesOld => (Turn::Applicant, Some(Claimer), None, None, Age::Old),
        Case::Approved => (Turn::Approved, Some(Claimer), None, Some(Claimer), Age::JustNow),
        Case::ApprovedLongAgo => (Turn::Approved, Some(Claimer), None, Some(Claimer), Age::Old),
        Case::Declined => (Turn::Declined, None, None, Some(Decliner), Age::JustNow),
        Case::DeclinedByClaimer => (Turn::Declined, Some(Claimer), None, Some(Claimer), Age::JustNow),
        Case::DeclinedLongAgo => (Turn::Declined, None, None, Some(Decliner), Age::Old),
        Case::DeclinedPastAppeal => (Turn::Declined, None, None, Some(Decliner), Age::Ancient),
        Case::Appealed => (Turn::Reviewer, None, Some(Decliner), None, Age::JustNow),
        Case::AppealClaimed => (Turn::Reviewer, Some(Claimer), Some(Decliner), None, Age::JustNow),
        Case::AppealChanges => (Turn::Applicant, Some(Claimer), Some(Decliner), None, Age::JustNow),
        Case::AppealChangesOld => (Turn::Applicant, Some(Claimer), Some(Decliner), None, Age::Old),
        Case::AppealApproved => (Turn::Approved, Some(Claimer), Some(Decliner), Some(Claimer), Age::JustNow),
        Case::AppealApprovedLongAgo => (Turn::Approved, Some(Claimer), Some(Decliner), Some(Claimer), Age::Old),
        Case::AppealDeclined => (Turn::Declined, Some(Claimer), Some(Decliner), Some(Claimer), Age::JustNow),
        Case::AppealDeclinedLongAgo => (Turn::Declined, Some(Claimer), Some(Decliner), Some(Claimer), Age::Old),
        Case::WithdrawnUnsent => (Turn::Withdrawn, None, None, None, Age::JustNow),
        Case::WithdrawnSent => (Turn::Withdrawn, Some(Claimer), None, None, Age::JustNow),
        Case::WithdrawnAppeal => (Turn::Withdrawn, Some(Claimer), Some(Decliner), None, Age::JustNow),
        Case::LapsedUnsent => (Turn::Lapsed, None, None, None, Age::JustNow),
        Case::LapsedSent => (Turn::Lapsed, Some(Claimer), None, None, Age::JustNow),
        Case::LapsedAppeal => (Turn::Lapsed, Some(Claimer), Some(Decliner), None, Age::JustNow),
    };
    Facts { turn, claimed, against, decided, age }
}

struct People([AccountId; 5]);

impl People {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AccountId::fresh()))
    }

    fn id(&self, actor: Actor) -> AccountId {
        let [applicant, claimer, decliner, another, admin] = self.0;
        match actor {
            Actor::Applicant => applicant,
            Actor::Claimer => claimer,
            Actor::Decliner => decliner,
            Actor::Another => another,
            Actor::Admin => admin,
        }
    }

    fn actor(&self, id: AccountId) -> Actor {
        *Actor::ALL.iter().find(|actor| self.id(**actor) == id).expect("nobody else is there")
    }
}

/// The application that has these facts at [`NOW`].
fn application(people: &People, case: Case) -> Application {
    let facts = facts(case);
    let ago = match (facts.turn, facts.age) {
        (_, Age::JustNow) => Duration::minutes(3),
        (Turn::Unsent, Age::Old | Age::Ancient) => DRAFT_LIFE,
        (Turn::Applicant, Age::Old | Age::Ancient) => CHANGES_LIFE,
        (Turn::Reviewer | Turn::Approved | Turn::Declined | Turn::Withdrawn | Turn::Lapsed, Age::Old) => UNDO,
        (Turn::Reviewer | Turn::Approved | Turn::Declined | Turn::Withdrawn | Turn::Lapsed, Age::Ancient) => APPEAL,
    };
    let at = NOW - ago;
    let claim = facts.claimed.map(|actor| Claim { by: people.id(actor), at: SENT });
    let appeal = facts.against.map(|actor| Appeal {
        at,
        text: "You overlooked page 3.".into(),
        against: people.id(actor),
        declined_at: at - Duration::days(1),
    });
    let was_sent = claim.is_some() || appeal.is_some();
    let sent = Sent { at: SENT, due_at: SENT + PROMISE, claim, appeal };
    let by = people.id(facts.decided.unwrap_or(Actor::Claimer));
    let state = match facts.turn {
        Turn::Unsent => State::Draft,
        Turn::Reviewer => State::Submitted(sent),
        Turn::Applicant => {
            State::ChangesRequested { sent, changes: Changes { by, at, text: "Which data?".into(), fields: vec!["summary".into()] } }
        }
        Turn::Approved => State::Approved { sent, by, at, note: String::new() },
        Turn::Declined => State::Declined { sent, by, at, reason: DeclineReason::Duplicate, text: String::new() },
        Turn::Withdrawn => State::Withdrawn { sent: was_sent.then_some(sent), at },
        Turn::Lapsed => State::Lapsed { sent: was_sent.then_some(sent), at },
    };
    let begun = Application::begin(people.id(Actor::Applicant), ModelId::fresh(), SENT);
    Application { answers: Answers::from_fields(Form::built_in(), complete(Some(LICENCE))), updated_at: at, state, ..begun }
}

fn everything(until: Timestamp) -> Approval<'static> {
    Approval { until, scopes: &GrantScope::ALL, note: "" }
}

fn run(application: Application, people: &People, command: Command, now: Timestamp) -> Result<Application, Error> {
    match command {
        Command::Of(Unasked::SaveDraft) => application.save_draft(Answers::from_fields(Form::built_in(), complete(Some(LICENCE))), now),
        Command::Of(Unasked::Submit) => {
            application.submit(Form::built_in(), Some(LICENCE), PROMISE, now).map(|(application, _)| application)
        }
        Command::Of(Unasked::Withdraw) => application.withdraw(now),
        Command::Of(Unasked::Appeal) => application.appeal("You overlooked page 3.", PROMISE, now),
        Command::Of(Unasked::Lapse) => application.lapse(now),
        Command::By(verb, actor) => {
            let by = people.id(actor);
            match verb {
                Verb::Claim => application.claim(by, now),
                Verb::Release => application.release(by, now),
                Verb::Check => application.check(by, now),
                Verb::RequestChanges => application.request_changes(by, "Which data?", vec![], now),
                Verb::Approve => application.approve(by, everything(now + Duration::days(30)), now).map(|(application, _)| application),
                Verb::Decline => application.decline(by, DeclineReason::PurposeUnclear, "Which data?", now),
                Verb::Undo => application.undo(by, now),
            }
        }
    }
}

/// Where a command leads: the state, who sees to it then, and against whom an appeal is.
type After = (&'static str, Option<Actor>, Option<Actor>);

/// The whole machine, written apart from it: where a command leads, or how it is refused, by the code or by words of the conflict.
fn expected(case: Case, command: Command) -> Result<After, &'static str> {
    let Facts { turn, claimed, against, decided, age } = facts(case);
    let closed = match turn {
        Turn::Unsent => "has not been sent yet",
        Turn::Reviewer => "waits for a reviewer",
        Turn::Applicant => "it is the applicant's turn",
        Turn::Approved => "was approved on",
        Turn::Declined => "was declined on",
        Turn::Withdrawn => "was withdrawn by the applicant on",
        Turn::Lapsed => "lapsed on",
    };
    match command {
        Command::Of(Unasked::SaveDraft) => match turn {
            Turn::Unsent => Ok(("draft", None, None)),
            Turn::Applicant => Ok(("changes_requested", claimed, against)),
            Turn::Reviewer | Turn::Approved | Turn::Declined | Turn::Withdrawn | Turn::Lapsed => Err(closed),
        },
        Command::Of(Unasked::Submit) => match turn {
            Turn::Unsent | Turn::Applicant => Ok(("submitted", claimed, against)),
            Turn::Reviewer | Turn::Approved | Turn::Declined | Turn::Withdrawn | Turn::Lapsed => Err(closed),
        },
        Command::Of(Unasked::Withdraw) => match turn {
            Turn::Unsent | Turn::Reviewer | Turn::Applicant => Ok(("withdrawn", claimed, against)),
            Turn::Approved | Turn::Declined | Turn::Withdrawn | Turn::Lapsed => Err(closed),
        },
        Command::Of(Unasked::Lapse) => match (turn, age) {
            (Turn::Unsent | Turn::Applicant, Age::Old) => Ok(("lapsed", claimed, against)),
            (Turn::Unsent | Turn::Applicant, Age::JustNow | Age::Ancient) => Err(closed),
            (Turn::Reviewer | Turn::Approved | Turn::Declined | Turn::Withdrawn | Turn::Lapsed, _) => Err(closed),
        },
        Command::Of(Unasked::Appeal) => match (turn, against, age) {
            (Turn::Declined, Some(_), _) => Err("there has been an appeal already"),
            (Turn::Declined, None, Age::Ancient) => Err("an appeal was possible for 30 days"),
            (Turn::Declined, None, Age::JustNow | Age::Old) => Ok(("submitted", None, decided)),
            (Turn::Unsent | Turn::Reviewer | Turn::Applicant | Turn::Approved | Turn::Withdrawn | Turn::Lapsed, _, _) => Err(closed),
        },
        Command::By(Verb::Undo, actor) => match (turn, age) {
            (Turn::Approved | Turn::Declined, _) if decided != Some(actor) => Err("not_your_decision"),
            (Turn::Approved | Turn::Declined, Age::Old | Age::Ancient) => Err("more than ten minutes ago"),
            (Turn::Approved | Turn::Declined, Age::JustNow) => Ok(("submitted", decided, against)),
            (Turn::Unsent | Turn::Reviewer | Turn::Applicant | Turn::Withdrawn | Turn::Lapsed, _) => {
                Err("there is no decision to take back")
            }
        },
        Command::By(Verb::Release | Verb::Claim | Verb::Check | Verb::RequestChanges | Verb::Approve | Verb::Decline, _)
            if turn != Turn::Reviewer =>
        {
            Err(closed)
        }
        Command::By(Verb::Release, actor) if claimed == Some(actor) => Ok(("submitted", None, against)),
        Command::By(Verb::Release, Actor::Applicant) => Err("own_application"),
        Command::By(Verb::Release, _) => Err("you have not claimed this application"),
        Command::By(Verb::Claim | Verb::Check | Verb::RequestChanges | Verb::Approve | Verb::Decline, Actor::Applicant) => {
            Err("own_application")
        }
        Command::By(Verb::Claim | Verb::Check | Verb::RequestChanges | Verb::Approve | Verb::Decline, actor) if against == Some(actor) => {
            Err("own_decision")
        }
        Command::By(Verb::Claim, actor) => Ok(("submitted", Some(actor), against)),
        Command::By(Verb::Check | Verb::RequestChanges | Verb::Approve | Verb::Decline, actor)
            if claimed.is_some_and(|claimer| claimer != actor) =>
        {
            Err("claimed by another reviewer")
        }
        Command::By(Verb::Check, _) => Ok(("submitted", claimed, against)),
        Command::By(Verb::RequestChanges, actor) => Ok(("changes_requested", Some(actor), against)),
        Command::By(Verb::Approve, _) => Ok(("approved", claimed, against)),
        Command::By(Verb::Decline, _) => Ok(("declined", claimed, against)),
    }
}

fn after(people: &People, application: &Application) -> After {
    let sent = application.state.sent();
    let claimed = sent.and_then(|sent| sent.claim).map(|claim| people.actor(claim.by));
    let against = sent.and_then(|sent| sent.appeal.as_ref()).map(|appeal| people.actor(appeal.against));
    (application.state.as_str(), claimed, against)
}

#[test]
fn every_command_of_everybody_in_every_state_leads_where_the_table_says() {
    let people = People::new();
    let mut done = 0;
    for case in Case::ALL.iter().copied() {
        for command in Command::all() {
            let before = application(&people, case);
            match (run(before.clone(), &people, command, NOW), expected(case, command)) {
                (Ok(is), Ok(to)) => {
                    assert_eq!(after(&people, &is), to, "{case:?} × {command:?}");
                    assert_eq!((is.updated_at, is.version), (NOW, before.version + 1));
                    let place = |application: &Application| application.state.sent().map(|sent| sent.at);
                    assert!(place(&before).is_none() || place(&before) == place(&is), "{case:?} × {command:?}: the place is lost");
                    done += 1;
                }
                (Err(error), Err(how)) => assert!(is_refused(&error, how), "{case:?} × {command:?}: {how} expected, {error:?}"),
                (outcome, expected) => panic!("{case:?} × {command:?}: expected {expected:?}, got {outcome:?}"),
            }
        }
    }
    assert!(done > 60, "{done} of them are allowed");
}

#[test]
fn every_function_that_changes_an_application_is_in_the_table() {
    let mut functions = changes(include_str!("application.rs"));
    functions.retain(|name| *name != "seen_as");
    let mut commands: Vec<&str> = Command::all().map(Command::function).collect();
    commands.sort_unstable();
    commands.dedup();
    assert_eq!(functions, commands);
}

proptest! {
    /// Whatever is done in whatever order: the place in the queue stays, versions rise one at a time, nobody decides on their own or on
    /// the appeal against them, there is one appeal at most, and what is closed opens by an undo or an appeal alone.
    #[test]
    fn no_sequence_of_commands_breaks_what_has_to_hold(steps in prop::collection::vec((any::<prop::sample::Index>(), 0i64..20_000), 1..60)) {
        let people = People::new();
        let commands: Vec<Command> = Command::all().collect();
        let ada = people.id(Actor::Applicant);
        let mut now = NOW;
        let mut current = Application::begin(ada, ModelId::fresh(), now).save_draft(Answers::from_fields(Form::built_in(), complete(Some(LICENCE))), now)?;
        let mut appeals = 0;
        for (command, minutes) in steps {
            now += Duration::minutes(minutes);
            let command = *command.get(&commands);
            let Ok(after) = run(current.clone(), &people, command, now) else { continue };
            let is_appeal = command == Command::Of(Unasked::Appeal);
            prop_assert_eq!(after.version, current.version + 1);
            if let (Some(before), Some(is)) = (current.state.sent(), after.state.sent()) {
                prop_assert_eq!(before.at, is.at);
                prop_assert!(is.due_at >= before.due_at || is_appeal);
            }
            if !current.state.is_open() {
                prop_assert!(is_appeal || matches!(command, Command::By(Verb::Undo, _)), "{:?} opened what was closed", command);
            }
            appeals += usize::from(is_appeal);
            prop_assert!(appeals <= 1);
            if let State::Approved { sent, by, .. } | State::Declined { sent, by, .. } = &after.state {
                prop_assert_ne!(*by, ada);
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
    let asked = application(&people, Case::Changes);
    let (again, _) = asked.clone().submit(Form::built_in(), Some(LICENCE), PROMISE, NOW + Duration::days(3)).expect("it is complete");
    let due = |application: &Application| application.state.sent().expect("it was sent").due_at;
    assert_eq!(due(&again) - due(&asked), Duration::days(3) + Duration::minutes(3));
    assert_eq!(
        again.state.sent().and_then(|sent| sent.claim).map(|claim| claim.by),
        Some(people.id(Actor::Claimer)),
        "the same reviewer reads it"
    );
}

#[test]
fn whoever_acts_on_what_they_did_not_see_is_told() {
    let seen = application(&People::new(), Case::Submitted);
    assert!(seen.clone().seen_as(Some(seen.version)).is_ok());
    assert!(seen.clone().seen_as(None).is_ok());
    assert!(matches!(seen.clone().seen_as(Some(seen.version + 1)), Err(Error::Stale(_))));
}

#[test]
fn a_grant_ends_within_a_year_and_not_before_it_begins() {
    let people = People::new();
    let until =
        |until| application(&people, Case::Submitted).approve(people.id(Actor::Another), everything(until), NOW).map(|(_, grant)| grant);
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
        application(&people, Case::Submitted).approve(
            people.id(Actor::Another),
            Approval { scopes, ..everything(NOW + Duration::days(30)) },
            NOW,
        )
    };
    let (_, grant) = chosen(&[GrantScope::Api, GrantScope::Download, GrantScope::Api]).expect("two of the three");
    assert_eq!(grant.scopes, [GrantScope::Download, GrantScope::Api]);
    assert!(matches!(chosen(&[]), Err(Error::Invalid(faults)) if faults[0].field == "scopes"));
}

#[test]
fn what_has_to_be_said_in_words_is() {
    let people = People::new();
    let waiting = || application(&people, Case::Submitted);
    let declined = |text: &str| waiting().decline(people.id(Actor::Another), DeclineReason::Other, text, NOW);
    assert!(matches!(declined(" \r\n "), Err(Error::Invalid(faults)) if faults[0].field == "text"));
    assert!(declined("The project ended in January.").is_ok());
    assert!(declined(&"x".repeat(WORDS_CHARS_MAX + 1)).is_err());
    assert!(
        matches!(waiting().request_changes(people.id(Actor::Another), " ", vec![], NOW), Err(Error::Invalid(faults)) if faults[0].field == "text")
    );
    let appealed = application(&people, Case::Declined).appeal("\u{0}", PROMISE, NOW);
    assert!(matches!(appealed, Err(Error::Invalid(faults)) if faults[0].field == "text"));
}

#[test]
fn what_is_not_complete_stays_a_draft() {
    let draft = application(&People::new(), Case::Draft).save_draft(Answers::default(), NOW).expect("drafts keep anything");
    assert!(matches!(draft.submit(Form::built_in(), Some(LICENCE), PROMISE, NOW), Err(Error::Invalid(faults)) if faults.len() > 10));
}
