//! What an applicant attests, clause by clause. The words here are what is ticked; each record keeps them, with the licence's hash.

/// Whose rule a clause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The model's licence; the record carries the hash of the text that was shown.
    Licence,
    /// This portal; recorded apart from the licence.
    Site,
}

/// One clause.
#[derive(Debug)]
pub(super) struct Clause {
    /// The stable id that the record carries.
    pub(super) id: &'static str,
    /// The name of its box on the form.
    pub(super) field: &'static str,
    /// Whose rule it is.
    pub(super) source: Source,
    /// What is attested, in our words.
    pub(super) wording: &'static str,
}

/// Every clause, in the order of the form. Derived from the clauses of the OPT-175B licence agreement (1a, 2a i–vi, 3, 7).
pub(super) const CLAUSES: &[Clause] = &[
    Clause {
        id: "2a-i",
        field: "agree_non_commercial",
        source: Source::Licence,
        wording: "I will use the model for non-commercial research only, not for profit and not in production.",
    },
    Clause {
        id: "2a-ii",
        field: "agree_no_military",
        source: Source::Licence,
        wording: "I will not use it for military purposes, weapons or nuclear technology.",
    },
    Clause {
        id: "2a-iii",
        field: "agree_no_surveillance",
        source: Source::Licence,
        wording: "I will not use it for surveillance, or for research and development that serves it.",
    },
    Clause { id: "2a-iv", field: "agree_no_biometrics", source: Source::Licence, wording: "I will not use it to process biometric data." },
    Clause {
        id: "2a-v",
        field: "agree_no_harm",
        source: Source::Licence,
        wording: "I will not use it to violate anybody's rights, or help anybody else to.",
    },
    Clause {
        id: "2a-vi",
        field: "agree_lawful",
        source: Source::Licence,
        wording: "My use is lawful, and no embargo or trade sanction stands against it.",
    },
    Clause {
        id: "1a",
        field: "agree_no_sublicence",
        source: Source::Licence,
        wording: "The licence is mine alone: I will not sublicense it or hand it on to somebody else.",
    },
    Clause {
        id: "3",
        field: "agree_attribution",
        source: Source::Licence,
        wording: "Whatever I may pass on under the licence goes out for non-commercial research only, with the licence and the attribution it asks for.",
    },
    Clause {
        id: "7",
        field: "agree_stop",
        source: Source::Licence,
        wording: "When the licence or my access ends, I stop using the model.",
    },
    Clause {
        id: "site-deletion",
        field: "agree_deletion",
        source: Source::Site,
        wording: "When my access ends, I delete every copy of the weights that I hold.",
    },
    Clause {
        id: "site-no-sharing",
        field: "agree_no_sharing",
        source: Source::Site,
        wording: "I keep the weights to myself: colleagues apply for themselves, and my account and tokens are used by me alone.",
    },
    Clause { id: "site-adult", field: "agree_adult", source: Source::Site, wording: "I am at least 18 years old." },
    Clause {
        id: "site-privacy",
        field: "agree_privacy",
        source: Source::Site,
        wording: "I know that reviewers read this application, and that the decision and my downloads are kept on record.",
    },
];

/// The clause id and words under which the chosen capacity is recorded.
pub(super) const CAPACITIES: &[(&str, &str, &str)] = &[
    ("self", "capacity-self", "I agree for myself, as a person."),
    ("entity", "capacity-entity", "I agree for my organisation, and have the authority to bind it."),
];
