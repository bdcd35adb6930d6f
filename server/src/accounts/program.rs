//! Programs that act for somebody, by an access token and what it may be used for. A browser's cookies do not pass, so that no other
//! site can spend them.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::session::{Admin, Reviewer, Via, Visitor};
use super::token::Scope;
use super::{Account, Role};
use crate::error::{Error, Mend, Refusal};

/// Somebody by a token with any scope: enough to be told who one is.
#[derive(Debug, Clone)]
pub struct Program {
    /// Whose token it is.
    pub account: Account,
    /// How it was shown: always a token.
    pub via: Via,
}

/// Somebody by a token with the scope `apply`: a program that sees to their own account.
#[derive(Debug, Clone)]
pub struct ApplyingProgram(pub Account);

/// A reviewer (or admin) by a token with the scope `review`: a program that decides in their name.
#[derive(Debug, Clone)]
pub struct ReviewingProgram(pub Reviewer);

/// An admin by a token with the scope `admin`: a program that runs the portal in their name.
#[derive(Debug, Clone)]
pub struct AdministeringProgram(pub Admin);

/// Who a token with this scope is of, if their role lets them do what the scope is for.
fn by_token(request: &HttpRequest, scope: Scope) -> Result<Account, Error> {
    let Visitor::Known { account, via: Via::Token { scopes, .. } } = Visitor::of(request) else { return Err(Error::SignedOut) };
    let refused = |code, message: String, mend| Err(Error::Forbidden(Refusal { code, message, mend }));
    let role = Some(Mend { path: "/account".into(), label: "See your role" });
    match scope {
        Scope::Review if account.role < Role::Reviewer => {
            return refused("not_a_reviewer", "Only reviewers read applications and decide on them.".into(), role);
        }
        Scope::Admin if account.role < Role::Admin => {
            return refused("not_an_admin", "Only admins run the portal.".into(), role);
        }
        Scope::Review | Scope::Admin | Scope::Apply | Scope::Download | Scope::Api => {}
    }
    if !scopes.contains(&scope) {
        let mend = Some(Mend { path: "/account/tokens".into(), label: "Make such a token" });
        let message = format!("This token may not be used for that: make one with the scope {}.", scope.as_str());
        return refused("token_scope", message, mend);
    }
    Ok(account)
}

impl FromRequest for Program {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match Visitor::of(request) {
            Visitor::Known { account, via: via @ Via::Token { .. } } => Ok(Self { account, via }),
            Visitor::Known { via: Via::Session(_), .. } | Visitor::Anonymous | Visitor::BadToken => Err(Error::SignedOut),
        })
    }
}

impl FromRequest for ApplyingProgram {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(by_token(request, Scope::Apply).map(Self))
    }
}

impl FromRequest for ReviewingProgram {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(by_token(request, Scope::Review).map(|account| Self(Reviewer(account))))
    }
}

impl FromRequest for AdministeringProgram {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(by_token(request, Scope::Admin).map(|account| Self(Admin(account))))
    }
}
