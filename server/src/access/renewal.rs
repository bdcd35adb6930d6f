//! A request to let a grant go on beyond its end: the state machine, pure.

use time::Duration;

use super::check::{grouped, too_long};
use super::grant::{Grant, Standing};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::when;
use crate::ids::{AccountId, GrantId, RenewalId};

/// How long before its end a grant can be renewed.
pub const BEFORE_END: Duration = Duration::days(60);
/// How long after its end it still can.
pub const AFTER_END: Duration = Duration::days(90);
/// What a summary of use has to say at least, and may say at most, in characters.
pub const SUMMARY_CHARS: std::ops::RangeInclusive<usize> = 40..=2_000;
/// The longest list of publications, in characters.
pub const PUBLICATIONS_CHARS_MAX: usize = 4_000;
/// The longest text of a reviewer beside the decision, in characters.
const DECISION_CHARS_MAX: usize = 2_000;
/// The most months that can be asked for.
const MONTHS_MAX: u8 = 12;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Its id.
    pub id: RenewalId,
    /// Of which grant.
    pub grant: GrantId,
    /// What was asked.
    pub asked: Asked,
    /// When.
    pub asked_at: Timestamp,
    /// Where it stands.
    pub state: RenewalState,
}

/// What a holder says and asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What they used the model for.
    pub summary: String,
    /// What they published, a line each; may be empty.
    pub publications: String,
    /// For how many months from the end, or from now if that lies behind.
    pub months: u8,
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewalState {
    /// A reviewer's turn.
    Open,
    /// Closed: the grant goes on.
    Approved {
        /// Who decided.
        by: AccountId,
        /// When.
        at: Timestamp,
        /// What the reviewer wrote; may be empty.
        note: String,
    },
    /// Closed: the end stays.
    Declined {
        /// Who decided.
        by: AccountId,
        /// When.
        at: Timestamp,
        /// Why.
        text: String,
    },
    /// Closed by the holder.
    Withdrawn {
        /// When.
        at: Timestamp,
    },
    /// Closed because nothing is left to renew.
    Lapsed {
        /// When.
        at: Timestamp,
    },
}

impl RenewalState {
    /// As it is stored.
    pub fn as_str(&self) -> &'static str {
        match self {
            RenewalState::Open => "open",
            RenewalState::Approved { .. } => "approved",
            RenewalState::Declined { .. } => "declined",
            RenewalState::Withdrawn { .. } => "withdrawn",
            RenewalState::Lapsed { .. } => "lapsed",
        }
    }

    /// What the reviewer wrote to the holder; empty while there is nothing.
    pub fn words(&self) -> &str {
        match self {
            RenewalState::Approved { note, .. } => note,
            RenewalState::Declined { text, .. } => text,
            RenewalState::Open | RenewalState::Withdrawn { .. } | RenewalState::Lapsed { .. } => "",
        }
    }
}

impl Asked {
    /// What was typed, checked. Errors: every field at fault.
    pub fn parse(summary: &str, publications: &str, months: &str) -> Result<Self, Vec<FieldError>> {
        let (summary, publications) = (paragraphs(summary), paragraphs(publications));
        let mut faults = Vec::new();
        let chars = summary.chars().count();
        if !SUMMARY_CHARS.contains(&chars) {
            let (least, most) = (SUMMARY_CHARS.start(), SUMMARY_CHARS.end());
            faults.push(FieldError::new("summary", format!("enter {least} to {} characters", grouped(*most))));
        }
        let chars = publications.chars().count();
        if chars > PUBLICATIONS_CHARS_MAX {
            faults.push(FieldError::new("publications", too_long(chars, PUBLICATIONS_CHARS_MAX)));
        }
        let months = months.trim().parse().ok().filter(|months| (1..=MONTHS_MAX).contains(months));
        if months.is_none() {
            faults.push(FieldError::new("months", format!("enter a whole number from 1 to {MONTHS_MAX}")));
        }
        match months {
            Some(months) if faults.is_empty() => Ok(Self { summary, publications, months }),
            Some(_) | None => Err(faults),
        }
    }
}

/// Text as it was typed, without what cannot be seen.
fn paragraphs(raw: &str) -> String {
    let text: String = raw.replace("\r\n", "\n").chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    text.trim().to_owned()
}

impl Grant {
    /// Whether a renewal can be asked for, or given, now: near its end, or not long after it. Errors: `Conflict` that says why not.
    pub(super) fn can_be_renewed(&self, now: Timestamp) -> Result<(), Error> {
        let why_not = match self.standing(now) {
            Standing::Holds | Standing::ConsentNeeded if self.expires_at - now > BEFORE_END => {
                format!("this access can be renewed from {}", when::day(self.expires_at - BEFORE_END))
            }
            Standing::Expired if self.ended.is_some() => "other access has followed this one; renew that".into(),
            Standing::Expired if now - self.expires_at >= AFTER_END => {
                format!("this access ended on {}, too long ago to be renewed; apply again", when::day(self.expires_at))
            }
            Standing::Holds | Standing::ConsentNeeded | Standing::Expired => return Ok(()),
            Standing::Suspended => "this access is suspended; it can be renewed once it is reinstated".into(),
            Standing::Blocked => "its holder is blocked; it can be renewed when the block has ended".into(),
            Standing::Closed => "this access was closed by its holder; apply again".into(),
            Standing::Revoked => "this access was revoked; apply again".into(),
        };
        Err(Error::Conflict(why_not.into()))
    }

    /// Moves its end. Errors: `Conflict` if it cannot be renewed now, `Invalid` for an end that is not later, or too late.
    pub(super) fn renew(self, until: Timestamp, now: Timestamp) -> Result<Self, Error> {
        self.can_be_renewed(now)?;
        super::grant::ends_in_time(now, until)?;
        if until <= self.expires_at {
            return Err(FieldError::new("until", "choose a day after its present end").into());
        }
        Ok(Self { expires_at: until, ..self })
    }
}

impl Renewal {
    /// Asks for it. Errors: `Conflict` if it cannot be renewed now.
    pub(super) fn ask(grant: &Grant, asked: Asked, now: Timestamp) -> Result<Self, Error> {
        grant.can_be_renewed(now)?;
        Ok(Self { id: RenewalId::fresh(), grant: grant.id, asked, asked_at: now, state: RenewalState::Open })
    }

    /// Lets the grant go on until then. Errors: `Conflict` unless it is open and the grant can be renewed, `Invalid` for the end or the note.
    pub(super) fn approve(self, grant: Grant, by: AccountId, until: Timestamp, note: &str, now: Timestamp) -> Result<(Self, Grant), Error> {
        self.is_open()?;
        let note = decision_text(note)?;
        let grant = grant.renew(until, now)?;
        Ok((Self { state: RenewalState::Approved { by, at: now, note }, ..self }, grant))
    }

    /// Leaves the end as it is, and says why. Errors: `Conflict` unless it is open, `Invalid` without words.
    pub(super) fn decline(self, by: AccountId, text: &str, now: Timestamp) -> Result<Self, Error> {
        self.is_open()?;
        let text = decision_text(text)?;
        if text.is_empty() {
            return Err(FieldError::new("text", "say why, and what would change it; the holder reads this").into());
        }
        Ok(Self { state: RenewalState::Declined { by, at: now, text }, ..self })
    }

    /// Takes it back. Errors: `Conflict` unless it is open.
    pub(super) fn withdraw(self, now: Timestamp) -> Result<Self, Error> {
        self.is_open()?;
        Ok(Self { state: RenewalState::Withdrawn { at: now }, ..self })
    }

    /// Closes it because nothing is left to renew. Errors: `Conflict` unless it is open.
    pub(super) fn lapse(self, now: Timestamp) -> Result<Self, Error> {
        self.is_open()?;
        Ok(Self { state: RenewalState::Lapsed { at: now }, ..self })
    }

    fn is_open(&self) -> Result<(), Error> {
        let closed = match &self.state {
            RenewalState::Open => return Ok(()),
            RenewalState::Approved { at, .. } => format!("this request was approved on {}", when::minute(*at)),
            RenewalState::Declined { at, .. } => format!("this request was declined on {}", when::minute(*at)),
            RenewalState::Withdrawn { at } => format!("this request was withdrawn by the holder on {}", when::minute(*at)),
            RenewalState::Lapsed { at } => format!("this request lapsed on {}", when::minute(*at)),
        };
        Err(Error::Conflict(format!("{closed}; nothing was changed").into()))
    }

    /// When access would end if it were given as asked: so many months from its end, or from now if that lies behind; a year at most.
    pub(super) fn would_end(&self, grant: &Grant, now: Timestamp) -> Timestamp {
        let asked = grant.expires_at.max(now) + Duration::days(i64::from(self.asked.months) * 30);
        asked.min(now + super::grant::GRANT_LIFE_MAX - Duration::DAY)
    }
}

fn decision_text(raw: &str) -> Result<String, FieldError> {
    let text = paragraphs(raw);
    match text.chars().count() {
        chars if chars > DECISION_CHARS_MAX => Err(FieldError::new("text", too_long(chars, DECISION_CHARS_MAX))),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::each::{changes, is_refused};
    use super::super::grant::{Ended, Note};
    use super::*;
    use time::macros::datetime;

    const END: Timestamp = datetime!(2026-09-01 12:00 UTC);
    const SOON: Timestamp = datetime!(2026-08-01 12:00 UTC);

    fn grant() -> Grant {
        Grant::new(GrantId::fresh(), END - Duration::days(180), END).expect("half a year")
    }

    fn asked() -> Asked {
        Asked::parse("We measured how negation fares, and found that size helps little.", "", "6").expect("it is complete")
    }

    each! {
        /// Where a request stands.
        Case { Open, Approved, Declined, Withdrawn, Lapsed }
    }

    each! {
        Command { Approve, Decline, Withdraw, Lapse }
    }

    impl Command {
        /// The function of [`Renewal`] that does it.
        fn function(self) -> &'static str {
            match self {
                Command::Approve => "approve",
                Command::Decline => "decline",
                Command::Withdraw => "withdraw",
                Command::Lapse => "lapse",
            }
        }
    }

    each! {
        /// What the grant is worth that it is about.
        Worth { Holds, Early, ConsentNeeded, Suspended, Blocked, Expired, ExpiredLongAgo, Followed, Closed, Revoked }
    }

    fn renewal(case: Case) -> Renewal {
        let by = AccountId::fresh();
        let state = match case {
            Case::Open => RenewalState::Open,
            Case::Approved => RenewalState::Approved { by, at: SOON, note: String::new() },
            Case::Declined => RenewalState::Declined { by, at: SOON, text: "no".into() },
            Case::Withdrawn => RenewalState::Withdrawn { at: SOON },
            Case::Lapsed => RenewalState::Lapsed { at: SOON },
        };
        Renewal { id: RenewalId::fresh(), grant: grant().id, asked: asked(), asked_at: SOON, state }
    }

    /// A grant that is worth this at [`SOON`].
    fn grant_worth(worth: Worth) -> Grant {
        let stopped = Some(Note { at: SOON, by: None, reason: "a reason".into() });
        let revoked = |at| Some(Ended::Revoked { at, reason: "a reason".into() });
        match worth {
            Worth::Holds => grant(),
            Worth::Early => Grant { expires_at: SOON + BEFORE_END + Duration::SECOND, ..grant() },
            Worth::ConsentNeeded => Grant { consent_due_at: Some(SOON), ..grant() },
            Worth::Suspended => Grant { suspended: stopped, ..grant() },
            Worth::Blocked => Grant { blocked_until: Some(END), ..grant() },
            Worth::Expired => Grant { expires_at: SOON, ..grant() },
            Worth::ExpiredLongAgo => Grant { expires_at: SOON - AFTER_END, ..grant() },
            Worth::Followed => Grant { expires_at: SOON, ended: revoked(SOON), ..grant() },
            Worth::Closed => Grant { ended: Some(Ended::Closed { at: SOON, attestation: "all deleted".into() }), ..grant() },
            Worth::Revoked => Grant { ended: revoked(SOON), ..grant() },
        }
    }

    /// Why a grant of this worth is not renewed, by words of the conflict.
    fn not_renewed(worth: Worth) -> Option<&'static str> {
        match worth {
            Worth::Holds | Worth::ConsentNeeded | Worth::Expired => None,
            Worth::Early => Some("can be renewed from"),
            Worth::Suspended => Some("is suspended"),
            Worth::Blocked => Some("its holder is blocked"),
            Worth::ExpiredLongAgo => Some("too long ago to be renewed"),
            Worth::Followed => Some("other access has followed"),
            Worth::Closed => Some("was closed by its holder"),
            Worth::Revoked => Some("was revoked"),
        }
    }

    /// The table: where a command leads, or how it is refused.
    fn expected(case: Case, command: Command, worth: Worth) -> Result<&'static str, &'static str> {
        match (case, command) {
            (Case::Open, Command::Approve) => not_renewed(worth).map_or(Ok("approved"), Err),
            (Case::Open, Command::Decline) => Ok("declined"),
            (Case::Open, Command::Withdraw) => Ok("withdrawn"),
            (Case::Open, Command::Lapse) => Ok("lapsed"),
            (Case::Approved, Command::Approve | Command::Decline | Command::Withdraw | Command::Lapse) => Err("was approved on"),
            (Case::Declined, Command::Approve | Command::Decline | Command::Withdraw | Command::Lapse) => Err("was declined on"),
            (Case::Withdrawn, Command::Approve | Command::Decline | Command::Withdraw | Command::Lapse) => {
                Err("was withdrawn by the holder on")
            }
            (Case::Lapsed, Command::Approve | Command::Decline | Command::Withdraw | Command::Lapse) => Err("lapsed on"),
        }
    }

    #[test]
    fn every_command_in_every_state_about_every_grant_leads_where_the_table_says() {
        let (by, until) = (AccountId::fresh(), SOON + Duration::days(200));
        for (case, worth) in Case::ALL.iter().flat_map(|case| Worth::ALL.iter().map(|worth| (*case, *worth))) {
            for command in Command::ALL.iter().copied() {
                let (what, renewal) = (format!("{case:?} × {command:?} about {worth:?}"), renewal(case));
                let done = match command {
                    Command::Approve => {
                        let done = renewal.approve(grant_worth(worth), by, until, "", SOON);
                        done.map(|(renewal, grant)| {
                            assert_eq!(
                                grant,
                                Grant { id: grant.id, expires_at: until, ..grant_worth(worth) },
                                "{what}: the end alone moves"
                            );
                            renewal
                        })
                    }
                    Command::Decline => renewal.decline(by, "Say more.", SOON),
                    Command::Withdraw => renewal.withdraw(SOON),
                    Command::Lapse => renewal.lapse(SOON),
                };
                match (done, expected(case, command, worth)) {
                    (Ok(after), Ok(to)) => assert_eq!(after.state.as_str(), to, "{what}"),
                    (Err(error), Err(how)) => assert!(is_refused(&error, how), "{what}: {how} expected, {error:?}"),
                    (outcome, expected) => panic!("{what}: expected {expected:?}, got {outcome:?}"),
                }
            }
        }
        for worth in Worth::ALL.iter().copied() {
            match (Renewal::ask(&grant_worth(worth), asked(), SOON), not_renewed(worth)) {
                (Ok(renewal), None) => assert_eq!(renewal.state, RenewalState::Open),
                (Err(error), Some(how)) => assert!(is_refused(&error, how), "{worth:?}: {how} expected, {error:?}"),
                (outcome, expected) => panic!("{worth:?}: expected {expected:?}, got {outcome:?}"),
            }
        }
    }

    #[test]
    fn every_function_that_changes_a_renewal_is_in_the_table() {
        let mut functions = changes(include_str!("renewal.rs"));
        // Of the grant: what approving does to it.
        functions.retain(|name| *name != "renew");
        let mut commands: Vec<&str> = Command::ALL.iter().map(|command| command.function()).collect();
        commands.sort_unstable();
        assert_eq!(functions, commands);
    }

    #[test]
    fn a_grant_can_be_renewed_from_sixty_days_before_its_end_to_ninety_after() {
        let instant = Duration::microseconds(1);
        for (at, can) in [
            (END - BEFORE_END - instant, false),
            (END - BEFORE_END, true),
            (END, true),
            (END + AFTER_END - instant, true),
            (END + AFTER_END, false),
        ] {
            assert_eq!(grant().can_be_renewed(at).is_ok(), can, "{at}");
            assert_eq!(Renewal::ask(&grant(), asked(), at).is_ok(), can, "{at}");
        }
    }

    #[test]
    fn the_end_moves_later_and_by_a_year_at_most() {
        let year = super::super::grant::GRANT_LIFE_MAX;
        assert_eq!(grant().renew(SOON + year, SOON).expect("a year").expires_at, SOON + year);
        for wrong in [END, SOON, SOON + year + Duration::SECOND] {
            assert!(matches!(grant().renew(wrong, SOON), Err(Error::Invalid(faults)) if faults[0].field == "until"), "{wrong}");
        }
        assert_eq!(renewal(Case::Open).would_end(&grant(), SOON), END + Duration::days(180));
        assert_eq!(renewal(Case::Open).would_end(&grant(), END + Duration::days(10)), END + Duration::days(190));
    }

    #[test]
    fn a_request_says_what_the_model_was_used_for() {
        let faults =
            Asked::parse("For science.", &"x".repeat(PUBLICATIONS_CHARS_MAX + 1), "13").expect_err("too little, too much, too long");
        assert_eq!(faults.iter().map(|fault| fault.field.as_ref()).collect::<Vec<_>>(), ["summary", "publications", "months"]);
    }
}
