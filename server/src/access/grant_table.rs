//! Every command in every state by everybody, against a table written apart from the code; and sequences of commands against a model.

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Suspend,
    Reinstate,
    Revoke,
    Propose,
    Confirm,
    Reject,
    Close,
}

const COMMANDS: [Command; 7] =
    [Command::Suspend, Command::Reinstate, Command::Revoke, Command::Propose, Command::Confirm, Command::Reject, Command::Close];
const STATES: [&str; 8] =
    ["holds", "suspended", "proposed", "suspended and proposed", "expired", "expired while suspended", "revoked", "closed"];

/// A grant in this state at `NOW`; a proposal was made by the first of the people.
fn grant(state: &str) -> Grant {
    let (first, _) = people();
    let before = Some(note(first, BEGIN));
    let over = |ended| Grant { ended: Some(ended), ..fresh() };
    match state {
        "holds" => fresh(),
        "suspended" => Grant { suspended: before, ..fresh() },
        "proposed" => Grant { proposed: before, ..fresh() },
        "suspended and proposed" => Grant { suspended: before.clone(), proposed: before, ..fresh() },
        "expired" => Grant { expires_at: NOW, ..fresh() },
        "expired while suspended" => Grant { expires_at: NOW, suspended: before, ..fresh() },
        "revoked" => over(Ended::Revoked { at: BEGIN, reason: "a reason".into() }),
        "closed" => over(Ended::Closed { at: BEGIN, attestation: "all deleted".into() }),
        other => panic!("{other} is no state"),
    }
}

fn state_of(grant: &Grant, now: Timestamp) -> &'static str {
    match (grant.standing(now), grant.suspended.is_some(), grant.proposed.is_some()) {
        (Standing::Holds | Standing::Blocked | Standing::ConsentNeeded, false, false) => "holds",
        (Standing::Suspended | Standing::Blocked, true, false) => "suspended",
        (Standing::Suspended | Standing::Blocked, false, true) => "proposed",
        (Standing::Suspended | Standing::Blocked, true, true) => "suspended and proposed",
        (Standing::Expired, false, _) => "expired",
        (Standing::Expired, true, _) => "expired while suspended",
        (Standing::Revoked, _, _) => "revoked",
        (Standing::Closed, _, _) => "closed",
        (Standing::Holds | Standing::ConsentNeeded, _, _) | (Standing::Suspended, false, false) => {
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

/// The table of the whole machine, written apart from it: where a command leads, or how it is refused.
fn expected(state: &str, command: Command, is_proposer: bool) -> Result<&'static str, &'static str> {
    match (state, command) {
        ("holds", Command::Suspend) => Ok("suspended"),
        ("proposed", Command::Suspend) => Ok("suspended and proposed"),
        ("suspended", Command::Reinstate) => Ok("holds"),
        ("suspended and proposed", Command::Reinstate) => Ok("proposed"),
        ("holds", Command::Propose) => Ok("proposed"),
        ("suspended", Command::Propose) => Ok("suspended and proposed"),
        ("proposed" | "suspended and proposed", Command::Confirm | Command::Reject) if is_proposer => Err("forbidden"),
        ("proposed" | "suspended and proposed", Command::Confirm) => Ok("revoked"),
        ("proposed", Command::Reject) => Ok("holds"),
        ("suspended and proposed", Command::Reject) => Ok("suspended"),
        ("holds" | "suspended" | "proposed" | "suspended and proposed", Command::Revoke) => Ok("revoked"),
        ("holds", Command::Close) => Ok("closed"),
        _ => Err("conflict"),
    }
}

fn outcome(done: &Result<Grant, Error>, now: Timestamp) -> Result<&'static str, &'static str> {
    match done {
        Ok(grant) => Ok(state_of(grant, now)),
        Err(Error::Conflict(why)) if !why.is_empty() => Err("conflict"),
        Err(Error::Forbidden(Refusal { code: "own_proposal", .. })) => Err("forbidden"),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn every_command_in_every_state_by_everybody_leads_where_the_table_says() {
    let (first, second) = people();
    for state in STATES {
        // A block and a licence that changed stand beside the state, and change nothing about what may be done.
        for (blocked_until, consent_due_at) in [(None, None), (Some(NOW), None), (Some(END), None), (None, Some(NOW))] {
            for command in COMMANDS {
                for by in [first, second] {
                    let before = Grant { blocked_until, consent_due_at, ..grant(state) };
                    assert_eq!(state_of(&before, NOW), state);
                    let done = outcome(&run(before, command, by, NOW), NOW);
                    assert_eq!(
                        done,
                        expected(state, command, by == first),
                        "{state} × {command:?} by {by}, blocked until {blocked_until:?}"
                    );
                }
            }
        }
    }
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
    for (state, after) in [("holds", Standing::Holds), ("suspended", Standing::Suspended), ("proposed", Standing::Suspended)] {
        let blocked = Grant { blocked_until: Some(NOW), ..grant(state) };
        assert_eq!(blocked.standing(NOW - instant), Standing::Blocked, "{state}");
        assert_eq!(blocked.standing(NOW), after, "{state}");
    }
}

#[test]
fn who_has_not_agreed_to_a_licence_that_changed_rests_from_the_end_of_the_grace_on() {
    let instant = Duration::microseconds(1);
    for (state, after) in [("holds", Standing::ConsentNeeded), ("suspended", Standing::Suspended), ("revoked", Standing::Revoked)] {
        let due = Grant { consent_due_at: Some(NOW), ..grant(state) };
        assert_eq!(due.standing(NOW - instant), grant(state).standing(NOW - instant), "{state}");
        assert_eq!(due.standing(NOW), after, "{state}");
    }
}

#[test]
fn a_grant_is_for_the_uses_that_were_chosen() {
    let fewer = fresh().for_scopes(&[GrantScope::Api, GrantScope::Playground, GrantScope::Api]).expect("two of them");
    assert_eq!(fewer.scopes, [GrantScope::Playground, GrantScope::Api], "each once, in one order");
    assert_eq!(fresh().scopes, GrantScope::ALL);
    assert!(fresh().for_scopes(&[]).is_err());
}

/// The same machine as four facts, written apart from it.
#[derive(Default)]
struct Model {
    suspended: bool,
    proposer: Option<AccountId>,
    ended: Option<&'static str>,
}

impl Model {
    /// Whether the command is taken, and what it changes.
    fn take(&mut self, command: Command, by: AccountId, now: Timestamp) -> bool {
        if self.ended.is_some() || now >= END {
            return false;
        }
        let answers = self.proposer.is_some_and(|proposer| proposer != by);
        let taken = match command {
            Command::Suspend => !self.suspended,
            Command::Reinstate => self.suspended,
            Command::Propose => self.proposer.is_none(),
            Command::Confirm | Command::Reject => answers,
            Command::Revoke => true,
            Command::Close => !self.suspended && self.proposer.is_none(),
        };
        if taken {
            match command {
                Command::Suspend => self.suspended = true,
                Command::Reinstate => self.suspended = false,
                Command::Propose => self.proposer = Some(by),
                Command::Reject => self.proposer = None,
                Command::Confirm | Command::Revoke => self.ended = Some("revoked"),
                Command::Close => self.ended = Some("closed"),
            }
        }
        taken
    }

    fn standing(&self, now: Timestamp) -> Standing {
        match self.ended {
            Some("revoked") => Standing::Revoked,
            Some(_) => Standing::Closed,
            None if now >= END => Standing::Expired,
            None if self.suspended || self.proposer.is_some() => Standing::Suspended,
            None => Standing::Holds,
        }
    }
}

proptest! {
    #[test]
    fn any_sequence_of_commands_comes_to_what_the_model_says(steps in prop::collection::vec((0..7usize, 0..2usize, 0..15i64), 1..40)) {
        let (first, second) = people();
        let (mut grant, mut model, mut now) = (fresh(), Model::default(), BEGIN);
        for (command, by, days) in steps {
            now += Duration::days(days);
            let (command, by) = (COMMANDS[command], [first, second][by]);
            let was_over = !grant.standing(now).is_running();
            match run(grant.clone(), command, by, now) {
                Ok(after) => {
                    prop_assert!(model.take(command, by, now), "{command:?} was taken");
                    prop_assert!(!was_over, "what is over stays over");
                    grant = after;
                }
                Err(_) => prop_assert!(!model.take(command, by, now), "{command:?} was refused"),
            }
            prop_assert_eq!(grant.standing(now), model.standing(now));
        }
    }
}
