//! The OpenAI interface (legacy completions and models) and the tokenizer routes that evaluation harnesses ask for.
//! Its wire format is translated here and nowhere else.
//!
//! Programs show an access token with the scope `api`. A session's cookie counts for nothing here, so no other site can make a
//! signed-in browser generate.

mod answer;
mod ask;
mod fields;
mod logprobs;
mod models;
mod refusal;
mod routes;
mod tokenize;

pub(super) use routes::configure;
