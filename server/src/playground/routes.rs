//! The page's URLs. One form, two ways: with script its answer streams, without it comes back as a page with the text continued.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Query, ServiceConfig};
use askama::Template;
use bytes::Bytes;
use futures_util::Stream;
use inference::{Event, FinishReason};
use serde_json::json;

use super::code;
use super::complete::{Run, admit, prompt_tokens};
use super::fault::Fault;
use super::form::PlaygroundForm;
use super::openai;
use super::prompt::PROMPT_CHARS_MAX;
use super::store::Source;
use super::usable::{self, Usable};
use crate::access::Action;
use crate::accounts::Visitor;
use crate::catalog::Model;
use crate::error::{Error, FieldError, Mend, Refusal};
use crate::http::page::{page, page_busy, page_limited, page_with_faults};
use crate::http::{Form, Frame, sse};
use crate::portal::Portal;

/// Wires the room's URLs.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(web::resource("/playground").route(web::get().to(show)).route(web::post().to(continued)))
        .route("/playground/complete", web::post().to(stream))
        .configure(openai::configure);
}

/// What a generation was, for the page that comes back without script.
struct Continued {
    added: String,
    facts: Facts,
}

/// What is shown of a generation.
struct Facts {
    prompt_tokens: usize,
    completion_tokens: usize,
    context_tokens_max: usize,
    seed: u64,
    ending: &'static str,
    energy_joules: Option<f64>,
}

impl Facts {
    /// About so much; nothing where it cannot be told.
    fn energy(&self) -> Option<String> {
        self.energy_joules.map(energy)
    }

    fn used_tokens(&self) -> usize {
        self.prompt_tokens + self.completion_tokens
    }
}

#[derive(Template)]
#[template(path = "playground/playground.html")]
struct PlaygroundPage {
    frame: Frame,
    form: PlaygroundForm,
    models: Vec<Model>,
    trials: Vec<(Model, i64)>,
    refused: Vec<(Model, Refusal)>,
    continued: Option<Continued>,
    problem: Option<String>,
    /// Where the problem can be mended.
    mend: Option<Mend>,
    faults: Vec<FieldError>,
    curl: String,
    python: String,
    templates: code::Templates,
}

impl PlaygroundPage {
    async fn of(portal: &Portal, visitor: &Visitor, frame: Frame, mut form: PlaygroundForm) -> Result<Self, Error> {
        let Usable { models, trials, refused } = usable::models(portal, visitor, Action::Try).await?;
        if let (true, Some(first)) = (form.model.is_empty(), models.first()) {
            form.model = first.full_name();
        }
        let templates = code::templates(portal.config.public_url.as_str().trim_end_matches('/'));
        let (curl, python) = (templates.curl_of(&form), templates.python_of(&form));
        Ok(Self {
            frame,
            form,
            models,
            trials,
            refused,
            continued: None,
            problem: None,
            mend: None,
            faults: vec![],
            curl,
            python,
            templates,
        })
    }

    fn fault(&self, field: &str) -> Option<&str> {
        self.faults.iter().find(|fault| fault.field == field).map(|fault| fault.message.as_ref())
    }

    fn chars_max(&self) -> usize {
        PROMPT_CHARS_MAX
    }
}

/// `GET /playground`
async fn show(portal: Data<Portal>, visitor: Visitor, frame: Frame, form: Option<Query<PlaygroundForm>>) -> Result<HttpResponse, Error> {
    let form = form.map(Query::into_inner).unwrap_or_default().tidied();
    page(&PlaygroundPage::of(&portal, &visitor, frame, form).await?)
}

/// `POST /playground`: the form without script. Whatever goes wrong, the text comes back.
async fn continued(portal: Data<Portal>, visitor: Visitor, frame: Frame, Form(form): Form<PlaygroundForm>) -> Result<HttpResponse, Error> {
    let mut form = form.tidied();
    let outcome = continue_text(&portal, &visitor, &form).await;
    if let Ok(continued) = &outcome {
        form.text.push_str(&continued.added);
    }
    let mut answer = PlaygroundPage::of(&portal, &visitor, frame, form).await?;
    match outcome {
        Ok(continued) => {
            answer.continued = Some(continued);
            page(&answer)
        }
        Err(fault) => {
            match Error::from(fault) {
                Error::Invalid(faults) => answer.faults = faults,
                error @ Error::Internal(_) => return Err(error),
                error => {
                    answer.problem = Some(error.to_string().trim_end_matches('.').to_owned());
                    answer.mend = error.mend().cloned();
                    if let Error::Limited { retry_after_s } = error {
                        return page_limited(&answer, retry_after_s);
                    }
                    if let Error::Busy { retry_after_s, .. } = error {
                        return page_busy(&answer, retry_after_s);
                    }
                }
            }
            page_with_faults(&answer)
        }
    }
}

/// The text continued, all at once.
async fn continue_text(portal: &Data<Portal>, visitor: &Visitor, form: &PlaygroundForm) -> Result<Continued, Fault> {
    let Begun { mut run, mut facts } = begin(portal, visitor, form).await?;
    let mut added = String::new();
    while let Some(step) = run.next().await {
        match step?.1 {
            Event::Started { .. } => {}
            Event::Token { text, .. } => {
                added.push_str(&text);
                facts.completion_tokens += 1;
            }
            Event::Finished { reason, text_tail, usage } => {
                added.push_str(&text_tail);
                facts.ending = ending(reason);
                facts.energy_joules = usage.energy_joules;
            }
            Event::Failed(cause) => return Err(cause.into()),
        }
    }
    Ok(Continued { added, facts })
}

struct Begun {
    run: Run,
    facts: Facts,
}

async fn begin(portal: &Data<Portal>, visitor: &Visitor, form: &PlaygroundForm) -> Result<Begun, Fault> {
    let request = form.request()?;
    let admitted = admit(portal, visitor, &form.model, Source::Page).await?;
    let requests = admitted.tokenise(vec![request]).await?;
    let facts = Facts {
        prompt_tokens: requests.iter().map(|request| prompt_tokens(&request.prompt)).sum(),
        completion_tokens: 0,
        context_tokens_max: admitted.engine.context_tokens_max(),
        seed: requests.first().map_or(0, |request| request.sampling.seed),
        ending: "",
        energy_joules: None,
    };
    Ok(Begun { run: admitted.run(requests, 1).await?, facts })
}

/// Two digits are what an estimate is worth.
fn energy(joules: f64) -> String {
    let digits = if joules < 10.0 { 1 } else { 0 };
    format!("about {joules:.digits$} J")
}

fn ending(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "the model ended the text, or a stop sequence came",
        FinishReason::Length => "the limit of tokens was reached",
    }
}

/// `POST /playground/complete`: the same form, its answer as a stream for the page's script.
async fn stream(portal: Data<Portal>, visitor: Visitor, Form(form): Form<PlaygroundForm>) -> Result<HttpResponse, Error> {
    let begun = begin(&portal, &visitor, &form.tidied()).await?;
    Ok(sse::answer(HttpResponse::Ok(), events(begun)))
}

/// The events as the script reads them: `started`, then `text`s, then `finished` or `failed`.
fn events(begun: Begun) -> impl Stream<Item = Bytes> {
    let Begun { run, facts } = begun;
    let started = sse::json(
        &json!({ "kind": "started", "prompt_tokens": facts.prompt_tokens, "context_tokens_max": facts.context_tokens_max, "seed": facts.seed }),
    );
    let rest = futures_util::stream::unfold((run, 0usize), |(mut run, mut made)| async move {
        loop {
            let failed = |fault: Fault| json!({ "kind": "failed", "detail": Error::from(fault).to_string() });
            let event = match run.next().await? {
                Err(fault) => failed(fault),
                Ok((_, Event::Started { .. })) => continue,
                Ok((_, Event::Token { text, .. })) => {
                    made += 1;
                    json!({ "kind": "text", "text": text, "tokens": made })
                }
                Ok((_, Event::Finished { reason, text_tail, usage })) => {
                    let energy = usage.energy_joules.map(energy);
                    json!({ "kind": "finished", "text": text_tail, "tokens": made, "ending": ending(reason), "energy": energy })
                }
                Ok((_, Event::Failed(cause))) => failed(cause.into()),
            };
            return Some((sse::json(&event), (run, made)));
        }
    });
    futures_util::StreamExt::chain(futures_util::stream::once(std::future::ready(started)), rest)
}

#[cfg(test)]
mod tests {
    use super::energy;

    #[test]
    fn energy_is_told_as_roughly_as_it_is_known() {
        assert_eq!([0.04, 1.25, 9.96, 123.4].map(energy), ["about 0.0 J", "about 1.2 J", "about 10.0 J", "about 123 J"]);
    }
}
