//! The mails we write, each a plain-text template in `templates/mail/`. Personal links come in complete. What anybody may have sent to
//! an address that nobody has proved bears no word of a stranger's, not even the name they gave. What a person wrote, beyond a name, goes
//! through `|quoted`; how lines become HTML is told in `html.rs`.

use askama::Template;

use super::filters;
use crate::error::Error;

/// A mail that can be sent. `portal` is the public address without a path; `link` fields are complete addresses. `is_appeal`: it is about what was
/// declined, and is decided a second time.
#[derive(Template, Debug, Clone)]
#[expect(missing_docs, reason = "each is named for its occasion, and its fields for what they hold")]
pub enum Message {
    #[template(path = "mail/verify_address.txt")]
    VerifyAddress { to: String, link: String, hours: i64 },
    #[template(path = "mail/already_registered.txt")]
    AlreadyRegistered { to: String, name: String, sign_in: String, reset: String },
    #[template(path = "mail/reset_password.txt")]
    ResetPassword { to: String, link: String, minutes: i64 },
    #[template(path = "mail/password_changed.txt")]
    PasswordChanged { to: String, name: String, revoked_tokens: usize, tokens: String, reset: String },
    #[template(path = "mail/token_made.txt")]
    TokenMade { to: String, name: String, token: String, maker: TokenMaker, may: Vec<&'static str>, until: String, tokens: String },
    #[template(path = "mail/token_ends.txt")]
    TokenEnds { to: String, name: String, token: String, left: String, until: String, tokens: String },
    #[template(path = "mail/token_leaked.txt")]
    TokenLeaked { to: String, name: String, token: String, made: String, used: Option<String>, downloads: String, tokens: String },
    #[template(path = "mail/new_sign_in.txt")]
    NewSignIn { to: String, name: String, at: String, browser: String, sessions: String, reset: String },
    #[template(path = "mail/role_changed.txt")]
    RoleChanged { to: String, name: String, role: &'static str, link: String },
    #[template(path = "mail/application_received.txt")]
    ApplicationReceived { to: String, name: String, model: String, promised: String, link: String },
    #[template(path = "mail/application_to_review.txt")]
    ApplicationToReview { to: String, name: String, applicant: String, model: String, is_appeal: bool, link: String },
    #[template(path = "mail/appeal_received.txt")]
    AppealReceived { to: String, name: String, model: String, promised: String, link: String },
    #[template(path = "mail/application_resubmitted.txt")]
    ApplicationResubmitted { to: String, name: String, applicant: String, model: String, is_changed: bool, link: String },
    #[template(path = "mail/changes_requested.txt")]
    ChangesRequested { to: String, name: String, model: String, text: String, fields: Vec<String>, until: String, link: String },
    #[template(path = "mail/comment_written.txt")]
    CommentWritten { to: String, name: String, author: String, model: String, link: String },
    #[template(path = "mail/application_overdue.txt")]
    ApplicationOverdue { to: String, name: String, model: String, promised: String, link: String },
    #[template(path = "mail/application_lapsing.txt")]
    ApplicationLapsing { to: String, name: String, model: String, until: String, link: String },
    #[template(path = "mail/application_lapsed.txt")]
    ApplicationLapsed { to: String, name: String, model: String, link: String },
    #[template(path = "mail/access_granted.txt")]
    AccessGranted {
        to: String,
        name: String,
        model: String,
        until: String,
        may: String,
        origin: GrantedBy,
        agree_by: Option<String>,
        link: String,
    },
    #[template(path = "mail/application_declined.txt")]
    ApplicationDeclined {
        to: String,
        name: String,
        model: String,
        reason: String,
        text: String,
        /// Until when its applicant may appeal; nothing where this is the result of an appeal.
        appeal_until: Option<String>,
        again_from: String,
        link: String,
    },
    #[template(path = "mail/release_yanked.txt")]
    ReleaseYanked { to: String, name: String, model: String, revision: String, reason: String, instead: Option<String>, link: String },
    #[template(path = "mail/release_restored.txt")]
    ReleaseRestored { to: String, name: String, model: String, revision: String, link: String },
    #[template(path = "mail/release_superseded.txt")]
    ReleaseSuperseded { to: String, name: String, model: String, revision: String, notes: String, link: String },
    #[template(path = "mail/access_revoked.txt")]
    AccessRevoked { to: String, name: String, model: String, reason: String, link: String },
    #[template(path = "mail/access_suspended.txt")]
    AccessSuspended { to: String, name: String, model: String, reason: String, link: String },
    #[template(path = "mail/access_reinstated.txt")]
    AccessReinstated { to: String, name: String, model: String, link: String },
    #[template(path = "mail/revocation_to_confirm.txt")]
    RevocationToConfirm { to: String, name: String, by: String, holder: String, model: String, reason: String, link: String },
    #[template(path = "mail/access_closed.txt")]
    AccessClosed { to: String, name: String, model: String, attestation: &'static str, link: String },
    #[template(path = "mail/blocked.txt")]
    Blocked { to: String, name: String, what: String, until: String, reason: String, link: String },
    #[template(path = "mail/block_lifted.txt")]
    BlockLifted { to: String, name: String, what: String, link: String },
    #[template(path = "mail/access_ends.txt")]
    AccessEnds { to: String, name: String, model: String, until: String, left: String, link: String },
    #[template(path = "mail/access_ended.txt")]
    AccessEnded { to: String, name: String, model: String, until: String, days: i64, link: String },
    #[template(path = "mail/renewal_to_review.txt")]
    RenewalToReview { to: String, name: String, holder: String, model: String, months: u8, link: String },
    #[template(path = "mail/access_renewed.txt")]
    AccessRenewed { to: String, name: String, model: String, until: String, note: String, link: String },
    #[template(path = "mail/renewal_declined.txt")]
    RenewalDeclined { to: String, name: String, model: String, until: String, is_over: bool, text: String, link: String },
    #[template(path = "mail/renewal_lapsed.txt")]
    RenewalLapsed { to: String, name: String, model: String, link: String },
    #[template(path = "mail/licence_changed.txt")]
    LicenceChanged { to: String, name: String, model: String, until: Option<String>, link: String },
    #[template(path = "mail/clauses_changed.txt")]
    ClausesChanged { to: String, name: String, model: String, until: Option<String>, clauses: Vec<String>, link: String },
    #[template(path = "mail/consent_due.txt")]
    ConsentDue { to: String, name: String, model: String, left: String, until: String, link: String },
    #[template(path = "mail/reviews_overdue.txt")]
    ReviewsOverdue { to: String, name: String, cases: Vec<Waiting>, link: String },
    #[template(path = "mail/review_digest.txt")]
    ReviewDigest {
        to: String,
        name: String,
        waiting: i64,
        overdue: i64,
        overdue_elsewhere: i64,
        urgent: Vec<Waiting>,
        link: String,
        renewals: i64,
        renewals_link: String,
    },
}

/// Who makes a token that no other token makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenMaker {
    /// Its owner, on the page of their tokens.
    Owner,
    /// Its owner, by letting a program sign in that is called so.
    Program(&'static str),
    /// The operator of the portal, for its owner.
    Operator,
}

/// How somebody came by access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantedBy {
    /// Their application was approved, with this note, which may be empty, or an appeal about it was.
    Approval {
        /// What the reviewer wrote.
        note: String,
        /// Whether it was an appeal.
        is_appeal: bool,
    },
    /// It was given to them without one, by whom is said here.
    Gift(&'static str),
}

/// An application in a mail to a reviewer.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The model's full name.
    pub model: String,
    /// Who applies.
    pub applicant: String,
    /// How long it has waited, in words.
    pub length: String,
    /// Whether that is longer than was promised.
    pub is_overdue: bool,
    /// Its case.
    pub link: String,
}

impl Message {
    /// The kind of the digest, which somebody gets instead of mails of other kinds.
    pub(super) const REVIEW_DIGEST: &str = "review_digest";

    /// The stable name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Message::VerifyAddress { .. } => "verify_address",
            Message::AlreadyRegistered { .. } => "already_registered",
            Message::ResetPassword { .. } => "reset_password",
            Message::PasswordChanged { .. } => "password_changed",
            Message::TokenMade { .. } => "token_made",
            Message::TokenEnds { .. } => "token_ends",
            Message::TokenLeaked { .. } => "token_leaked",
            Message::NewSignIn { .. } => "new_sign_in",
            Message::RoleChanged { .. } => "role_changed",
            Message::ApplicationReceived { .. } => "application_received",
            Message::ApplicationToReview { .. } => "application_to_review",
            Message::AppealReceived { .. } => "appeal_received",
            Message::ApplicationResubmitted { .. } => "application_resubmitted",
            Message::ChangesRequested { .. } => "changes_requested",
            Message::CommentWritten { .. } => "comment_written",
            Message::ApplicationOverdue { .. } => "application_overdue",
            Message::ApplicationLapsing { .. } => "application_lapsing",
            Message::ApplicationLapsed { .. } => "application_lapsed",
            Message::AccessGranted { .. } => "access_granted",
            Message::ApplicationDeclined { .. } => "application_declined",
            Message::ReleaseYanked { .. } => "release_yanked",
            Message::ReleaseRestored { .. } => "release_restored",
            Message::ReleaseSuperseded { .. } => "release_superseded",
            Message::AccessRevoked { .. } => "access_revoked",
            Message::AccessSuspended { .. } => "access_suspended",
            Message::AccessReinstated { .. } => "access_reinstated",
            Message::RevocationToConfirm { .. } => "revocation_to_confirm",
            Message::AccessClosed { .. } => "access_closed",
            Message::Blocked { .. } => "blocked",
            Message::BlockLifted { .. } => "block_lifted",
            Message::AccessEnds { .. } => "access_ends",
            Message::AccessEnded { .. } => "access_ended",
            Message::RenewalToReview { .. } => "renewal_to_review",
            Message::AccessRenewed { .. } => "access_renewed",
            Message::RenewalDeclined { .. } => "renewal_declined",
            Message::RenewalLapsed { .. } => "renewal_lapsed",
            Message::LicenceChanged { .. } => "licence_changed",
            Message::ClausesChanged { .. } => "clauses_changed",
            Message::ConsentDue { .. } => "consent_due",
            Message::ReviewsOverdue { .. } => "reviews_overdue",
            Message::ReviewDigest { .. } => Self::REVIEW_DIGEST,
        }
    }

    /// Whether a mail of this kind carries a link that lets its reader in, once: such a mail is not kept when it has left.
    pub fn carries_link(kind: &str) -> bool {
        matches!(kind, "verify_address" | "reset_password")
    }

    /// Whom it goes to.
    pub fn recipient(&self) -> &str {
        match self {
            Message::VerifyAddress { to, .. }
            | Message::AlreadyRegistered { to, .. }
            | Message::ResetPassword { to, .. }
            | Message::PasswordChanged { to, .. }
            | Message::TokenMade { to, .. }
            | Message::TokenEnds { to, .. }
            | Message::TokenLeaked { to, .. }
            | Message::NewSignIn { to, .. }
            | Message::RoleChanged { to, .. }
            | Message::ApplicationReceived { to, .. }
            | Message::ApplicationToReview { to, .. }
            | Message::AppealReceived { to, .. }
            | Message::ApplicationResubmitted { to, .. }
            | Message::ChangesRequested { to, .. }
            | Message::CommentWritten { to, .. }
            | Message::ApplicationOverdue { to, .. }
            | Message::ApplicationLapsing { to, .. }
            | Message::ApplicationLapsed { to, .. }
            | Message::AccessGranted { to, .. }
            | Message::ApplicationDeclined { to, .. }
            | Message::ReleaseYanked { to, .. }
            | Message::ReleaseRestored { to, .. }
            | Message::ReleaseSuperseded { to, .. }
            | Message::AccessRevoked { to, .. }
            | Message::AccessSuspended { to, .. }
            | Message::AccessReinstated { to, .. }
            | Message::RevocationToConfirm { to, .. }
            | Message::AccessClosed { to, .. }
            | Message::Blocked { to, .. }
            | Message::BlockLifted { to, .. }
            | Message::AccessEnds { to, .. }
            | Message::AccessEnded { to, .. }
            | Message::RenewalToReview { to, .. }
            | Message::AccessRenewed { to, .. }
            | Message::RenewalDeclined { to, .. }
            | Message::RenewalLapsed { to, .. }
            | Message::LicenceChanged { to, .. }
            | Message::ClausesChanged { to, .. }
            | Message::ConsentDue { to, .. }
            | Message::ReviewsOverdue { to, .. }
            | Message::ReviewDigest { to, .. } => to,
        }
    }

    /// Its subject line.
    pub fn subject(&self) -> String {
        match self {
            Message::VerifyAddress { .. } => "Confirm your address".into(),
            Message::AlreadyRegistered { .. } => "You already have an account".into(),
            Message::ResetPassword { .. } => "Choose a new password".into(),
            Message::PasswordChanged { .. } => "Your password was changed".into(),
            Message::TokenMade { maker: TokenMaker::Program(program), .. } => format!("{program} was signed in to your account"),
            Message::TokenMade { token, .. } => format!("An access token was made for your account: {token}"),
            Message::RoleChanged { role, .. } => format!("Your role here is now {role}"),
            Message::TokenEnds { token, left, .. } => format!("Your access token {token} ends in {left}"),
            Message::TokenLeaked { token, .. } => format!("Your access token {token} was found in public and revoked"),
            Message::NewSignIn { .. } => "A new sign-in to your account".into(),
            Message::ApplicationReceived { model, .. } => format!("Your application for {model} has arrived"),
            Message::ApplicationToReview { model, is_appeal: true, .. } => format!("To review: an appeal about {model}"),
            Message::AppealReceived { model, .. } => format!("Your appeal about {model} has arrived"),
            Message::ApplicationToReview { model, .. } => format!("To review: an application for {model}"),
            Message::ApplicationResubmitted { model, is_changed: false, .. } => {
                format!("Sent again without changes: an application for {model}")
            }
            Message::ApplicationResubmitted { model, .. } => format!("Changed as you asked: an application for {model}"),
            Message::ChangesRequested { model, .. } => format!("Your turn: changes to your application for {model}"),
            Message::CommentWritten { model, .. } => format!("A new comment on the application for {model}"),
            Message::ApplicationOverdue { model, .. } => format!("The answer to your application for {model} is late"),
            Message::ApplicationLapsing { model, .. } => format!("Your application for {model} is waiting for you"),
            Message::ApplicationLapsed { model, .. } => format!("Your application for {model} has lapsed"),
            Message::AccessGranted { model, origin: GrantedBy::Approval { is_appeal: true, .. }, .. } => {
                format!("Your appeal: you have access to {model}")
            }
            Message::AccessGranted { model, .. } => format!("You have access to {model}"),
            Message::ApplicationDeclined { model, appeal_until: None, .. } => {
                format!("Your appeal: the application for {model} stays declined")
            }
            Message::ApplicationDeclined { model, .. } => format!("Your application for {model} was declined"),
            Message::ReleaseYanked { model, .. } => format!("A release of {model} that you downloaded was yanked"),
            Message::ReleaseRestored { model, .. } => format!("A release of {model} is available again"),
            Message::ReleaseSuperseded { model, .. } => format!("There is a new release of {model}"),
            Message::AccessRevoked { model, .. } => format!("Your access to {model} was revoked"),
            Message::AccessSuspended { model, .. } => format!("Your access to {model} is suspended"),
            Message::AccessReinstated { model, .. } => format!("Your access to {model} is reinstated"),
            Message::RevocationToConfirm { model, .. } => format!("To confirm: revoking access to {model}"),
            Message::AccessClosed { model, .. } => format!("You have closed your access to {model}"),
            Message::Blocked { what, .. } => format!("You are blocked from {what}"),
            Message::BlockLifted { what, .. } => format!("You are no longer blocked from {what}"),
            Message::AccessEnds { model, left, .. } => format!("Your access to {model} ends in {left}"),
            Message::AccessEnded { model, .. } => format!("Your access to {model} has ended"),
            Message::RenewalToReview { model, .. } => format!("To review: a renewal for {model}"),
            Message::AccessRenewed { model, .. } => format!("Your access to {model} was renewed"),
            Message::RenewalDeclined { model, .. } => format!("Your access to {model} was not renewed"),
            Message::RenewalLapsed { model, .. } => format!("Your request to renew {model} has lapsed"),
            Message::LicenceChanged { model, .. } => format!("The licence of {model} has changed"),
            Message::ClausesChanged { model, .. } => format!("The terms for {model} have changed"),
            Message::ConsentDue { model, left, .. } => {
                format!("Your access to {model} will be paused in {left} unless you agree to what has changed")
            }
            Message::ReviewsOverdue { cases, .. } => match &cases[..] {
                [case] => format!("Overdue: an application for {}", case.model),
                more => format!("Overdue: {} applications", more.len()),
            },
            Message::ReviewDigest { waiting, renewals, .. } => {
                let some = |count: i64, one: &str, many: &str| match count {
                    0 => None,
                    1 => Some(one.to_owned()),
                    _ => Some(format!("{count} {many}")),
                };
                let parts = [some(*waiting, "one application", "applications"), some(*renewals, "one renewal", "renewals")];
                format!("To review: {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Its text.
    pub fn body(&self) -> Result<String, Error> {
        self.render().map_err(Error::internal)
    }
}
