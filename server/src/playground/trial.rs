//! A trial while an application waits: what a generation may take of it is set aside before it begins, and given back where it ends.

use inference::Request;
use sqlx::{Postgres, Transaction};

use super::complete::prompt_tokens;
use super::store::NewGeneration;
use crate::access::{self, Trial};
use crate::catalog::Model;
use crate::error::Error;
use crate::portal::Portal;

/// Lets the generation make no more than is left beside those that run, and sets that aside. Whoever holds the application's row counts
/// alone, so of two of the same moment the second knows what the first took: it does so until the transaction it is given ends, which is
/// where the generation's row belongs. Errors: `Forbidden` when the prompt takes all that is left.
pub(super) async fn reserve(
    portal: &Portal,
    new: &mut NewGeneration,
    requests: &mut [Request],
    model: &Model,
) -> Result<Transaction<'static, Postgres>, Error> {
    let mut tx = portal.db.begin().await?;
    let trial = access::lock_trial(&mut tx, new.account, new.model).await?.ok_or_else(decided)?;
    new.reserved_tokens = fit(requests, trial.tokens_left - trial.set_aside)
        .ok_or_else(|| if trial.set_aside > 0 { busy(model, trial) } else { too_long(model, trial) })?;
    Ok(tx)
}

/// How many tokens the requests may make together, once each was told; nothing when the prompts take all that is left.
fn fit(requests: &mut [Request], tokens_left: i64) -> Option<i32> {
    let mut left = usize::try_from(tokens_left).unwrap_or_default();
    let mut made = 0;
    for request in requests {
        left = left.saturating_sub(prompt_tokens(&request.prompt));
        if left == 0 {
            return None;
        }
        request.max_tokens = request.max_tokens.min(left);
        left -= request.max_tokens;
        made += request.max_tokens;
    }
    i32::try_from(made).ok()
}

/// Between the question and the start somebody decided.
fn decided() -> Error {
    Error::Conflict("your application has been decided in this moment; ask again".into()).mended_by("/playground", "Ask again")
}

fn busy(model: &Model, trial: Trial) -> Error {
    let message = format!(
        "What you may still try {} with is set aside for another text of yours that is being continued ({} tokens). Ask again when it has ended.",
        model.full_name(),
        trial.set_aside
    );
    trial.refusal("trial_busy", message).into()
}

fn too_long(model: &Model, trial: Trial) -> Error {
    let message = format!("Your text is longer than what you may still try {} with: {} tokens.", model.full_name(), trial.tokens_left);
    trial.refusal("trial_used", message).into()
}

#[cfg(test)]
mod tests {
    use inference::{Prompt, Request};

    use super::*;

    fn asks(prompt: usize, max_tokens: usize) -> Request {
        Request { max_tokens, ..Request::new(Prompt::Ids(vec![5; prompt])) }
    }

    #[test]
    fn prompts_and_answers_share_what_is_left() {
        let mut two = [asks(4, 10), asks(3, 10)];
        assert_eq!(fit(&mut two, 22), Some(15));
        assert_eq!(two.map(|request| request.max_tokens), [10, 5]);
        assert_eq!(fit(&mut [asks(4, 10)], 5), Some(1));
        assert_eq!(fit(&mut [asks(4, 10)], 4), None, "the prompt takes it all");
        assert_eq!(fit(&mut [asks(4, 10), asks(1, 1)], 14), None, "nothing is left for the second");
        assert_eq!(fit(&mut [asks(1, 1)], -5), None, "the rules have become narrower");
    }
}
