//! Signing programs in and out: the addresses that programs speak to (RFC 8628, RFC 7009), and the page on which their owner decides.

use actix_web::http::header;
use actix_web::web::{Bytes, Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::super::device::{self, CODES_LIFE, DeviceSignIn, INTERVAL_S, Program, Redeemed, UserCode};
use super::super::token::{TOKEN_DAYS_DEFAULT, give_back};
use super::super::{Scope, SignedIn};
use crate::error::Error;
use crate::http::limits::client_address;
use crate::http::oauth::Refused;
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, filters, see_other};
use crate::portal::Portal;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const SECONDS_A_DAY: i64 = 86_400;

/// The fields of a program's form. Programs have no form token, and what they send here changes nothing for whoever may be signed in.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(body: &Bytes) -> Self {
        Self(url::form_urlencoded::parse(body).into_owned().collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    fn program(&self) -> Result<Program, (Refused, &'static str)> {
        let told = "this client_id is not known here; programs that may sign in are: hf auth login, sluice login";
        Program::of_client(self.get("client_id")).ok_or((Refused::InvalidClient, told))
    }

    /// What the program wants to do; unless it says so, no more than download.
    fn scopes(&self) -> Result<Vec<Scope>, (Refused, &'static str)> {
        let mut scopes = Vec::new();
        for word in self.get("scope").split_whitespace() {
            // A program that shows a code is not given the portal to run: such a token is made by hand.
            let scope = word.parse().ok().filter(|scope| *scope != Scope::Admin);
            scopes.push(scope.ok_or((Refused::InvalidScope, "the scopes for a program are: download, api, apply, review"))?);
        }
        scopes.sort();
        scopes.dedup();
        Ok(if scopes.is_empty() { vec![Scope::Download] } else { scopes })
    }
}

/// `POST /oauth/device`: a program asks for its codes.
pub async fn codes(portal: Data<Portal>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, Error> {
    let client = client_address(&request, &portal.config.trusted_proxies);
    portal.limits.device_client.check(&client)?;
    let fields = Fields::parse(&body);
    let (program, scopes) = match fields.program().and_then(|program| Ok((program, fields.scopes()?))) {
        Ok(asked) => asked,
        Err((refused, why)) => return Ok(refused.answer(why)),
    };
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let codes = device::begin(&portal, program, scopes, user_agent, &client).await?;
    let page = portal.config.url_of("/device");
    Ok(no_store().json(serde_json::json!({
        "device_code": codes.device_code,
        "user_code": codes.user_code.to_string(),
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={}", codes.user_code),
        "interval": INTERVAL_S,
        "expires_in": CODES_LIFE.whole_seconds(),
    })))
}

/// `POST /oauth/token`: a program asks whether its owner has decided.
pub async fn token(portal: Data<Portal>, body: Bytes) -> Result<HttpResponse, Error> {
    let fields = Fields::parse(&body);
    if fields.get("grant_type") != GRANT_TYPE {
        return Ok(Refused::UnsupportedGrantType.answer(&format!("the only grant_type here is {GRANT_TYPE}")));
    }
    let program = match fields.program() {
        Ok(program) => program,
        Err((refused, why)) => return Ok(refused.answer(why)),
    };
    if fields.get("device_code").is_empty() {
        return Ok(Refused::InvalidRequest.answer("there is no device_code; POST /oauth/device gives one"));
    }
    Ok(match device::redeem(&portal, program, fields.get("device_code")).await {
        Ok(Redeemed::Pending) => Refused::AuthorizationPending.answer("nobody has decided yet; ask again"),
        Ok(Redeemed::TooOften) => Refused::SlowDown.answer("ask five seconds less often"),
        Ok(Redeemed::Denied) => Refused::AccessDenied.answer("the owner of the account did not want this program signed in"),
        Ok(Redeemed::Expired) => Refused::ExpiredToken.answer("nobody decided in time; start again"),
        Ok(Redeemed::Unknown) => Refused::InvalidGrant.answer("this code is unknown or was used; start again"),
        Ok(Redeemed::Token { secret, scopes }) => no_store().json(serde_json::json!({
            "access_token": secret,
            "token_type": "bearer",
            "expires_in": TOKEN_DAYS_DEFAULT * SECONDS_A_DAY,
            "scope": scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "),
        })),
        // As many tokens as an account may have: only its owner can mend that.
        Err(Error::Conflict(why)) => Refused::AccessDenied.answer(&why),
        Err(other) => return Err(other),
    })
}

/// `POST /oauth/revoke`: a program gives its token back. What is no token, or not any more, is answered alike (RFC 7009 §2.2).
pub async fn revoke(portal: Data<Portal>, body: Bytes) -> Result<HttpResponse, Error> {
    let fields = Fields::parse(&body);
    if fields.get("token").is_empty() {
        return Ok(Refused::InvalidRequest.answer("there is no token to revoke"));
    }
    give_back(&portal, fields.get("token")).await?;
    Ok(no_store().finish())
}

fn no_store() -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response
}

#[derive(Template)]
#[template(path = "accounts/device.html")]
struct DevicePage {
    frame: Frame,
    typed: String,
    is_unknown: bool,
    minutes: i64,
}

#[derive(Template)]
#[template(path = "accounts/device_confirm.html")]
struct DeviceConfirmPage {
    frame: Frame,
    code: UserCode,
    waiting: DeviceSignIn,
    email: String,
    days: i64,
}

#[derive(Deserialize)]
pub struct Typed {
    #[serde(default)]
    user_code: String,
}

/// `GET /device`: asks for the code; with one, shows what waits with it and asks for a decision. Looking decides nothing.
pub async fn device_page(portal: Data<Portal>, frame: Frame, who: SignedIn, typed: Query<Typed>) -> Result<HttpResponse, Error> {
    let (typed, minutes) = (typed.into_inner().user_code, CODES_LIFE.whole_minutes());
    if typed.trim().is_empty() {
        return page(&DevicePage { frame, typed, is_unknown: false, minutes });
    }
    match device::look(&portal, &who, &typed).await? {
        Some((code, waiting)) => {
            page(&DeviceConfirmPage { frame, code, waiting, email: who.account.email.to_string(), days: TOKEN_DAYS_DEFAULT })
        }
        None => page_with_faults(&DevicePage { frame, typed, is_unknown: true, minutes }),
    }
}

/// `POST /device/approve`
pub async fn approve(portal: Data<Portal>, who: SignedIn, Form(typed): Form<Typed>) -> Result<HttpResponse, Error> {
    let waiting = device::decide(&portal, &who, &typed.user_code, true).await?;
    let told = format!(
        "Approved. Go back to your terminal: {} is signed in within seconds, and its token is then listed here.",
        waiting.program.title()
    );
    Ok(see_other("/account/tokens", Some(&told)))
}

/// `POST /device/deny`
pub async fn deny(portal: Data<Portal>, who: SignedIn, Form(typed): Form<Typed>) -> Result<HttpResponse, Error> {
    let waiting = device::decide(&portal, &who, &typed.user_code, false).await?;
    let told = format!("Denied. {} is told so and gets nothing.", waiting.program.title());
    Ok(see_other("/account/tokens", Some(&told)))
}
