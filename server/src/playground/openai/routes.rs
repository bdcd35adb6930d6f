//! The URLs that programs ask.

use actix_web::web::{Bytes, Data, Path, PayloadConfig, Query, ServiceConfig, resource};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::complete::{admit, prompt_tokens};
use super::super::fault::Fault;
use super::super::store::Source;
use super::answer::{self, Heading};
use super::ask::Ask;
use super::models::{self, by_token};
use super::refusal::refuse;
use super::tokenize;
use crate::accounts::Visitor;
use crate::error::{Error, FieldError};
use crate::http::sse;
use crate::portal::Portal;

/// The largest body: token ids of a whole batch, written out.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(in super::super) fn configure(cfg: &mut ServiceConfig) {
    let body = || PayloadConfig::new(BODY_BYTES_MAX);
    cfg.service(resource("/v1/completions").app_data(body()).route(web::post().to(completions)))
        .service(resource("/v1/models").route(web::get().to(list_models)))
        .service(resource("/v1/models/{org}/{name}").route(web::get().to(show_model)))
        .service(resource("/v1/models/{full_name}").route(web::get().to(show_encoded_model)))
        .service(resource("/tokenize").app_data(body()).route(web::post().to(post_tokenize)))
        .service(resource("/detokenize").app_data(body()).route(web::post().to(post_detokenize)))
        .service(resource("/tokenizer_info").route(web::get().to(tokenizer_info)));
}

type Body = Result<Bytes, actix_web::Error>;

/// `POST /v1/completions`
async fn completions(portal: Data<Portal>, visitor: Visitor, body: Body) -> HttpResponse {
    complete(&portal, visitor, body).await.unwrap_or_else(|fault| refuse(&fault, &portal.config))
}

async fn complete(portal: &Data<Portal>, visitor: Visitor, body: Body) -> Result<HttpResponse, Fault> {
    let visitor = by_token(visitor)?;
    let ask = Ask::parse(&read(body)?)?;
    let requests = ask.requests()?;
    let admitted = admit(portal, &visitor, &ask.model, Source::Api).await?;
    let requests = admitted.tokenise(requests).await?;
    let context_tokens_max = admitted.engine.context_tokens_max();
    for request in &requests {
        room_for(prompt_tokens(&request.prompt), ask.asked_tokens(), context_tokens_max)?;
    }
    probabilities_fit(&requests, ask.best_of)?;
    let (model, engine) = (admitted.model.full_name(), admitted.engine.clone());
    let run = admitted.run(requests, ask.best_of).await?;
    let heading = Heading::new(run.id, portal.clock.now(), model, engine);
    let mut response = HttpResponse::Ok();
    if !ask.ignored.is_empty() {
        response.insert_header(("x-sluice-warning", format!("these fields mean nothing here and were ignored: {}", listed(&ask.ignored))));
    }
    if ask.stream {
        return Ok(sse::answer(response, answer::pieces(portal.clone(), heading, ask, run)));
    }
    Ok(response.json(answer::whole(&heading, &ask, run).await?))
}

/// Log probabilities in one answer: 16 MB or so of JSON, and far more than a batch of scoring asks for.
const PROBABILITIES_MAX: usize = 250_000;

/// Refuses a request whose log probabilities alone would fill the memory.
fn probabilities_fit(requests: &[inference::Request], choices: usize) -> Result<(), Fault> {
    let of = |request: &inference::Request| {
        let tokens = request.max_tokens + if request.echo { prompt_tokens(&request.prompt) } else { 0 };
        request.logprobs.map_or(0, |top| tokens * (1 + usize::from(top)))
    };
    let asked = requests.iter().map(of).sum::<usize>() * choices;
    if asked > PROBABILITIES_MAX {
        let problem = format!(
            "asks for {asked} log probabilities in one answer; at most {PROBABILITIES_MAX}: send fewer prompts at once, or ask for fewer answers to each"
        );
        return Err(Error::from(FieldError::new("logprobs", problem)).into());
    }
    Ok(())
}

/// As the contract has it: who says how many tokens they want is not given fewer because the context ends.
fn room_for(prompt_tokens: usize, asked_tokens: Option<usize>, context_tokens_max: usize) -> Result<(), Fault> {
    match asked_tokens {
        Some(asked) if prompt_tokens + asked > context_tokens_max => Err(Fault::ContextExceeded(format!(
            "This model's maximum context length is {context_tokens_max} tokens, and you asked for {} ({prompt_tokens} in the prompt, {asked} to be made). \
             Shorten the prompt or ask for fewer tokens.",
            prompt_tokens + asked
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Field names for a header: ASCII letters, digits and underscores of the first few.
fn listed(fields: &[String]) -> String {
    const SHOWN: usize = 10;
    let plain = |field: &String| field.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect::<String>();
    fields.iter().take(SHOWN).map(plain).collect::<Vec<_>>().join(", ")
}

fn read(body: Body) -> Result<Bytes, Error> {
    body.map_err(|cause| FieldError::new("body", format!("cannot be read: {cause}; at most {BODY_BYTES_MAX} bytes")).into())
}

/// `GET /v1/models`
async fn list_models(portal: Data<Portal>, visitor: Visitor) -> HttpResponse {
    let listed = async {
        let models = models::list(&portal, &by_token(visitor)?).await?;
        Ok(json!({ "object": "list", "data": models.iter().map(models::object).collect::<Vec<_>>() }))
    };
    answer(listed.await, &portal)
}

/// `GET /v1/models/{org}/{name}`
async fn show_model(portal: Data<Portal>, visitor: Visitor, path: Path<(String, String)>) -> HttpResponse {
    let (org, name) = path.into_inner();
    show(&portal, visitor, &org, &name).await
}

/// `GET /v1/models/{org}%2F{name}`: clients that take a name for one part of a path encode its slash.
async fn show_encoded_model(portal: Data<Portal>, visitor: Visitor, path: Path<String>) -> HttpResponse {
    let (org, name) = path.split_once('/').unwrap_or((&path, ""));
    show(&portal, visitor, org, name).await
}

async fn show(portal: &Portal, visitor: Visitor, org: &str, name: &str) -> HttpResponse {
    let found = async {
        let model = models::find(portal, &by_token(visitor)?, org, name).await?;
        Ok(models::object(&model))
    };
    answer(found.await, portal)
}

/// `POST /tokenize`
async fn post_tokenize(portal: Data<Portal>, visitor: Visitor, body: Body) -> HttpResponse {
    let tokenised = async { tokenize::tokenize(&portal, &by_token(visitor)?, &read(body)?).await };
    answer(tokenised.await, &portal)
}

/// `POST /detokenize`
async fn post_detokenize(portal: Data<Portal>, visitor: Visitor, body: Body) -> HttpResponse {
    let text = async { tokenize::detokenize(&portal, &by_token(visitor)?, &read(body)?).await };
    answer(text.await, &portal)
}

#[derive(Deserialize)]
struct Which {
    model: Option<String>,
}

/// `GET /tokenizer_info`
async fn tokenizer_info(portal: Data<Portal>, visitor: Visitor, which: Query<Which>) -> HttpResponse {
    let info = async { tokenize::info(&portal, &by_token(visitor)?, which.into_inner().model).await };
    answer(info.await, &portal)
}

fn answer(outcome: Result<Value, Fault>, portal: &Portal) -> HttpResponse {
    match outcome {
        Ok(value) => HttpResponse::Ok().json(value),
        Err(fault) => refuse(&fault, &portal.config),
    }
}

#[cfg(test)]
mod tests {
    use inference::{Prompt, Request};

    use super::*;

    #[test]
    fn log_probabilities_are_counted_for_each_answer_that_is_made() {
        // 21 of each of 2000 tokens of the prompt: 42,000 an answer.
        let scored = Request { echo: true, logprobs: Some(20), max_tokens: 0, ..Request::new(Prompt::Ids(vec![5; 2000])) };
        let one = std::slice::from_ref(&scored);
        assert!(probabilities_fit(one, 5).is_ok());
        let Err(fault) = probabilities_fit(one, 8) else { panic!("336,000 are too many") };
        assert!(fault.to_string().contains("336000"), "{fault}");
        assert!(probabilities_fit(&[scored.clone(), scored.clone()], 4).is_err());
    }
}
