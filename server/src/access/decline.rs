//! Why an application was declined: a closed list, so that an applicant always learns what to mend, and a text beside it.

use std::str::FromStr;

use crate::error::FieldError;

/// The reason for a decline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is spelled out by `label` and `advice`")]
pub enum DeclineReason {
    CommercialUse,
    PurposeUnclear,
    IdentityNotVerifiable,
    ProhibitedUse,
    Jurisdiction,
    Duplicate,
    SafeguardsInsufficient,
    Other,
}

impl DeclineReason {
    /// Every reason, as the decision panel lists them.
    pub const ALL: [DeclineReason; 8] = [
        DeclineReason::PurposeUnclear,
        DeclineReason::IdentityNotVerifiable,
        DeclineReason::SafeguardsInsufficient,
        DeclineReason::CommercialUse,
        DeclineReason::ProhibitedUse,
        DeclineReason::Jurisdiction,
        DeclineReason::Duplicate,
        DeclineReason::Other,
    ];

    /// The stable code, as it is stored and posted.
    pub fn as_str(self) -> &'static str {
        match self {
            DeclineReason::CommercialUse => "commercial_use",
            DeclineReason::PurposeUnclear => "purpose_unclear",
            DeclineReason::IdentityNotVerifiable => "identity_not_verifiable",
            DeclineReason::ProhibitedUse => "prohibited_use",
            DeclineReason::Jurisdiction => "jurisdiction",
            DeclineReason::Duplicate => "duplicate",
            DeclineReason::SafeguardsInsufficient => "safeguards_insufficient",
            DeclineReason::Other => "other",
        }
    }

    /// The reason in a few words.
    pub fn label(self) -> &'static str {
        match self {
            DeclineReason::CommercialUse => "The project is commercial",
            DeclineReason::PurposeUnclear => "The purpose is not clear",
            DeclineReason::IdentityNotVerifiable => "Who is applying could not be verified",
            DeclineReason::ProhibitedUse => "The licence prohibits this use",
            DeclineReason::Jurisdiction => "Not possible in this jurisdiction",
            DeclineReason::Duplicate => "There is another application or grant for the same project",
            DeclineReason::SafeguardsInsufficient => "The safeguards are not sufficient",
            DeclineReason::Other => "Another reason",
        }
    }

    /// What the applicant can do next.
    pub fn advice(self) -> &'static str {
        match self {
            DeclineReason::CommercialUse => "The licence covers non-commercial research only. A project without commercial use is welcome.",
            DeclineReason::PurposeUnclear => "Apply again and say what you want to find out, how, and why this model is needed for it.",
            DeclineReason::IdentityNotVerifiable => "Apply again from an institutional address, or add an ORCID or a profile page.",
            DeclineReason::ProhibitedUse => "Read the licence's list of prohibited uses; a project outside it is welcome.",
            DeclineReason::Jurisdiction => "Applying again from the same place would not change this.",
            DeclineReason::Duplicate => "Your other application or access is not affected; there is nothing else to do.",
            DeclineReason::SafeguardsInsufficient => {
                "Apply again and say where the weights will be stored, who can reach them and how they are protected."
            }
            DeclineReason::Other => "The reviewer's note above says what stood in the way.",
        }
    }
}

impl DeclineReason {
    /// A text to begin with, which says what stood in the way; whoever declines changes it as they see fit. Empty where nobody can know.
    pub fn words(self) -> &'static str {
        match self {
            DeclineReason::CommercialUse => {
                "What you describe is part of a product or a service, or is paid for by one. The licence does not cover that."
            }
            DeclineReason::PurposeUnclear => {
                "From your answers we could not see which question you want to answer with the model, or by which method. That is what we decide by."
            }
            DeclineReason::IdentityNotVerifiable => {
                "We could not confirm that you work where you say: your address is not the institution's, and we found no page that names you there."
            }
            DeclineReason::ProhibitedUse => {
                "What you describe is among the uses that the licence rules out, so that we cannot give access for it."
            }
            DeclineReason::Jurisdiction => "We may not give access where you or your institution are, whatever the project.",
            DeclineReason::Duplicate => "The same project has an application or access already, so that we do not need this one.",
            DeclineReason::SafeguardsInsufficient => {
                "From your answers we could not see where the weights will lie and who can reach them, or others than you say can."
            }
            DeclineReason::Other => "",
        }
    }
}

impl FromStr for DeclineReason {
    type Err = FieldError;
    fn from_str(code: &str) -> Result<Self, FieldError> {
        DeclineReason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == code)
            .ok_or_else(|| FieldError::new("reason", "choose one of the reasons"))
    }
}
