//! Every command in every state by everybody, against a table written apart from the code; and sequences of commands against a model.

use super::super::each::{changes, is_refused};
use super::*;
use proptest::prelude::*;
use time::macros::datetime;

const BEGIN: Timestamp = datetime!(2026-03-01 12:00 UTC);
const NOW: Timestamp = datetime!(2026-06-01 12:00 UTC);
const END: Timestamp = datetime!(2026-09-01 12:00 UTC);

fn people() -> (AccountId, AccountId) {
    (AccountId::from(uuid::Uuid::from_u128(1)), AccountId::from(uuid::Uuid::from_u128(2)))
}

fn note(by: AccountId, at: Timestamp) -> Note {
    Note { at, by: Some(by), reason: "a reason".into() }
}

fn fresh() -> Grant {
    Grant::new(GrantId::fresh(), BEGIN, END).expect("half a year")
}

each! {
    Command { Suspend, Reinstate, Revoke, Propose, Confirm, Reject, Close }
}

each! {
    /// Who acts: whoever proposed to revoke it (where a person did), or somebody else. Whose grant it is the verbs look at themselves.
    Actor { Proposer, Another }
}

each! {
    Case {
        Holds,
        Suspended,
        Proposed,
        /// By the operator, whom no account stands for.
        ProposedByOperator,
        SuspendedAndProposed,
        Expired,
        ExpiredWhileSuspended,
        ExpiredWhileProposed,
        Revoked,
        Closed,
        /// It had expired when another followed it.
        Followed,
    }
}

impl Command {
    /// The function of [`Grant`] that does it.
    fn function(self) -> &'static str {
        match self {
            Command::Suspend => "suspend",
            Command::Reinstate => "reinstate",
            Command::Revoke => "revoke",
            Command::Propose => "propose_revocation",
            Command::Confirm => "confirm_revocation",
            Command::Reject => "reject_revocation",
            Command::Close => "close",
        }
    }
}

impl Actor {
    fn id(self) -> AccountId {
        let (first, second) = people();
        match self {
            Actor::Proposer => first,
            Actor::Another => second,
        }
    }
}

/// A grant in this state at `NOW`.
fn grant(case: Case) -> Grant {
    let before = Some(note(Actor::Proposer.id(), BEGIN));
    let over = |ended| Grant { ended: Some(ended), ..fresh() };
    match case {
        Case::Holds => fresh(),
        Case::Suspended => Grant { suspended: before, ..fresh() },
        Case::Proposed => Grant { proposed: before, ..fresh() },
        Case::ProposedByOperator => Grant { proposed: before.map(|note| Note { by: None, ..note }), ..fresh() },
        Case::SuspendedAndProposed => Grant { suspended: before.clone(), proposed: before, ..fresh() },
        Case::Expired => Grant { expires_at: NOW, ..fresh() },
        Case::ExpiredWhileSuspended => Grant { expires_at: NOW, suspended: before, ..fresh() },
        Case::ExpiredWhileProposed => Grant { expires_at: NOW, proposed: before, ..fresh() },
        Case::Revoked => over(Ended::Revoked { at: BEGIN, reason: "a reason".into() }),
        Case::Closed => over(Ended::Closed { at: BEGIN, attestation: "all deleted".into() }),
        Case::Followed => Grant { expires_at: NOW, ..over(Ended::Revoked { at: NOW, reason: "a reason".into() }) },
    }
}

fn case_of(grant: &Grant, now: Timestamp) -> Case {
    let by_person = grant.proposed.as_ref().map(|note| note.by.is_some());
    match (grant.standing(now), grant.suspended.is_some(), by_person) {
        (Standing::Holds | Standing::Blocked | Standing::ConsentNeeded, false, None) => Case::Holds,
        (Standing::Suspended | Standing::Blocked, true, None) => Case::Suspended,
        (Standing::Suspended | Standing::Blocked, false, Some(true)) => Case::Proposed,
        (Standing::Suspended | Standing::Blocked, false, Some(false)) => Case::ProposedByOperator,
        (Standing::Suspended | Standing::Blocked, true, Some(_)) => Case::SuspendedAndProposed,
        (Standing::Expired, _, _) if grant.ended.is_some() => Case::Followed,
        (Standing::Expired, false, None) => Case::Expired,
        (Standing::Expired, true, _) => Case::ExpiredWhileSuspended,
        (Standing::Expired, false, Some(_)) => Case::ExpiredWhileProposed,
        (Standing::Revoked, _, _) => Case::Revoked,
        (Standing::Closed, _, _) => Case::Closed,
        (Standing::Holds | Standing::ConsentNeeded, _, _) | (Standing::Suspended, false, None) => {
            panic!("its parts do not agree: {grant:?}")
        }
    }
}

fn run(grant: Grant, command: Command, by: AccountId, now: Timestamp) -> Result<Grant, Error> {
    match command {
        Command::Suspend => grant.suspend(note(by, now), now),
        Command::Reinstate => grant.reinstate(now),
        Command::Revoke => grant.revoke(now, "a reason".into()),
        Command::Propose => grant.propose_revocation(note(by, now), now),
        Command::Confirm => grant.confirm_revocation(by, now),
        Command::Reject => grant.reject_revocation(by, now),
        Command::Close => grant.close(now, "all deleted".into()),
    }
}

/// The table of the whole machine, written apart from it: where a command leads, or how it is refused, by the code or by words of the
/// conflict.
fn expected(case: Case, command: Command, by: Actor) -> Result<Case, &'static str> {
    match case {
        Case::Holds => match command {
            Command::Suspend => Ok(Case::Suspended),
            Command::Reinstate => Err("is not suspended"),
            Command::Revoke => Ok(Case::Revoked),
            Command::Propose => Ok(Case::Proposed),
            Command::Confirm | Command::Reject => Err("nobody has proposed"),
            Command::Close => Ok(Case::Closed),
        },
        Case::Suspended => match command {
            Command::Suspend => Err("was suspended already"),
            Command::Reinstate => Ok(Case::Holds),
            Command::Revoke => Ok(Case::Revoked),
            Command::Propose => Ok(Case::SuspendedAndProposed),
            Command::Confirm | Command::Reject => Err("nobody has proposed"),
            Command::Close => Err("it can be closed once they have answered"),
        },
        Case::Proposed | Case::ProposedByOperator => match (command, by) {
            (Command::Suspend, _) => Ok(Case::SuspendedAndProposed),
            (Command::Reinstate, _) => Err("is not suspended"),
            (Command::Revoke, _) => Ok(Case::Revoked),
            (Command::Propose, _) => Err("was proposed already"),
            (Command::Confirm | Command::Reject, Actor::Proposer) if case == Case::Proposed => Err("own_proposal"),
            (Command::Confirm, _) => Ok(Case::Revoked),
            (Command::Reject, _) => Ok(Case::Holds),
            (Command::Close, _) => Err("it can be closed once they have answered"),
        },
        Case::SuspendedAndProposed => match (command, by) {
            (Command::Suspend, _) => Err("was suspended already"),
            (Command::Reinstate, _) => Ok(Case::Proposed),
            (Command::Revoke, _) => Ok(Case::Revoked),
            (Command::Propose, _) => Err("was proposed already"),
            (Command::Confirm | Command::Reject, Actor::Proposer) => Err("own_proposal"),
            (Command::Confirm, Actor::Another) => Ok(Case::Revoked),
            (Command::Reject, Actor::Another) => Ok(Case::Suspended),
            (Command::Close, _) => Err("it can be closed once they have answered"),
        },
        Case::Expired | Case::ExpiredWhileSuspended | Case::ExpiredWhileProposed | Case::Followed => Err("ended by itself on"),
        Case::Revoked => Err("was revoked already"),
        Case::Closed => Err("was closed by its holder"),
    }
}

#[test]
fn every_command_in_every_state_by_everybody_leads_where_the_table_says() {
    for case in Case::ALL.iter().copied() {
        // A block and a licence that changed stand beside the state, and change nothing about what may be done.
        for (blocked_until, consent_due_at) in [(None, None), (Some(NOW), None), (Some(END), None), (None, Some(NOW))] {
            for command in Command::ALL.iter().copied() {
                for by in Actor::ALL.iter().copied() {
                    let before = Grant { blocked_until, consent_due_at, ..grant(case) };
                    assert_eq!(case_of(&before, NOW), case);
                    let what = format!("{case:?} × {command:?} by {by:?}, blocked until {blocked_until:?}");
                    match (run(before, command, by.id(), NOW), expected(case, command, by)) {
                        (Ok(after), Ok(to)) => assert_eq!(case_of(&after, NOW), to, "{what}"),
                        (Err(error), Err(how)) => assert!(is_refused(&error, how), "{what}: {how} expected, {error:?}"),
                        (outcome, expected) => panic!("{what}: expected {expected:?}, got {outcome:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn every_function_that_changes_a_grant_is_in_the_table() {
    let mut functions = changes(include_str!("grant.rs"));
    // Asked of a grant that is about to be given, or of what one is worth.
    functions.retain(|name| !["as_str", "for_scopes", "is_running"].contains(name));
    let mut commands: Vec<&str> = Command::ALL.iter().map(|command| command.function()).collect();
    commands.sort_unstable();
    assert_eq!(functions, commands);
}

#[test]
fn a_grant_ends_exactly_at_its_end() {
    let instant = Duration::microseconds(1);
    assert_eq!(fresh().standing(END - instant), Standing::Holds);
    assert_eq!(fresh().standing(END), Standing::Expired);
}

#[test]
fn what_is_ended_counts_before_the_end_and_not_after() {
    let day = Duration::DAY;
    let revoked = |at| Grant { ended: Some(Ended::Revoked { at, reason: String::new() }), ..fresh() };
    assert_eq!(revoked(END - day).standing(END - day), Standing::Revoked);
    assert_eq!(revoked(END - day).standing(END + day), Standing::Revoked);
    assert_eq!(revoked(END + day).standing(END + day), Standing::Expired, "another followed it");
}

#[test]
fn a_block_stands_until_its_moment_whatever_else_there_is() {
    let instant = Duration::microseconds(1);
    for (state, after) in [(Case::Holds, Standing::Holds), (Case::Suspended, Standing::Suspended), (Case::Proposed, Standing::Suspended)] {
        let blocked = Grant { blocked_until: Some(NOW), ..grant(state) };
        assert_eq!(blocked.standing(NOW - instant), Standing::Blocked, "{state:?}");
        assert_eq!(blocked.standing(NOW), after, "{state:?}");
    }
}

#[test]
fn who_has_not_agreed_to_a_licence_that_changed_rests_from_the_end_of_the_grace_on() {
    let instant = Duration::microseconds(1);
    for (state, after) in
        [(Case::Holds, Standing::ConsentNeeded), (Case::Suspended, Standing::Suspended), (Case::Revoked, Standing::Revoked)]
    {
        let due = Grant { consent_due_at: Some(NOW), ..grant(state) };
        assert_eq!(due.standing(NOW - instant), grant(state).standing(NOW - instant), "{state:?}");
        assert_eq!(due.standing(NOW), after, "{state:?}");
    }
}

#[test]
fn a_grant_is_for_the_uses_that_were_chosen() {
    let fewer = fresh().for_scopes(&[GrantScope::Api, GrantScope::Playground, GrantScope::Api]).expect("two of them");
    assert_eq!(fewer.scopes, [GrantScope::Playground, GrantScope::Api], "each once, in one order");
    assert_eq!(fresh().scopes, GrantScope::ALL);
    assert!(fresh().for_scopes(&[]).is_err());
}

/// One step of a story: a command, or what comes to a grant from beside it.
#[derive(Debug, Clone, Copy)]
enum Step {
    Does(Command, Actor),
    /// A block that ends so many days from now.
    Block(i64),
    /// Every block that stands is lifted.
    Lift,
    /// An approved renewal, until so many days from now.
    Renew(i64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::sample::select(Command::ALL), prop::sample::select(Actor::ALL)).prop_map(|(command, by)| Step::Does(command, by)),
        1 => (1..60i64).prop_map(Step::Block),
        1 => Just(Step::Lift),
        3 => (1..400i64).prop_map(Step::Renew),
    ]
}

fn walk(grant: Grant, step: Step, now: Timestamp) -> Result<Grant, Error> {
    match step {
        Step::Does(command, by) => run(grant, command, by.id(), now),
        Step::Block(days) => Ok(Grant { blocked_until: grant.blocked_until.max(Some(now + Duration::days(days))), ..grant }),
        Step::Lift => Ok(Grant { blocked_until: None, ..grant }),
        Step::Renew(days) => grant.renew(now + Duration::days(days), now),
    }
}

/// The same machine as a few facts, written apart from it.
struct Model {
    suspended: bool,
    proposer: Option<Actor>,
    ended: Option<Standing>,
    end: Timestamp,
    blocked_until: Timestamp,
}

impl Model {
    /// Whether the step is taken; what it changes.
    fn take(&mut self, step: Step, now: Timestamp) -> bool {
        let runs = self.ended.is_none() && now < self.end;
        let taken = match step {
            Step::Block(_) | Step::Lift => true,
            Step::Renew(days) => {
                let (near, until) = (self.end - now <= Duration::days(60), now + Duration::days(days));
                let stands = if runs { near && self.standing(now) == Standing::Holds } else { now - self.end < Duration::days(90) };
                self.ended.is_none() && stands && until > self.end && days <= 366
            }
            Step::Does(Command::Suspend, _) => runs && !self.suspended,
            Step::Does(Command::Reinstate, _) => runs && self.suspended,
            Step::Does(Command::Propose, _) => runs && self.proposer.is_none(),
            Step::Does(Command::Confirm | Command::Reject, by) => runs && self.proposer.is_some_and(|proposer| proposer != by),
            Step::Does(Command::Revoke, _) => runs,
            Step::Does(Command::Close, _) => runs && !self.suspended && self.proposer.is_none(),
        };
        if taken {
            match step {
                Step::Block(days) => self.blocked_until = self.blocked_until.max(now + Duration::days(days)),
                Step::Lift => self.blocked_until = BEGIN,
                Step::Renew(days) => self.end = now + Duration::days(days),
                Step::Does(Command::Suspend, _) => self.suspended = true,
                Step::Does(Command::Reinstate, _) => self.suspended = false,
                Step::Does(Command::Propose, by) => self.proposer = Some(by),
                Step::Does(Command::Reject, _) => self.proposer = None,
                Step::Does(Command::Confirm | Command::Revoke, _) => self.ended = Some(Standing::Revoked),
                Step::Does(Command::Close, _) => self.ended = Some(Standing::Closed),
            }
        }
        taken
    }

    fn standing(&self, now: Timestamp) -> Standing {
        match self.ended {
            Some(ended) => ended,
            None if now >= self.end => Standing::Expired,
            None if now < self.blocked_until => Standing::Blocked,
            None if self.suspended || self.proposer.is_some() => Standing::Suspended,
            None => Standing::Holds,
        }
    }
}

proptest! {
    /// Whatever is done in whatever order, blocks and renewals among it: what a grant is worth is what the model says, and what was ended
    /// stays ended.
    #[test]
    fn any_sequence_of_commands_comes_to_what_the_model_says(steps in prop::collection::vec((any_step(), 0..40i64), 1..40)) {
        let mut model = Model { suspended: false, proposer: None, ended: None, end: END, blocked_until: BEGIN };
        let (mut grant, mut now) = (fresh(), BEGIN);
        for (step, days) in steps {
            now += Duration::days(days);
            let was_ended = grant.ended.is_some();
            match walk(grant.clone(), step, now) {
                Ok(after) => {
                    prop_assert!(model.take(step, now), "{step:?} was taken");
                    prop_assert!(!was_ended || matches!(step, Step::Block(_) | Step::Lift), "what was ended stays ended");
                    grant = after;
                }
                Err(_) => prop_assert!(!model.take(step, now), "{step:?} was refused"),
            }
            prop_assert_eq!(grant.standing(now), model.standing(now));
            prop_assert_eq!(grant.expires_at, model.end);
        }
    }
}
