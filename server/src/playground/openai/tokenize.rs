//! `POST /tokenize`, `POST /detokenize`, `GET /tokenizer_info`, as evaluation harnesses ask for them. These do not name a model when
//! there is only one to mean.

use std::collections::BTreeSet;

use actix_web::web::Data;
use serde_json::{Value, json};

use super::super::complete::{Admitted, NO_TOKENIZER, admit};
use super::super::fault::Fault;
use super::super::prompt::PROMPT_CHARS_MAX;
use super::super::store::Source;
use super::fields::Fields;
use super::models;
use crate::accounts::Visitor;
use crate::catalog;
use crate::error::{Error, FieldError};
use crate::portal::Portal;

/// The most tokens turned into text at once.
const TOKENS_MAX: usize = 32 * 1024;

/// `POST /tokenize` `{prompt, add_special_tokens, model}`
pub(super) async fn tokenize(portal: &Data<Portal>, visitor: &Visitor, body: &[u8]) -> Result<Value, Fault> {
    let mut fields = Fields::parse(body)?;
    let model = fields.text("model");
    let prompt = fields.text("prompt");
    let bare = matches!(fields.take("add_special_tokens"), Some(Value::Bool(false)));
    fields.finish()?;
    let prompt = prompt.ok_or_else(|| Error::from(FieldError::new("prompt", "is the text to tokenise")))?;
    if prompt.chars().count() > PROMPT_CHARS_MAX {
        return Err(Error::from(FieldError::new("prompt", format!("has at most {PROMPT_CHARS_MAX} characters"))).into());
    }
    let admitted = admit_to(portal, visitor, model).await?;
    let tokenizer = admitted.engine.tokenizer().ok_or_else(|| Fault::CannotRun(NO_TOKENIZER.into()))?;
    let mut tokens = tokenizer.encode(&prompt)?;
    if bare {
        // What an empty text becomes is what the tokenizer puts in front of every text.
        tokens.drain(..tokenizer.encode("")?.len());
    }
    Ok(
        json!({ "count": tokens.len(), "max_model_len": admitted.engine.context_tokens_max(), "tokens": tokens, "model": admitted.model.full_name() }),
    )
}

/// `POST /detokenize` `{tokens, model}`
pub(super) async fn detokenize(portal: &Data<Portal>, visitor: &Visitor, body: &[u8]) -> Result<Value, Fault> {
    let mut fields = Fields::parse(body)?;
    let model = fields.text("model");
    let tokens = fields.take("tokens");
    fields.finish()?;
    let tokens: Vec<u32> = tokens
        .and_then(|tokens| serde_json::from_value(tokens).ok())
        .filter(|tokens: &Vec<u32>| tokens.len() <= TOKENS_MAX)
        .ok_or_else(|| Error::from(FieldError::new("tokens", format!("is a list of at most {TOKENS_MAX} token ids"))))?;
    let admitted = admit_to(portal, visitor, model).await?;
    let tokenizer = admitted.engine.tokenizer().ok_or_else(|| Fault::CannotRun(NO_TOKENIZER.into()))?;
    Ok(json!({ "prompt": tokenizer.decode(&tokens), "model": admitted.model.full_name() }))
}

/// `GET /tokenizer_info`
pub(super) async fn info(portal: &Data<Portal>, visitor: &Visitor, model: Option<String>) -> Result<Value, Fault> {
    let admitted = admit_to(portal, visitor, model).await?;
    let tokenizer = admitted.engine.tokenizer().ok_or_else(|| Fault::CannotRun(NO_TOKENIZER.into()))?;
    let config = admitted.release.config_json.as_ref();
    let special = |field: &str, default: u64| {
        let id = config.and_then(|config| config.get(field)).and_then(Value::as_u64).unwrap_or(default);
        u32::try_from(id).ok().and_then(|id| tokenizer.token_text(id))
    };
    Ok(json!({
        "tokenizer_class": "GPT2Tokenizer", "model": admitted.model.full_name(), "model_max_length": admitted.engine.context_tokens_max(),
        "bos_token": special("bos_token_id", 2), "eos_token": special("eos_token_id", 2), "pad_token": special("pad_token_id", 1),
        "add_bos_token": !tokenizer.encode("")?.is_empty(), "chat_template": null,
    }))
}

/// Lets the visitor in to the model they named, or to any of theirs if all have one and the same tokenizer.
async fn admit_to(portal: &Data<Portal>, visitor: &Visitor, named: Option<String>) -> Result<Admitted, Fault> {
    if let Some(model) = named {
        return admit(portal, visitor, &model, Source::Api).await;
    }
    let models = models::list(portal, visitor).await?;
    let first = models.first().ok_or(Error::NotFound("model"))?.full_name();
    let mut db = portal.db.acquire().await?;
    let mut tokenizers = BTreeSet::new();
    for model in &models {
        let release = catalog::resolve(&mut db, model.id, "main").await?.ok_or(Error::NotFound("release"))?;
        tokenizers.insert(catalog::file(&mut db, release.id, "tokenizer.json").await?.map(|file| file.sha256));
    }
    drop(db);
    if tokenizers.len() > 1 {
        return Err(Error::from(FieldError::new("model", "says which of your models is meant: their tokenizers differ")).into());
    }
    admit(portal, visitor, &first, Source::Api).await
}
