//! A request to let a grant go on beyond its end: the state machine, pure.

use time::Duration;

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
            faults
                .push(FieldError::new("summary", format!("has {chars} characters; say in {least} to {most} what you used the model for")));
        }
        let chars = publications.chars().count();
        if chars > PUBLICATIONS_CHARS_MAX {
            faults.push(FieldError::new("publications", format!("has {chars} characters; at most {PUBLICATIONS_CHARS_MAX} fit")));
        }
        let months = months.trim().parse().ok().filter(|months| (1..=MONTHS_MAX).contains(months));
        if months.is_none() {
            faults.push(FieldError::new("months", format!("is a whole number from 1 to {MONTHS_MAX}")));
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
                format!("this access can be renewed from {} on", when::day(self.expires_at - BEFORE_END))
            }
            Standing::Expired if self.ended.is_some() => "other access has followed this one; renew that".into(),
            Standing::Expired if now - self.expires_at >= AFTER_END => {
                format!("this access ended on {}, too long ago to be renewed; apply again", when::day(self.expires_at))
            }
            Standing::Holds | Standing::ConsentNeeded | Standing::Expired => return Ok(()),
            Standing::Suspended => "this access is suspended; it can be renewed when it goes on".into(),
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
            return Err(FieldError::new("until", "is not later than it ends now").into());
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
        chars if chars > DECISION_CHARS_MAX => {
            Err(FieldError::new("text", format!("has {chars} characters; at most {DECISION_CHARS_MAX} fit")))
        }
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
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

    fn renewal(state: &str) -> Renewal {
        let by = AccountId::fresh();
        let state = match state {
            "open" => RenewalState::Open,
            "approved" => RenewalState::Approved { by, at: SOON, note: String::new() },
            "declined" => RenewalState::Declined { by, at: SOON, text: "no".into() },
            "withdrawn" => RenewalState::Withdrawn { at: SOON },
            "lapsed" => RenewalState::Lapsed { at: SOON },
            other => panic!("{other} is no state"),
        };
        Renewal { id: RenewalId::fresh(), grant: grant().id, asked: asked(), asked_at: SOON, state }
    }

    #[test]
    fn only_an_open_request_can_be_decided_and_every_command_closes_it() {
        let by = AccountId::fresh();
        let until = SOON + Duration::days(200);
        for state in ["open", "approved", "declined", "withdrawn", "lapsed"] {
            for (to, done) in [
                ("approved", renewal(state).approve(grant(), by, until, "", SOON).map(|(renewal, _)| renewal)),
                ("declined", renewal(state).decline(by, "Say more.", SOON)),
                ("withdrawn", renewal(state).withdraw(SOON)),
                ("lapsed", renewal(state).lapse(SOON)),
            ] {
                match done {
                    Ok(after) => assert_eq!((state, after.state.as_str()), ("open", to)),
                    Err(Error::Conflict(_)) => assert_ne!(state, "open", "{to}"),
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
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
        assert_eq!(renewal("open").would_end(&grant(), SOON), END + Duration::days(180));
        assert_eq!(renewal("open").would_end(&grant(), END + Duration::days(10)), END + Duration::days(190));
    }

    #[test]
    fn a_request_says_what_the_model_was_used_for() {
        let faults =
            Asked::parse("For science.", &"x".repeat(PUBLICATIONS_CHARS_MAX + 1), "13").expect_err("too little, too much, too long");
        assert_eq!(faults.iter().map(|fault| fault.field.as_ref()).collect::<Vec<_>>(), ["summary", "publications", "months"]);
    }
}
