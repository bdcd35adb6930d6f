//! Forms that only our own pages can send.
//!
//! Every browser holds a random seed in a cookie that no script can read; each form carries a token derived from it.
//! Another site can send neither. [`Form`] is the only way a handler gets at a posted form (a test holds that).

use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

use crate::error::{Error, FieldError};

/// The largest form we read. An application's answers hold 30,000 characters at most, each of up to twelve bytes on its way.
pub const FORM_BYTES_MAX: usize = 384 * 1024;
const CONTEXT: &str = "sluice 2026 form token";
const TOKEN_BYTES: usize = 20;

/// The seed of this browser, in the request's extensions once the middleware has seen it.
#[derive(Clone)]
pub struct Seed(String);

impl Seed {
    /// A new one.
    pub fn fresh() -> Self {
        let mut bytes = [0u8; 20];
        getrandom::fill(&mut bytes).expect("the operating system has random bytes");
        Self(data_encoding::BASE64URL_NOPAD.encode(&bytes))
    }

    /// The seed that the browser sent, if it looks like one of ours.
    pub fn from_cookie(value: &str) -> Option<Self> {
        (value.len() == 27 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')).then(|| Self(value.to_owned()))
    }

    /// What a form of this browser carries: the token under a mask made for this one page, behind the mask. No page looks like another,
    /// so the token cannot be guessed from how well pages compress.
    pub fn token(&self) -> String {
        let mut mask = [0u8; TOKEN_BYTES];
        getrandom::fill(&mut mask).expect("the operating system has random bytes");
        let token = self.unmasked();
        let masked: [u8; TOKEN_BYTES] = std::array::from_fn(|place| mask[place] ^ token[place]);
        data_encoding::BASE64URL_NOPAD.encode(&[mask, masked].concat())
    }

    /// Whether `sent` is such a token, under whatever mask.
    pub(super) fn knows(&self, sent: &str) -> bool {
        let Ok(sent) = data_encoding::BASE64URL_NOPAD.decode(sent.as_bytes()) else { return false };
        let Ok(sent) = <[u8; 2 * TOKEN_BYTES]>::try_from(sent) else { return false };
        let token: [u8; TOKEN_BYTES] = std::array::from_fn(|place| sent[place] ^ sent[TOKEN_BYTES + place]);
        subtle::ConstantTimeEq::ct_eq(self.unmasked().as_slice(), token.as_slice()).into()
    }

    fn unmasked(&self) -> [u8; TOKEN_BYTES] {
        let key = blake3::derive_key(CONTEXT, self.0.as_bytes());
        std::array::from_fn(|place| key[place])
    }

    /// The cookie that keeps the seed. `secure`: the portal is reached by TLS.
    pub fn cookie(&self, secure: bool) -> Cookie<'static> {
        own_cookie(cookie_name(secure), self.0.clone(), secure).finish()
    }
}

/// A cookie for our own pages only; `__Host-` names go with TLS.
pub fn own_cookie(name: &'static str, value: String, secure: bool) -> actix_web::cookie::CookieBuilder<'static> {
    Cookie::build(name, value).path("/").http_only(true).same_site(SameSite::Lax).secure(secure)
}

/// The seed cookie's name.
pub fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-sluice-form" } else { "sluice-form" }
}

/// A form sent by one of our own pages.
pub struct Form<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let seed = request.extensions().get::<Seed>().cloned();
        let fields = web::Form::<Vec<(String, String)>>::from_request(request, payload);
        Box::pin(async move {
            let fields = fields.await.map_err(|cause| FieldError::new("form", format!("cannot be read: {cause}")))?.into_inner();
            let sent = fields.iter().find(|(name, _)| name == "csrf").map(|(_, value)| value.as_str()).unwrap_or_default();
            if !seed.is_some_and(|seed| seed.knows(sent)) {
                return Err(Error::Conflict("this form is from an older visit; go back, reload the page and send it again".into()));
            }
            parse(fields).map(Form)
        })
    }
}

/// Reads the fields into `T`, naming the field at fault. A field sent several times (check boxes) becomes a list where `T` wants one.
fn parse<T: DeserializeOwned>(fields: Vec<(String, String)>) -> Result<T, Error> {
    let pairs: String =
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields.into_iter().filter(|(name, _)| name != "csrf")).finish();
    web::Query::<T>::from_query(&pairs).map(web::Query::into_inner).map_err(|cause| FieldError::new("form", cause.to_string()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_looks_different_in_each_page_and_is_known_by_its_browser_alone() {
        let (ours, other) = (Seed::fresh(), Seed::fresh());
        let (one, two) = (ours.token(), ours.token());
        assert!(one != two && ours.knows(&one) && ours.knows(&two) && !other.knows(&one));
        for not_a_token in ["", "x", &one[..27], &format!("{one}AAAA"), &"A".repeat(one.len())] {
            assert!(!ours.knows(not_a_token), "{not_a_token}");
        }
    }
}
