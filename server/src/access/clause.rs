//! What an applicant attests, clause by clause. The words of the form are what is ticked; each record keeps them, with the licence's hash.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose rule a clause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FormSource)]
pub(super) enum Source {
    /// The model's licence; the record carries the hash of the text that was shown.
    Licence,
    /// This portal; recorded apart from the licence.
    Site,
}

/// One clause. Those of the built-in form are derived from the OPT-175B licence agreement (1a, 2a i–vi, 3, 7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FormClause, description = "One clause.")]
pub(super) struct Clause {
    /// The name of its box on the form.
    pub(super) field: String,
    /// The stable id that the record carries.
    pub(super) id: String,
    /// Whose rule it is.
    pub(super) source: Source,
    /// What is attested, in our words.
    pub(super) wording: String,
}

/// What the name of every clause's box begins with, and of no question's: so ticks are told from answers without their form.
pub(super) const BOX_PREFIX: &str = "agree_";

/// The question whose answer says in whose name the clauses are agreed to. A form may leave it out.
pub(super) const CAPACITY: &str = "capacity";

/// Its answers, and the clause id and words under which each is recorded.
pub(super) const CAPACITIES: &[(&str, &str, &str)] = &[
    ("self", "capacity-self", "I agree on my own behalf."),
    ("entity", "capacity-entity", "I agree on behalf of my organisation, which I am authorised to bind."),
];
