//! The application form for non-commercial research, version 1: what is asked, in which order, and what counts as an answer.

use super::clause;

/// A group of questions.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) intro: &'static str,
    pub(super) fields: &'static [Field],
}

/// One question.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: &'static str,
    pub(super) need: Need,
    pub(super) kind: Kind,
}

/// Whether it has to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Need {
    Always,
    Optional,
    /// When the field named first holds one of these values.
    When(&'static str, &'static [&'static str]),
}

/// What counts as an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// One line.
    Line {
        chars_max: usize,
    },
    /// Paragraphs.
    Text {
        chars_min: usize,
        chars_max: usize,
        words_min: usize,
    },
    /// One of these values (first: stored, second: shown).
    Choice(&'static [(&'static str, &'static str)]),
    /// Any of these; each box is sent as `{name}_{value}`.
    Ticks(&'static [(&'static str, &'static str)]),
    Country,
    Email,
    Url,
    Orcid,
    /// A number of months, 1 to [`MONTHS_MAX`].
    Months,
}

/// The longest a grant may be asked for.
pub(super) const MONTHS_MAX: u8 = 12;

/// The value of a ticked box.
pub(super) const TICKED: &str = "on";

/// Everything that is asked.
pub(super) const SECTIONS: &[Section] = &[
    Section { id: "you", title: "You", intro: "Your name and address come from your account.", fields: YOU },
    Section {
        id: "sponsor",
        title: "Sponsor",
        intro: "Students and postdocs name the person who answers for their work.",
        fields: SPONSOR,
    },
    Section { id: "project", title: "Your project", intro: "What you want to find out, and why with this model.", fields: PROJECT },
    Section { id: "outputs", title: "What comes of it", intro: "So that everybody knows what to expect.", fields: OUTPUTS },
    Section { id: "safeguards", title: "Safeguards", intro: "Where the weights will lie, and who can reach them.", fields: SAFEGUARDS },
    Section { id: "in-whose-name", title: "In whose name", intro: "", fields: CAPACITY },
];

const LINE: Kind = Kind::Line { chars_max: 200 };

const YOU: &[Field] = &[
    Field {
        name: "role",
        label: "What you are",
        hint: "",
        need: Need::Always,
        kind: Kind::Choice(&[
            ("undergraduate", "Undergraduate student"),
            ("graduate_student", "Graduate student"),
            ("postdoc", "Postdoctoral researcher"),
            ("academic", "Academic staff"),
            ("government", "Government"),
            ("civil_society", "Civil society"),
            ("industry_lab", "Industry research lab"),
            ("independent", "Independent researcher"),
            ("journalist", "Journalist"),
            ("other", "Other"),
        ]),
    },
    Field {
        name: "organisation",
        label: "Organisation",
        hint: "Its full name. Independent: write “independent”.",
        need: Need::Always,
        kind: LINE,
    },
    Field { name: "department", label: "Department or group", hint: "", need: Need::Optional, kind: LINE },
    Field { name: "country", label: "Country", hint: "Where you will work with the model.", need: Need::Always, kind: Kind::Country },
    Field {
        name: "profile_url",
        label: "Profile or publications page",
        hint: "A page that shows who you are makes a decision quicker. Such as https://uni.example/people/you",
        need: Need::Optional,
        kind: Kind::Url,
    },
    Field { name: "orcid", label: "ORCID", hint: "Such as 0000-0002-1825-0097.", need: Need::Optional, kind: Kind::Orcid },
];

const SPONSORED: Need = Need::When("role", &["undergraduate", "graduate_student", "postdoc"]);
const SPONSOR: &[Field] = &[
    Field { name: "sponsor_name", label: "Sponsor's name", hint: "Your supervisor or head of group.", need: SPONSORED, kind: LINE },
    Field {
        name: "sponsor_email",
        label: "Sponsor's e-mail",
        hint: "At their institution, where reviewers can ask.",
        need: SPONSORED,
        kind: Kind::Email,
    },
    Field {
        name: "sponsor_relation",
        label: "How they know your work",
        hint: "Such as “supervises my doctorate”.",
        need: SPONSORED,
        kind: LINE,
    },
];

const PROJECT: &[Field] = &[
    Field { name: "title", label: "Title", hint: "", need: Need::Always, kind: LINE },
    Field {
        name: "summary",
        label: "Research summary",
        hint: "The question, the method, and why this model is needed: 300 to 4,000 characters, at least 40 words.",
        need: Need::Always,
        kind: Kind::Text { chars_min: 300, chars_max: 4_000, words_min: 40 },
    },
    Field {
        name: "lay_summary",
        label: "In plain words",
        hint: "The same for somebody outside your field: 80 to 1,500 characters. Shown to reviewers only.",
        need: Need::Always,
        kind: Kind::Text { chars_min: 80, chars_max: 1_500, words_min: 10 },
    },
    Field {
        name: "areas",
        label: "Research areas",
        hint: "A few words, such as “machine translation, low-resource languages”.",
        need: Need::Always,
        kind: LINE,
    },
    Field {
        name: "uses",
        label: "What you will use the model for",
        hint: "",
        need: Need::Always,
        kind: Kind::Ticks(&[
            ("evaluation", "Evaluation"),
            ("interpretability", "Interpretability"),
            ("bias", "Bias and toxicity"),
            ("safety", "Safety"),
            ("methods", "New methods"),
            ("education", "Education"),
            ("other", "Something else"),
        ]),
    },
    Field { name: "uses_text", label: "What else", hint: "", need: Need::When("uses_other", &[TICKED]), kind: LINE },
    Field {
        name: "months",
        label: "For how many months",
        hint: "1 to 12. When the time is over you can apply again with the same answers.",
        need: Need::Always,
        kind: Kind::Months,
    },
    Field { name: "funding", label: "Funding", hint: "Who pays for the work, if anybody.", need: Need::Optional, kind: LINE },
    Field {
        name: "commercial",
        label: "Is anything about the project commercial?",
        hint: "A company's money, staff or products; a start-up; paid work.",
        need: Need::Always,
        kind: Kind::Choice(&[("no", "No"), ("yes", "Yes, in part; I explain below")]),
    },
    Field {
        name: "commercial_text",
        label: "What is commercial about it",
        hint: "Who is involved, and why the use of the model is still non-commercial research.",
        need: Need::When("commercial", &["yes"]),
        kind: Kind::Text { chars_min: 40, chars_max: 1_500, words_min: 5 },
    },
];

const OUTPUTS: &[Field] = &[
    Field {
        name: "publication_plan",
        label: "What you plan to publish",
        hint: "",
        need: Need::Optional,
        kind: Kind::Text { chars_min: 0, chars_max: 1_500, words_min: 0 },
    },
    Field {
        name: "derived_weights",
        label: "Will you make weights from these?",
        hint: "Fine-tuned, distilled, merged or converted.",
        need: Need::Always,
        kind: Kind::Choice(&[
            ("none", "No"),
            ("internal", "Yes, kept inside my group"),
            ("release", "Yes, to be released under the same terms"),
        ]),
    },
    Field {
        name: "ethics",
        label: "Ethics approval",
        hint: "Its number and board, where one is needed.",
        need: Need::Optional,
        kind: LINE,
    },
];

const SAFEGUARDS: &[Field] = &[
    Field {
        name: "storage_kind",
        label: "Where weights and computing will be",
        hint: "",
        need: Need::Always,
        kind: Kind::Choice(&[("institution", "At my institution"), ("cloud", "With a cloud provider"), ("own", "On a machine of my own")]),
    },
    Field {
        name: "storage_location",
        label: "Which place",
        hint: "The cluster or machine, or the cloud provider and region.",
        need: Need::Always,
        kind: LINE,
    },
    Field {
        name: "controls",
        label: "How access is controlled",
        hint: "Tick what holds.",
        need: Need::Always,
        kind: Kind::Ticks(&[
            ("encryption", "The disk is encrypted"),
            ("accounts", "Every person has a named account"),
            ("unshared", "The weights lie in no shared folder"),
        ]),
    },
    Field {
        name: "controls_text",
        label: "Anything else about it",
        hint: "",
        need: Need::Optional,
        kind: Kind::Text { chars_min: 0, chars_max: 1_500, words_min: 0 },
    },
    Field {
        name: "security_contact",
        label: "Security contact",
        hint: "An e-mail address that is read when something leaks; yours is fine.",
        need: Need::Always,
        kind: Kind::Email,
    },
];

const CAPACITY: &[Field] = &[Field {
    name: "capacity",
    label: "I agree",
    hint: "",
    need: Need::Always,
    kind: Kind::Choice(&[("self", "for myself, as a person"), ("entity", "for my organisation, which I have the authority to bind")]),
}];

/// Every question, section by section.
pub(super) fn fields() -> impl Iterator<Item = &'static Field> {
    SECTIONS.iter().flat_map(|section| section.fields)
}

/// The hidden field that says which licence text the page showed.
pub(super) const LICENCE_SHOWN: &str = "licence_shown";

/// Whether the form sends a field `name`.
pub(super) fn knows(name: &str) -> bool {
    name == LICENCE_SHOWN
        || clause::CLAUSES.iter().any(|clause| clause.field == name)
        || fields().any(|field| match field.kind {
            Kind::Ticks(ticks) => name
                .strip_prefix(field.name)
                .and_then(|rest| rest.strip_prefix('_'))
                .is_some_and(|value| ticks.iter().any(|(known, _)| *known == value)),
            Kind::Line { .. } | Kind::Text { .. } | Kind::Choice(_) | Kind::Country => name == field.name,
            Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => name == field.name,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_questions_do_not_share_an_id_on_the_page() {
        for section in SECTIONS {
            assert!(!knows(section.id), "{} is a section and a question: a label would point at the wrong one", section.id);
        }
    }

    #[test]
    fn no_two_questions_share_a_name() {
        let mut names: Vec<String> = fields()
            .flat_map(|field| match field.kind {
                Kind::Ticks(ticks) => ticks.iter().map(|(value, _)| format!("{}_{value}", field.name)).collect(),
                _ => vec![field.name.to_owned()],
            })
            .chain(clause::CLAUSES.iter().map(|clause| clause.field.to_owned()))
            .collect();
        for name in &names {
            assert!(knows(name), "{name} would be dropped");
        }
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(!knows("state") && !knows("uses_") && !knows("csrf"));
    }

    #[test]
    fn a_condition_names_a_field_that_exists() {
        for field in fields() {
            if let Need::When(on, values) = field.need {
                assert!(knows(on) && !values.is_empty(), "{} depends on {on}", field.name);
            }
        }
    }
}
