//! Typed, prefixed ids: `grant_01jd…` on the outside, a UUIDv7 in the database.
//! They sort by the time they were made and cannot be mistaken for one another.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Crockford's base 32, lower case: no i, l, o, u. 26 digits hold 128 bits.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 26;

fn encode(id: Uuid) -> String {
    let bits = id.as_u128();
    (0..LENGTH).rev().map(|place| DIGITS[(bits >> (5 * place)) as usize & 31] as char).collect()
}

fn decode(text: &str) -> Option<Uuid> {
    if text.len() != LENGTH || text.as_bytes()[0] > b'7' {
        return None;
    }
    let mut bits = 0u128;
    for digit in text.bytes() {
        bits = bits << 5 | DIGITS.iter().position(|d| *d == digit)? as u128;
    }
    Some(Uuid::from_u128(bits))
}

/// What was given as an id is none.
#[derive(Debug, thiserror::Error)]
#[error("not an id of this kind (it looks like {0}_01jd…)")]
pub struct NotAnId(&'static str);

#[expect(clippy::disallowed_methods, reason = "this is the one place that makes ids")]
fn fresh() -> Uuid {
    Uuid::now_v7()
}

/// How an id is described to programs.
fn printed(prefix: &str) -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::Type::String)
        .pattern(Some(format!("^{prefix}_[0-9a-hjkmnp-tv-z]{{26}}$")))
        .examples([format!("{prefix}_01kjp2n3v8e8rbb3wd8jxq4m5c")])
        .into()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one, never seen before.
            pub fn fresh() -> Self { Self(fresh()) }
            /// As the database keeps it.
            pub fn uuid(self) -> Uuid { self.0 }
        }
        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self { Self(id) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!($prefix, "_{}"), encode(self.0)) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }
        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.strip_prefix(concat!($prefix, "_")).and_then(decode).map(Self).ok_or(NotAnId($prefix))
            }
        }
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> { printed($prefix) }
        }
        impl utoipa::ToSchema for $name {}
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> { to.collect_str(self) }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                <std::borrow::Cow<'de, str>>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A person's account.
    AccountId = "acct";
    /// A signed-in browser.
    SessionId = "sess";
    /// An access token.
    TokenId = "tok";
    /// A one-time link in a mail or on a terminal.
    LinkId = "link";
    /// A program that waits to be signed in from a browser.
    DeviceSignInId = "dev";
    /// A mail in the outbox.
    MailId = "mail";
    /// A model on offer.
    ModelId = "model";
    /// One immutable release of a model.
    ReleaseId = "rel";
    /// An application for access.
    ApplicationId = "app";
    /// A comment on an application.
    CommentId = "cmt";
    /// Access of one account to one model.
    GrantId = "grant";
    /// Somebody kept out.
    BlockId = "block";
    /// A request to let a grant go on beyond its end.
    RenewalId = "renewal";
    /// A row of the download ledger.
    DownloadId = "dl";
    /// One time through the whole store.
    ScrubId = "scrub";
    /// A generation in the playground or by the API.
    GenerationId = "gen";
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_id_reads_back_as_it_was_printed(bits: u128) {
            let id = GrantId::from(Uuid::from_u128(bits));
            proptest::prop_assert_eq!(id.to_string().parse::<GrantId>().ok(), Some(id));
        }
    }

    #[test]
    fn an_id_of_another_kind_is_none() {
        assert!(AccountId::fresh().to_string().parse::<GrantId>().is_err());
        assert!("grant_zzzzzzzzzzzzzzzzzzzzzzzzzz".parse::<GrantId>().is_err());
    }
}
