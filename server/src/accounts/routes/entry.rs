//! The way in: sign up, confirm, sign in, choose a new password.

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::super::account::{Email, PASSWORD_CHARS_MIN, Password};
use super::super::browser::Browser;
use super::super::session::{SignedIn, Via, Visitor, cookie};
use super::super::signup::{self, Purpose, going_on};
use super::super::{Account, sign_in as session};
use crate::error::{Error, FieldError};
use crate::http::filters;
use crate::http::limits::client_address;
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, see_other};
use crate::portal::Portal;

/// Answers about addresses and passwords take at least so long, so that the time they take tells nothing.
const SAME_TIME: Duration = Duration::from_millis(250);

async fn in_the_same_time<T>(work: impl Future<Output = T>) -> T {
    let (answer, ()) = tokio::join!(work, tokio::time::sleep(SAME_TIME));
    answer
}

#[derive(Template)]
#[template(path = "accounts/sign_up.html")]
struct SignUpPage {
    frame: Frame,
    name: String,
    email: String,
    then: String,
    /// Where somebody goes who has an account.
    sign_in: String,
    faults: Vec<FieldError>,
}

/// `GET /sign-up`
pub async fn sign_up_page(frame: Frame, query: Query<Then>) -> Result<HttpResponse, Error> {
    let then = own_path(&query.then).to_owned();
    page(&SignUpPage { frame, name: String::new(), email: String::new(), sign_in: going_on("/sign-in", &then), then, faults: vec![] })
}

#[derive(Deserialize)]
pub struct SignUpForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    then: String,
}

/// `POST /sign-up`: the same answer whether the address is known or not.
pub async fn sign_up(
    portal: Data<Portal>,
    request: HttpRequest,
    frame: Frame,
    Form(form): Form<SignUpForm>,
) -> Result<HttpResponse, Error> {
    portal.limits.sign_up_client.check(&client_address(&request, &portal.config.trusted_proxies))?;
    let mut faults = Vec::new();
    let name = super::super::account::parse_name(&form.name).map_err(|fault| faults.push(fault));
    let email = Email::parse(&form.email).map_err(|fault| faults.push(fault));
    let then = own_path(&form.then).to_owned();
    let (Ok(name), Ok(email)) = (name, email) else {
        let sign_in = going_on("/sign-in", &then);
        return page_with_faults(&SignUpPage { frame, name: form.name, email: form.email, then, sign_in, faults });
    };
    portal.limits.link_address.check(email.as_str())?;
    in_the_same_time(signup::sign_up(&portal, &name, &email, &then)).await?;
    let again = going_on("/sign-up", &then);
    page(&CheckMailPage { frame, email: email.to_string(), hours: signup::VERIFY_LINK_HOURS, again })
}

#[derive(Template)]
#[template(path = "accounts/check_mail.html")]
struct CheckMailPage {
    frame: Frame,
    email: String,
    hours: i64,
    /// Where to begin again.
    again: String,
}

#[derive(Template)]
#[template(path = "accounts/sign_in.html")]
struct SignInPage {
    frame: Frame,
    email: String,
    then: String,
    /// Where somebody goes who has no account yet.
    sign_up: String,
    failed: bool,
}

/// Where somebody wanted to go.
#[derive(Deserialize)]
pub struct Then {
    #[serde(default)]
    then: String,
}

/// `GET /sign-in`
pub async fn sign_in_page(frame: Frame, query: Query<Then>) -> Result<HttpResponse, Error> {
    let then = own_path(&query.then).to_owned();
    page(&SignInPage { frame, email: String::new(), sign_up: going_on("/sign-up", &then), then, failed: false })
}

#[derive(Deserialize)]
pub struct SignInForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    then: String,
}

/// `POST /sign-in`
pub async fn sign_in(
    portal: Data<Portal>,
    request: HttpRequest,
    frame: Frame,
    Form(form): Form<SignInForm>,
) -> Result<HttpResponse, Error> {
    let client = client_address(&request, &portal.config.trusted_proxies);
    portal.limits.sign_in_client.check(&client)?;
    let then = own_path(&form.then).to_owned();
    let found = match Email::parse(&form.email) {
        Ok(email) => {
            let browser = Browser::of(&request, portal.config.is_https());
            in_the_same_time(try_password(&portal, &email, form.password, &browser, &client)).await?
        }
        Err(_) => None,
    };
    match found {
        Some(account) => begin(&portal, &request, &account, &then, None).await,
        None => {
            let sign_up = going_on("/sign-up", &then);
            page_with_faults(&SignInPage { frame, email: form.email, then, sign_up, failed: true })
        }
    }
}

/// Whose password this is, if tries are left. A browser that the account knows has tries of its own, whoever else tries meanwhile and
/// from how many addresses: strangers can tire out strangers, not the owner.
async fn try_password(portal: &Portal, email: &Email, password: String, browser: &Browser, client: &str) -> Result<Option<Account>, Error> {
    match browser.known_as(portal, email).await? {
        Some(known) => portal.limits.sign_in_account.check(&format!("{email} {known}"))?,
        None => {
            portal.limits.sign_in_account.check(&format!("{email} {client}"))?;
            portal.limits.sign_in_everywhere.check(email.as_str())?;
        }
    }
    session::check_password(portal, email, password).await
}

/// Signs in, and sends the person to where they wanted to go.
async fn begin(portal: &Portal, request: &HttpRequest, account: &Account, then: &str, flash: Option<&str>) -> Result<HttpResponse, Error> {
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let secure = portal.config.is_https();
    let browser = Browser::of(request, secure);
    let before = match Visitor::of(request) {
        Visitor::Known { account, via: Via::Session(session) } => Some((account.id, session)),
        Visitor::Known { via: Via::Token { .. }, .. } | Visitor::Anonymous | Visitor::BadToken => None,
    };
    let secret = session::begin_session(portal, account, before, &browser, user_agent).await?;
    let mut response = see_other(then, flash);
    response.add_cookie(&cookie(&secret, secure)).map_err(Error::internal)?;
    response.add_cookie(&browser.cookie(secure)).map_err(Error::internal)?;
    Ok(response)
}

/// `POST /sign-out`
pub async fn sign_out(portal: Data<Portal>, who: SignedIn, _form: Form<Empty>) -> Result<HttpResponse, Error> {
    session::end_session(&portal, who.account.id, session::Ending::One(who.session)).await?;
    let mut response = see_other("/", Some("You are signed out."));
    response.add_cookie(&cookie("", portal.config.is_https())).map_err(Error::internal)?;
    Ok(response)
}

/// A form without fields.
#[derive(Deserialize)]
pub struct Empty {}

#[derive(Deserialize)]
pub struct Key {
    #[serde(default)]
    key: String,
    #[serde(default)]
    then: String,
}

#[derive(Template)]
#[template(path = "accounts/sign_in_link.html")]
struct LinkPage {
    frame: Frame,
    key: String,
    email: String,
}

/// `GET /sign-in/link`: shows whose link it is; looking does not use it up, so mail scanners and previews do no harm.
pub async fn link_page(portal: Data<Portal>, frame: Frame, query: Query<Key>) -> Result<HttpResponse, Error> {
    let account = signup::whose(&portal, Purpose::SignIn, &query.key).await?;
    page(&LinkPage { frame, key: query.into_inner().key, email: account.email.to_string() })
}

/// `POST /sign-in/link`
pub async fn sign_in_by_link(portal: Data<Portal>, request: HttpRequest, Form(form): Form<Key>) -> Result<HttpResponse, Error> {
    portal.limits.sign_in_client.check(&client_address(&request, &portal.config.trusted_proxies))?;
    let account = signup::use_sign_in_link(&portal, &form.key).await?;
    begin(&portal, &request, &account, "/account", Some("You are signed in. Choose a password below, so that you can come back.")).await
}

#[derive(Template)]
#[template(path = "accounts/choose_password.html")]
struct ChoosePasswordPage {
    frame: Frame,
    title: &'static str,
    action: &'static str,
    key: String,
    then: String,
    email: String,
    chars_min: usize,
    faults: Vec<FieldError>,
}

#[derive(Deserialize)]
pub struct ChoosePasswordForm {
    #[serde(default)]
    key: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    then: String,
}

fn choose_password(frame: Frame, purpose: Purpose, Key { key, then }: Key, email: &Email, faults: Vec<FieldError>) -> ChoosePasswordPage {
    let (title, action) = match purpose {
        Purpose::Verify => ("Confirm your address", "/verify"),
        Purpose::Reset | Purpose::SignIn => ("Choose a new password", "/reset"),
    };
    ChoosePasswordPage { frame, title, action, key, then, email: email.to_string(), chars_min: PASSWORD_CHARS_MIN, faults }
}

/// `GET /verify`
pub async fn verify_page(portal: Data<Portal>, frame: Frame, query: Query<Key>) -> Result<HttpResponse, Error> {
    let account = signup::whose(&portal, Purpose::Verify, &query.key).await?;
    page(&choose_password(frame, Purpose::Verify, query.into_inner(), &account.email, vec![]))
}

/// `GET /reset`
pub async fn reset_page(portal: Data<Portal>, frame: Frame, query: Query<Key>) -> Result<HttpResponse, Error> {
    let account = signup::whose(&portal, Purpose::Reset, &query.key).await?;
    page(&choose_password(frame, Purpose::Reset, query.into_inner(), &account.email, vec![]))
}

/// `POST /verify`: proves the address, sets the first password, signs in.
pub async fn verify(
    portal: Data<Portal>,
    request: HttpRequest,
    frame: Frame,
    Form(form): Form<ChoosePasswordForm>,
) -> Result<HttpResponse, Error> {
    let then = match own_path(&form.then) {
        "/" => "/models".to_owned(),
        then => then.to_owned(),
    };
    set_by_link(&portal, &request, frame, form, Purpose::Verify, &then, "Welcome. Your address is confirmed and you are signed in.").await
}

/// `POST /reset`
pub async fn reset(
    portal: Data<Portal>,
    request: HttpRequest,
    frame: Frame,
    Form(form): Form<ChoosePasswordForm>,
) -> Result<HttpResponse, Error> {
    let flash =
        "Your password is changed. Every other session has ended and every access token was revoked: make new ones where you need them.";
    set_by_link(&portal, &request, frame, form, Purpose::Reset, "/account", flash).await
}

async fn set_by_link(
    portal: &Portal,
    request: &HttpRequest,
    frame: Frame,
    form: ChoosePasswordForm,
    purpose: Purpose,
    then: &str,
    flash: &str,
) -> Result<HttpResponse, Error> {
    portal.limits.sign_in_client.check(&client_address(request, &portal.config.trusted_proxies))?;
    let account = signup::whose(portal, purpose, &form.key).await?;
    let password = match Password::parse_new(&form.password, &account.email, &account.name) {
        Ok(password) => password,
        Err(fault) => {
            return page_with_faults(&choose_password(frame, purpose, Key { key: form.key, then: form.then }, &account.email, vec![fault]));
        }
    };
    signup::set_password_by_link(portal, purpose, &form.key, password).await?;
    begin(portal, request, &account, then, Some(flash)).await
}

#[derive(Template)]
#[template(path = "accounts/forgot.html")]
struct ForgotPage {
    frame: Frame,
    email: String,
    sent: bool,
    minutes: i64,
    faults: Vec<FieldError>,
}

#[derive(Deserialize)]
pub struct ForgotForm {
    #[serde(default)]
    email: String,
}

/// `GET /forgot`
pub async fn forgot_page(frame: Frame) -> Result<HttpResponse, Error> {
    page(&ForgotPage { frame, email: String::new(), sent: false, minutes: signup::RESET_LINK_MINUTES, faults: vec![] })
}

/// `POST /forgot`: the same answer whether the address is known or not.
pub async fn forgot(portal: Data<Portal>, request: HttpRequest, frame: Frame, Form(form): Form<ForgotForm>) -> Result<HttpResponse, Error> {
    portal.limits.sign_up_client.check(&client_address(&request, &portal.config.trusted_proxies))?;
    let minutes = signup::RESET_LINK_MINUTES;
    let email = match Email::parse(&form.email) {
        Ok(email) => email,
        Err(fault) => return page_with_faults(&ForgotPage { frame, email: form.email, sent: false, minutes, faults: vec![fault] }),
    };
    // Who asks too often is told the same, and gets no further mail: the latest link still works.
    if portal.limits.link_address.check(email.as_str()).is_ok() {
        in_the_same_time(signup::forgot(&portal, &email)).await?;
    }
    page(&ForgotPage { frame, email: email.to_string(), sent: true, minutes, faults: vec![] })
}

/// The longest path to go on to; it may stand in a mail.
const THEN_BYTES_MAX: usize = 500;

/// A path of this portal to go on to; anything else, such as another site's address, becomes the start page.
fn own_path(then: &str) -> &str {
    let plain = then.starts_with('/') && !then.starts_with("//") && !then.contains(['\\', '\r', '\n', '\t']);
    let plain = plain && then.len() <= THEN_BYTES_MAX;
    if plain { then } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn nobody_is_sent_to_another_site() {
        assert_eq!(own_path("/a/b?c=d"), "/a/b?c=d");
        for elsewhere in ["", "https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example"] {
            assert_eq!(own_path(elsewhere), "/");
        }
    }
}
