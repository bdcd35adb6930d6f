//! What a request may ask for. Everything behind `submit` relies on it.

use crate::error::Error;
use crate::request::{LOGIT_BIAS_MAX, LOGPROBS_MAX, Request, STOP_BYTES_MAX, STOP_STRINGS_MAX, STOP_TOKENS_MAX, Sampling};
use crate::vocabulary::Vocabulary;

/// Lengths, counts and ids of a request, but for its prompt.
pub(crate) fn limits(request: &Request, vocabulary: &Vocabulary) -> Result<(), Error> {
    if request.max_tokens == 0 && !request.echo {
        return Err(Error::invalid("max_tokens", "is 0, which asks for nothing; it may be 0 only with echo"));
    }
    if request.min_tokens > request.max_tokens {
        return Err(Error::invalid("min_tokens", format!("is {}, more than the {} of max_tokens", request.min_tokens, request.max_tokens)));
    }
    if request.stop_token_ids.len() > STOP_TOKENS_MAX {
        let count = request.stop_token_ids.len();
        return Err(Error::invalid("stop_token_ids", format!("holds {count} tokens; at most {STOP_TOKENS_MAX} are watched for")));
    }
    request.stop_token_ids.iter().try_for_each(|id| vocabulary.check("stop_token_ids", *id))?;
    if let Some(count) = request.logprobs.filter(|count| *count > LOGPROBS_MAX) {
        return Err(Error::invalid("logprobs", format!("is {count}; at most {LOGPROBS_MAX} are given")));
    }
    if request.stop.len() > STOP_STRINGS_MAX {
        return Err(Error::invalid("stop", format!("holds {} texts; at most {STOP_STRINGS_MAX} are watched for", request.stop.len())));
    }
    if request.stop.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
        return Err(Error::invalid("stop", format!("holds a text that is empty or longer than {STOP_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// How tokens are to be drawn.
pub(crate) fn sampling(sampling: &Sampling, vocabulary: &Vocabulary) -> Result<(), Error> {
    let Sampling {
        temperature,
        top_k,
        top_p,
        min_p,
        typical_p,
        seed: _,
        logit_bias,
        presence_penalty,
        frequency_penalty,
        repetition_penalty,
    } = sampling;
    if !(0.0..=100.0).contains(temperature) {
        return Err(Error::invalid("temperature", format!("is {temperature}; it goes from 0 to 100, and mostly from 0 to 2")));
    }
    if *top_k == Some(0) {
        return Err(Error::invalid("top_k", "is 0; it must be 1 or more, or left out"));
    }
    for (field, share) in [("top_p", top_p), ("typical_p", typical_p)] {
        if !(*share > 0.0 && *share <= 1.0) {
            return Err(Error::invalid(field, format!("is {share}; it must be above 0 and at most 1")));
        }
    }
    if !(0.0..=1.0).contains(min_p) {
        return Err(Error::invalid("min_p", format!("is {min_p}; it goes from 0 to 1")));
    }
    if !(*repetition_penalty > 0.0 && *repetition_penalty <= 10.0) {
        return Err(Error::invalid(
            "repetition_penalty",
            format!("is {repetition_penalty}; it must be above 0 and at most 10, and mostly from 1 to 1.5"),
        ));
    }
    for (field, penalty) in [("presence_penalty", presence_penalty), ("frequency_penalty", frequency_penalty)] {
        if !(-2.0..=2.0).contains(penalty) {
            return Err(Error::invalid(field, format!("is {penalty}; it goes from -2 to 2")));
        }
    }
    if logit_bias.len() > LOGIT_BIAS_MAX {
        return Err(Error::invalid("logit_bias", format!("has {} entries; at most {LOGIT_BIAS_MAX} may be given", logit_bias.len())));
    }
    if let Some((id, bias)) = logit_bias.iter().find(|(_, bias)| !(-100.0..=100.0).contains(bias)) {
        return Err(Error::invalid("logit_bias", format!("moves token {id} by {bias}; biases go from -100 to 100")));
    }
    logit_bias.iter().try_for_each(|(id, _)| vocabulary.check("logit_bias", *id))
}
