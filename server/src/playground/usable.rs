//! Which models a visitor may use, and what is missing for the others.

use crate::access::{Action, Verdict, authorize_each};
use crate::accounts::Visitor;
use crate::catalog::{self, Model};
use crate::error::{Error, Refusal};
use crate::portal::Portal;

/// More models than any portal offers to choose from in one list.
const MODELS_MAX: i64 = 500;

/// The models on offer, from one visitor's point of view.
pub(super) struct Usable {
    /// Those they may use, by name.
    pub(super) models: Vec<Model>,
    /// How much is left of those they may only try, while an application waits.
    pub(super) trials: Vec<(Model, i64)>,
    /// Those they may not, each with what is missing.
    pub(super) refused: Vec<(Model, Refusal)>,
}

/// Asks of every model on offer: may they let it generate, on the page or by a program?
pub(super) async fn models(portal: &Portal, visitor: &Visitor, action: Action) -> Result<Usable, Error> {
    let mut db = portal.db.acquire().await?;
    let now = portal.clock.now();
    let models = catalog::list_models(&mut db, "", None, MODELS_MAX).await?;
    let verdicts = authorize_each(&mut db, visitor, &models, action, now).await?;
    let mut usable = Usable { models: Vec::new(), trials: Vec::new(), refused: Vec::new() };
    for (model, verdict) in models.into_iter().zip(verdicts) {
        match verdict {
            Verdict::Allowed(permit) => {
                usable.trials.extend(permit.trial.map(|trial| (model.clone(), trial.tokens_left)));
                usable.models.push(model);
            }
            Verdict::Refused(refusal) => usable.refused.push((model, refusal)),
        }
    }
    Ok(usable)
}
