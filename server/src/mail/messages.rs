//! The mails we write, each a plain-text template in `templates/mail/`. Personal links come in complete. What anybody may have sent to
//! an address that nobody has proved bears no word of a stranger's, not even the name they gave.

use askama::Template;

use crate::error::Error;

/// A mail that can be sent. `portal` is the public address without a path; `link` fields are complete addresses.
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
    TokenMade { to: String, name: String, token: String, program: &'static str, until: String, tokens: String },
    #[template(path = "mail/application_received.txt")]
    ApplicationReceived { to: String, name: String, model: String, link: String },
    #[template(path = "mail/application_to_review.txt")]
    ApplicationToReview { to: String, name: String, applicant: String, model: String, link: String },
    #[template(path = "mail/application_resubmitted.txt")]
    ApplicationResubmitted { to: String, name: String, applicant: String, model: String, link: String },
    #[template(path = "mail/changes_requested.txt")]
    ChangesRequested { to: String, name: String, model: String, text: String, until: String, link: String },
    #[template(path = "mail/comment_written.txt")]
    CommentWritten { to: String, name: String, author: String, model: String, link: String },
    #[template(path = "mail/application_lapsing.txt")]
    ApplicationLapsing { to: String, name: String, model: String, until: String, link: String },
    #[template(path = "mail/application_lapsed.txt")]
    ApplicationLapsed { to: String, name: String, model: String, link: String },
    #[template(path = "mail/access_granted.txt")]
    AccessGranted { to: String, name: String, model: String, until: String, note: String, link: String },
    #[template(path = "mail/application_declined.txt")]
    ApplicationDeclined { to: String, name: String, model: String, reason: String, text: String, link: String },
    #[template(path = "mail/release_yanked.txt")]
    ReleaseYanked { to: String, name: String, model: String, revision: String, reason: String, instead: Option<String>, link: String },
    #[template(path = "mail/release_restored.txt")]
    ReleaseRestored { to: String, name: String, model: String, revision: String, link: String },
    #[template(path = "mail/access_revoked.txt")]
    AccessRevoked { to: String, name: String, model: String, reason: String, link: String },
}

impl Message {
    /// The stable name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Message::VerifyAddress { .. } => "verify_address",
            Message::AlreadyRegistered { .. } => "already_registered",
            Message::ResetPassword { .. } => "reset_password",
            Message::PasswordChanged { .. } => "password_changed",
            Message::TokenMade { .. } => "token_made",
            Message::ApplicationReceived { .. } => "application_received",
            Message::ApplicationToReview { .. } => "application_to_review",
            Message::ApplicationResubmitted { .. } => "application_resubmitted",
            Message::ChangesRequested { .. } => "changes_requested",
            Message::CommentWritten { .. } => "comment_written",
            Message::ApplicationLapsing { .. } => "application_lapsing",
            Message::ApplicationLapsed { .. } => "application_lapsed",
            Message::AccessGranted { .. } => "access_granted",
            Message::ApplicationDeclined { .. } => "application_declined",
            Message::ReleaseYanked { .. } => "release_yanked",
            Message::ReleaseRestored { .. } => "release_restored",
            Message::AccessRevoked { .. } => "access_revoked",
        }
    }

    /// Whom it goes to.
    pub fn recipient(&self) -> &str {
        match self {
            Message::VerifyAddress { to, .. }
            | Message::AlreadyRegistered { to, .. }
            | Message::ResetPassword { to, .. }
            | Message::PasswordChanged { to, .. }
            | Message::TokenMade { to, .. }
            | Message::ApplicationReceived { to, .. }
            | Message::ApplicationToReview { to, .. }
            | Message::ApplicationResubmitted { to, .. }
            | Message::ChangesRequested { to, .. }
            | Message::CommentWritten { to, .. }
            | Message::ApplicationLapsing { to, .. }
            | Message::ApplicationLapsed { to, .. }
            | Message::AccessGranted { to, .. }
            | Message::ApplicationDeclined { to, .. }
            | Message::ReleaseYanked { to, .. }
            | Message::ReleaseRestored { to, .. }
            | Message::AccessRevoked { to, .. } => to,
        }
    }

    /// Its subject line.
    pub fn subject(&self) -> String {
        match self {
            Message::VerifyAddress { .. } => "Confirm your address".into(),
            Message::AlreadyRegistered { .. } => "You already have an account".into(),
            Message::ResetPassword { .. } => "Choose a new password".into(),
            Message::PasswordChanged { .. } => "Your password was changed".into(),
            Message::TokenMade { program, .. } => format!("{program} was signed in to your account"),
            Message::ApplicationReceived { model, .. } => format!("Your application for {model} has arrived"),
            Message::ApplicationToReview { model, .. } => format!("To review: an application for {model}"),
            Message::ApplicationResubmitted { model, .. } => format!("Changed as you asked: an application for {model}"),
            Message::ChangesRequested { model, .. } => format!("Your turn: changes to your application for {model}"),
            Message::CommentWritten { model, .. } => format!("A new comment on the application for {model}"),
            Message::ApplicationLapsing { model, .. } => format!("Your application for {model} waits for you"),
            Message::ApplicationLapsed { model, .. } => format!("Your application for {model} has lapsed"),
            Message::AccessGranted { model, .. } => format!("You have access to {model}"),
            Message::ApplicationDeclined { model, .. } => format!("Your application for {model} was declined"),
            Message::ReleaseYanked { model, .. } => format!("A release of {model} that you downloaded was yanked"),
            Message::ReleaseRestored { model, .. } => format!("A release of {model} is on offer again"),
            Message::AccessRevoked { model, .. } => format!("Your access to {model} has ended"),
        }
    }

    /// Its text.
    pub fn body(&self) -> Result<String, Error> {
        self.render().map_err(Error::internal)
    }
}
