//! Account, role, address and password.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, PasswordHash, Version};

use super::guess::is_guessed_first;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::unseen::{is_unseen, visible};
use crate::ids::AccountId;

/// A person's account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The address they proved.
    pub email: Email,
    /// The name they gave.
    pub name: String,
    /// What they may do here.
    pub role: Role,
    /// When they proved the address; before that they cannot sign in.
    pub email_verified_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was closed by an admin.
    pub disabled_at: Option<Timestamp>,
}

/// What somebody may do in the portal. Each includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Applies, downloads, tries.
    Researcher,
    /// Decides on applications.
    Reviewer,
    /// Runs the portal.
    Admin,
}

impl Role {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Researcher => "researcher",
            Role::Reviewer => "reviewer",
            Role::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, FieldError> {
        [Role::Researcher, Role::Reviewer, Role::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| FieldError::new("role", "is one of researcher, reviewer, admin"))
    }
}

/// No mail ever goes to `.invalid` (RFC 2606), so nobody proves such an address.
const ERASED_DOMAIN: &str = "erased.invalid";

/// An e-mail address: lower case, one `@`, something on both sides, nothing that could end a header line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Reads an address as a person types it.
    pub fn parse(raw: &str) -> Result<Self, FieldError> {
        let address = raw.trim().to_lowercase();
        let wrong = || FieldError::new("email", "this does not look like an e-mail address, such as ada@university.edu");
        let (local, domain) = address.rsplit_once('@').ok_or_else(wrong)?;
        let plain =
            |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || is_unseen(c) || "<>()[],;:\\\"@".contains(c));
        if !plain(local)
            || !plain(domain)
            || domain.starts_with('.')
            || domain.ends_with('.')
            || domain.contains("..")
            || address.len() > 254
        {
            return Err(wrong());
        }
        if address.parse::<lettre::Address>().is_err() || domain == ERASED_DOMAIN {
            return Err(wrong());
        }
        Ok(Self(address))
    }

    /// What stands where the address of somebody stood who was forgotten: nothing can be sent there.
    pub(super) fn erased(id: AccountId) -> Self {
        Self(format!("{id}@{ERASED_DOMAIN}"))
    }

    /// Whether it is one of [`Email::erased`].
    pub(super) fn is_nobodys(&self) -> bool {
        self.0.rsplit_once('@').is_some_and(|(_, domain)| domain == ERASED_DOMAIN)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From the database, where only parsed addresses are.
    pub(super) fn trusted(stored: String) -> Self {
        Self(stored)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a person's name: one line, 1 to 120 characters, each of which can be seen.
pub fn parse_name(raw: &str) -> Result<String, FieldError> {
    let name = visible(&raw.split_whitespace().collect::<Vec<_>>().join(" "));
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 120 {
        return Err(FieldError::new("name", "enter the name you publish under, at most 120 characters"));
    }
    Ok(name.to_owned())
}

/// A password that is good enough, never printed.
pub struct Password(String);

/// NIST SP 800-63B-4 asks for 15 where the password is the only factor.
pub const PASSWORD_CHARS_MIN: usize = 15;
/// Long passphrases are welcome; more than this only costs hashing.
pub const PASSWORD_CHARS_MAX: usize = 256;

impl Password {
    /// A new password for the account `email` of `name`: length, and nothing everybody would guess. No rules about kinds of characters.
    pub fn parse_new(raw: &str, email: &Email, name: &str) -> Result<Self, FieldError> {
        let length = raw.chars().count();
        if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&length) {
            return Err(FieldError::new(
                "password",
                format!("enter {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters; a sentence is fine"),
            ));
        }
        if is_guessed_first(raw, &[email.as_str(), name]) || raw.to_lowercase().contains(email.as_str()) {
            return Err(FieldError::new("password", "this password is too easy to guess; choose another"));
        }
        Ok(Self(raw.to_owned()))
    }

    /// A password as typed at the sign-in page: to be compared, not judged.
    pub fn typed(raw: String) -> Self {
        Self(raw)
    }

    /// Its Argon2id hash (19 MiB, 2 passes: OWASP's first choice), computed off the async threads.
    pub async fn hash(self) -> Result<String, Error> {
        blocking(move || hasher().hash_password(self.0.as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(|cause| Error::internal(cause.to_string()))
    }

    /// Whether it is the one behind `stored`. With no account the same work is done for nothing, so that time tells nothing.
    pub async fn matches(self, stored: Option<String>) -> Result<bool, Error> {
        if self.0.chars().count() > PASSWORD_CHARS_MAX {
            return Ok(false);
        }
        blocking(move || {
            let Some(stored) = stored else {
                let _ = hasher().hash_password(self.0.as_bytes());
                return false;
            };
            PasswordHash::new(&stored).is_ok_and(|hash| hasher().verify_password(self.0.as_bytes(), &hash).is_ok())
        })
        .await
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).expect("these parameters are in range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_type_it() {
        assert_eq!(Email::parse(" Ada@Uni.EDU ").expect("an address").as_str(), "ada@uni.edu");
        for wrong in [
            "",
            "ada",
            "ada@",
            "@uni.edu",
            "a b@uni.edu",
            "ada@uni..edu",
            "ada@uni.edu\r\nBcc: x@y.z",
            "<ada@uni.edu>",
            "a@b@c",
            "ada@erased.invalid",
            "a\u{202e}da@uni.edu",
            "ada\u{200b}@uni.edu",
        ] {
            assert!(Email::parse(wrong).is_err(), "{wrong:?} was taken for an address");
        }
    }

    #[test]
    fn a_password_is_judged_by_length_and_by_how_soon_it_is_guessed() {
        let ada = Email::parse("ada@uni.edu").expect("an address");
        assert!(Password::parse_new("correct horse battery", &ada, "Ada").is_ok());
        assert!(Password::parse_new("пароль с буквами", &ada, "Ada").is_ok());
        for wrong in ["short", "aaaaaaaaaaaaaaaaaaaa", "PasswordPassword", "sluicesluicesluice", "my ada@uni.edu password"] {
            assert!(Password::parse_new(wrong, &ada, "Ada").is_err(), "{wrong:?} was accepted");
        }
    }
}
