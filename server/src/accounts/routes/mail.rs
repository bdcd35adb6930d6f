//! Which mails somebody gets.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;

use super::super::SignedIn;
use super::super::mail_choice::{choose, topics};
use crate::error::{Error, FieldError};
use crate::http::filters;
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, see_other};
use crate::mail::{self, Pace, Topic};
use crate::portal::Portal;

#[derive(Template)]
#[template(path = "accounts/mail.html")]
struct MailPage {
    frame: Frame,
    email: String,
    questions: Vec<Question>,
    faults: Vec<FieldError>,
}

/// One topic, and the paces to choose from.
struct Question {
    topic: &'static str,
    title: &'static str,
    answers: Vec<Answer>,
}

struct Answer {
    value: &'static str,
    words: String,
    is_chosen: bool,
}

/// `GET /account/mail`
pub async fn mail_page(portal: Data<Portal>, frame: Frame, who: SignedIn) -> Result<HttpResponse, Error> {
    page(&preferences(&portal, frame, &who, vec![]).await?)
}

async fn preferences(portal: &Portal, frame: Frame, who: &SignedIn, faults: Vec<FieldError>) -> Result<MailPage, Error> {
    let chosen = mail::paces(&mut *portal.db.acquire().await?, who.account.email.as_str()).await?;
    let question = |topic: Topic| Question {
        topic: topic.as_str(),
        title: match topic {
            Topic::Reviews => "Applications and renewals to review",
            Topic::Comments => "Comments on applications",
            Topic::Tokens => "Access tokens that end",
            Topic::Releases => "New releases",
        },
        answers: topic
            .paces()
            .iter()
            .map(|pace| Answer {
                value: pace.as_str(),
                words: words(topic, *pace, portal.config.mail.digest_hour),
                is_chosen: chosen.contains(&(topic, *pace)),
            })
            .collect(),
    };
    Ok(MailPage { frame, email: who.account.email.to_string(), questions: topics(&who.account).map(question).collect(), faults })
}

fn words(topic: Topic, pace: Pace, digest_hour: u8) -> String {
    match (topic, pace) {
        (Topic::Reviews, Pace::Each) => "A mail for each, as soon as it arrives, and when it is overdue".into(),
        (Topic::Reviews, Pace::Daily) => {
            format!("One mail on working days, at {digest_hour}:00 UTC, with what waits and what is overdue; none if nothing waits")
        }
        (Topic::Comments, Pace::Each) => "A mail for each, as soon as it is written".into(),
        (Topic::Tokens, Pace::Each) => "A mail a week before, and one a day before".into(),
        (Topic::Releases, Pace::Each) => "A mail when a model that you have downloaded has a new one".into(),
        (Topic::Comments | Topic::Tokens | Topic::Releases, Pace::Daily) => "One mail on working days".into(),
        (_, Pace::Never) => "No mails; I look here by myself".into(),
    }
}

#[derive(Deserialize)]
pub struct PreferencesForm {
    #[serde(default)]
    reviews: String,
    #[serde(default)]
    comments: String,
    #[serde(default)]
    tokens: String,
    #[serde(default)]
    releases: String,
}

/// `POST /account/mail`
pub async fn save_preferences(
    portal: Data<Portal>,
    frame: Frame,
    who: SignedIn,
    Form(form): Form<PreferencesForm>,
) -> Result<HttpResponse, Error> {
    let sent = |topic| match topic {
        Topic::Reviews => form.reviews.as_str(),
        Topic::Comments => form.comments.as_str(),
        Topic::Tokens => form.tokens.as_str(),
        Topic::Releases => form.releases.as_str(),
    };
    let wanted: Vec<(Topic, &str)> = topics(&who.account).map(|topic| (topic, sent(topic))).collect();
    match choose(&portal, &who.account, &wanted).await {
        Ok(()) => Ok(see_other("/account/mail", Some("Your choice is saved."))),
        Err(Error::Invalid(faults)) => page_with_faults(&preferences(&portal, frame, &who, faults).await?),
        Err(other) => Err(other),
    }
}
