//! Signing a program in from a browser (RFC 8628), so that nobody copies tokens by hand: the program asks for two codes, its owner
//! types the short one on `/device` and decides, and the program, which has been asking with the long one, is given a token. Once.

use time::Duration;

use super::secret::Secret;
use super::session::SignedIn;
use super::store;
use super::token::{Scope, TOKEN_DAYS_DEFAULT, make_token};
use crate::audit::{self, Event};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::when;
use crate::ids::{AccountId, DeviceSignInId};
use crate::mail::TokenMaker;
use crate::portal::Portal;

/// How long both codes work.
pub const CODES_LIFE: Duration = Duration::minutes(15);
/// How long a program waits between two questions, at first.
pub const INTERVAL_S: i32 = 5;
/// How much longer after each question that came too early (RFC 8628 §3.5), and at most.
const INTERVAL_STEP_S: i32 = 5;
const INTERVAL_MAX_S: i32 = 60;
/// A question that comes so much early is on time: networks are not.
const EARLY: Duration = Duration::seconds(1);
/// How long the row is kept after the codes have ended, so that a program that asks late is told why it gets nothing.
pub(super) const KEPT: Duration = Duration::hours(1);
/// The longest description of a program that we keep.
const USER_AGENT_CHARS_MAX: usize = 200;

/// A program that may ask. None has a secret, so each is only what it calls itself, and the page says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `hf auth login` and `huggingface_hub.login()`, unmodified.
    Hf,
    /// `sluice login`
    Sluice,
}

impl Program {
    const ALL: [Program; 2] = [Program::Hf, Program::Sluice];

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Program::Hf => "hf",
            Program::Sluice => "sluice",
        }
    }

    /// The `client_id` it sends.
    pub fn client_id(self) -> &'static str {
        match self {
            // What huggingface_hub sends unless told otherwise by HF_DEVICE_CODE_OAUTH_CLIENT_ID.
            Program::Hf => "26be6b09-91c5-47da-9861-d2d2bb7a7e36",
            Program::Sluice => "sluice",
        }
    }

    /// What people know it by.
    pub fn title(self) -> &'static str {
        match self {
            Program::Hf => "hf auth login",
            Program::Sluice => "sluice login",
        }
    }

    /// The program with this `client_id`.
    pub fn of_client(client_id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.client_id() == client_id)
    }

    /// The program that is stored so.
    pub(super) fn stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.as_str() == text)
    }
}

/// The short code, for people: eight consonants, which spell nothing and are not mistaken for digits (RFC 8628 §6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCode(String);

impl UserCode {
    const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
    const LENGTH: usize = 8;

    /// A new one.
    fn fresh() -> Self {
        let mut code = String::with_capacity(Self::LENGTH);
        while code.len() < Self::LENGTH {
            let mut bytes = [0u8; 16];
            getrandom::fill(&mut bytes).expect("the operating system has random bytes");
            // Twelve times twenty: what lies above would favour the first letters.
            let fair = bytes.iter().filter(|byte| **byte < 240).map(|byte| Self::LETTERS[usize::from(byte % 20)] as char);
            code.extend(fair.take(Self::LENGTH - code.len()));
        }
        Self(code)
    }

    /// What somebody typed, whatever the case and however it is parted; nothing if it cannot be a code.
    pub fn parse(typed: &str) -> Option<Self> {
        let code: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).take(20).collect();
        (code.len() == Self::LENGTH && code.bytes().all(|letter| Self::LETTERS.contains(&letter))).then_some(Self(code))
    }

    /// What the database keeps. It can be guessed from that, but not before it has ended, and it opens nothing without an account.
    fn hash(&self) -> [u8; 32] {
        <sha2::Sha256 as sha2::Digest>::digest(self.0.as_bytes()).into()
    }
}

impl std::fmt::Display for UserCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, second) = self.0.split_at(Self::LENGTH / 2);
        write!(f, "{first}-{second}")
    }
}

/// How far a sign-in has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody has decided.
    Waiting,
    /// This account's owner wants it; the program has not come for its token yet.
    Approved(AccountId),
    /// Somebody did not want it.
    Denied,
    /// The token was given out.
    Used,
}

/// A program that waits to be signed in.
#[derive(Debug, Clone)]
pub struct DeviceSignIn {
    /// Its id.
    pub id: DeviceSignInId,
    /// What it calls itself.
    pub program: Program,
    /// The same in its own words.
    pub user_agent: String,
    /// The network address it asked from.
    pub address: String,
    /// What it wants to do.
    pub scopes: Vec<Scope>,
    /// How far it has come.
    pub state: State,
    /// When it asked.
    pub created_at: Timestamp,
    /// When its codes end.
    pub expires_at: Timestamp,
    /// When it asked last whether somebody has decided.
    pub polled_at: Option<Timestamp>,
    /// How long it has to wait between two questions.
    pub interval_s: i32,
}

/// The two codes; seen by the program alone.
pub struct Codes {
    /// The long one, to ask with.
    pub device_code: String,
    /// The short one, to show.
    pub user_code: UserCode,
}

/// What a program is told that asks whether somebody has decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// Not yet.
    Pending,
    /// Not yet, and it asks too often.
    TooOften,
    /// No.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// There is no such code, or it was used before.
    Unknown,
    /// Yes: the token, which is seen here and never again, and what it may be used for.
    Token {
        /// `slc_…`
        secret: String,
        /// What for.
        scopes: Vec<Scope>,
    },
}

impl DeviceSignIn {
    /// What a question at `now` is answered, apart from the token itself; `None`: it is due.
    fn answer(&self, now: Timestamp) -> Option<Redeemed> {
        let early = self.polled_at.is_some_and(|at| now - at < Duration::seconds(self.interval_s.into()) - EARLY);
        match self.state {
            State::Used => Some(Redeemed::Unknown),
            State::Denied => Some(Redeemed::Denied),
            State::Waiting | State::Approved(_) if now >= self.expires_at => Some(Redeemed::Expired),
            State::Waiting | State::Approved(_) if early => Some(Redeemed::TooOften),
            State::Waiting => Some(Redeemed::Pending),
            State::Approved(_) => None,
        }
    }
}

/// Begins a sign-in: two codes, which end by themselves.
pub async fn begin(portal: &Portal, program: Program, scopes: Vec<Scope>, user_agent: &str, address: &str) -> Result<Codes, Error> {
    let now = portal.clock.now();
    let (secret, user_code) = (Secret::fresh(""), UserCode::fresh());
    let waiting = DeviceSignIn {
        id: DeviceSignInId::fresh(),
        program,
        user_agent: user_agent.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect(),
        address: address.to_owned(),
        scopes,
        state: State::Waiting,
        created_at: now,
        expires_at: now + CODES_LIFE,
        polled_at: None,
        interval_s: INTERVAL_S,
    };
    store::insert_device_sign_in(&mut *portal.db.acquire().await?, &waiting, &secret.hash(), &user_code.hash()).await?;
    Ok(Codes { device_code: secret.reveal().to_owned(), user_code })
}

/// The program that waits with this code; nothing if none does, or not any more. Looking decides nothing.
/// Errors: `Limited` for who tries too many codes that nobody waits with.
pub async fn look(portal: &Portal, who: &SignedIn, typed: &str) -> Result<Option<(UserCode, DeviceSignIn)>, Error> {
    let found = match UserCode::parse(typed) {
        Some(code) => store::waiting_with_code(&mut *portal.db.acquire().await?, &code.hash(), portal.clock.now())
            .await?
            .map(|waiting| (code, waiting)),
        None => None,
    };
    if found.is_none() {
        portal.limits.device_code.check(&who.account.id.to_string())?;
    }
    Ok(found)
}

/// Decides. Of two at once exactly one does. Errors: `Conflict` if nobody waits with the code any more.
pub async fn decide(portal: &Portal, who: &SignedIn, typed: &str, approve: bool) -> Result<DeviceSignIn, Error> {
    let gone = || {
        let told = "no program waits with this code any more; start again where you typed the command";
        Error::Conflict(told.into()).mended_by("/device", "Type another code")
    };
    let Some((_, waiting)) = look(portal, who, typed).await? else { return Err(gone()) };
    let (now, account) = (portal.clock.now(), who.account.id);
    let mut tx = portal.db.begin().await?;
    if !store::decide(&mut tx, waiting.id, account, if approve { "approved" } else { "denied" }, now).await? {
        return Err(gone());
    }
    let program = waiting.program.as_str();
    let event = if approve { Event::DeviceApproved { account, program } } else { Event::DeviceDenied { account, program } };
    audit::record(&mut tx, now, Some(account), &event).await?;
    tx.commit().await?;
    Ok(waiting)
}

/// What the program is told that asks with `device_code`. The token is made here, so that its secret never rests anywhere.
pub async fn redeem(portal: &Portal, program: Program, device_code: &str) -> Result<Redeemed, Error> {
    let Some(secret) = Secret::parse("", device_code) else { return Ok(Redeemed::Unknown) };
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let waiting = store::lock_device_sign_in(&mut tx, &secret.hash()).await?;
    let Some(waiting) = waiting.filter(|waiting| waiting.program == program) else { return Ok(Redeemed::Unknown) };
    if let Some(answer) = waiting.answer(now) {
        let step_s = if answer == Redeemed::TooOften { INTERVAL_STEP_S } else { 0 };
        store::note_poll(&mut tx, waiting.id, now, (waiting.interval_s + step_s).min(INTERVAL_MAX_S)).await?;
        tx.commit().await?;
        return Ok(answer);
    }
    let State::Approved(account) = waiting.state else { return Ok(Redeemed::Unknown) };
    let account = store::find(&mut tx, account).await?;
    if account.disabled_at.is_some() {
        return Ok(Redeemed::Denied);
    }
    store::use_device_sign_in(&mut tx, waiting.id).await?;
    let name = format!("{} {}", program.title(), when::date_field(now.date()));
    // Who was talked into typing a stranger's code reads of it in a mail.
    let maker = TokenMaker::Program(program.title());
    let secret = make_token(&mut tx, portal, maker, &account, &name, &waiting.scopes, TOKEN_DAYS_DEFAULT).await?;
    tx.commit().await?;
    Ok(Redeemed::Token { secret, scopes: waiting.scopes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn waiting(state: State, polled_at: Option<Timestamp>) -> DeviceSignIn {
        let created_at = datetime!(2026-03-02 09:00 UTC);
        DeviceSignIn {
            id: DeviceSignInId::fresh(),
            program: Program::Hf,
            user_agent: String::new(),
            address: String::new(),
            scopes: vec![Scope::Download],
            state,
            created_at,
            expires_at: created_at + CODES_LIFE,
            polled_at,
            interval_s: INTERVAL_S,
        }
    }

    #[test]
    fn a_code_is_read_however_people_type_it() {
        for _ in 0..100 {
            let code = UserCode::fresh();
            let shown = code.to_string();
            assert_eq!((shown.len(), &shown[4..5]), (9, "-"));
            for typed in [shown.clone(), shown.to_lowercase(), shown.replace('-', ""), format!(" {} ", shown.replace('-', " - "))] {
                assert_eq!(UserCode::parse(&typed).as_ref(), Some(&code), "{typed}");
            }
        }
        for no_code in ["", "WDJB", "WDJB-MJHTX", "WDJB-MJH1", "WDJB-MJHÄ", "AEIO-UYAE"] {
            assert_eq!(UserCode::parse(no_code), None, "{no_code}");
        }
    }

    #[test]
    fn a_question_is_answered_by_the_state_the_end_and_the_pace() {
        let at = |seconds| datetime!(2026-03-02 09:00 UTC) + Duration::seconds(seconds);
        let account = AccountId::fresh();
        for (state, polled_s, now_s, answer) in [
            (State::Waiting, None, 0, Some(Redeemed::Pending)),
            (State::Waiting, Some(0), 3, Some(Redeemed::TooOften)),
            (State::Waiting, Some(0), 4, Some(Redeemed::Pending)),
            (State::Waiting, None, 15 * 60, Some(Redeemed::Expired)),
            (State::Approved(account), Some(0), 5, None),
            (State::Approved(account), Some(0), 1, Some(Redeemed::TooOften)),
            (State::Approved(account), Some(0), 15 * 60, Some(Redeemed::Expired)),
            (State::Denied, None, 0, Some(Redeemed::Denied)),
            (State::Used, None, 0, Some(Redeemed::Unknown)),
        ] {
            assert_eq!(waiting(state, polled_s.map(at)).answer(at(now_s)), answer, "{state:?} {polled_s:?} {now_s}");
        }
    }
}
