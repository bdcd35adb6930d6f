//! Perplexity of a text: how surprised the model is by each token, given those before it in the same window.

use inference::{Engine, Event, Prompt, Request};

use crate::error::Error;
use crate::playground::Fault;

/// exp of the mean negative log-likelihood per token. The text is cut into windows that fill the context, each with the token that
/// begins a text in front (as in the tables of Zhang et al., arXiv 2205.01068); that token itself is not counted.
pub(super) fn of(engine: &Engine, text: &str) -> Result<f64, Error> {
    let tokenizer = engine.tokenizer().ok_or_else(|| Fault::CannotRun("this folder has no tokenizer, so no text can be scored".into()))?;
    let ids = tokenizer.encode(text).map_err(Fault::from)?;
    // The tokenizer puts the token that begins a text in front.
    let (begin, ids) = ids.split_first().ok_or_else(|| Fault::CannotRun("the text has no tokens".into()))?;
    let (mut sum, mut count) = (0.0, 0_usize);
    for window in ids.chunks(engine.context_tokens_max() - 1) {
        let prompt = std::iter::once(*begin).chain(window.iter().copied()).collect();
        for logprob in score(engine, prompt)? {
            sum -= f64::from(logprob);
            count += 1;
        }
    }
    Ok((sum / count as f64).exp())
}

/// The log-probability of each token of the prompt but the first.
fn score(engine: &Engine, prompt: Vec<u32>) -> Result<Vec<f32>, Error> {
    let mut request = Request::new(Prompt::Ids(prompt));
    request.max_tokens = 0;
    request.echo = true;
    request.logprobs = Some(0);
    let mut generation = engine.submit(request).map_err(Fault::from)?;
    let mut scored = Vec::new();
    while let Some(event) = generation.blocking_next() {
        match event {
            Event::Started { prompt_logprobs, .. } => {
                scored = prompt_logprobs.unwrap_or_default().iter().filter_map(|token| token.logprob).collect();
            }
            Event::Failed(cause) => return Err(Fault::from(cause).into()),
            Event::Token { .. } | Event::Finished { .. } => {}
        }
    }
    Ok(scored)
}
