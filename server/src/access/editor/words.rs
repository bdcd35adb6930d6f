//! A form in words, for those who write it.

use super::super::form::{Kind, Listed, MONTHS_MAX, Need};

/// The kinds of questions: as addresses and JSON name them, and as people do.
pub(super) const KINDS: &[(&str, &str)] = &[
    ("line", "One line"),
    ("text", "Paragraphs"),
    ("choice", "One of a list"),
    ("ticks", "Any of a list"),
    ("country", "Country"),
    ("email", "E-mail address"),
    ("url", "Address of a web page"),
    ("orcid", "ORCID iD"),
    ("months", "Number of months"),
];

/// The name of a kind.
pub(super) fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Line { .. } => "line",
        Kind::Text { .. } => "text",
        Kind::Choice { .. } => "choice",
        Kind::Ticks { .. } => "ticks",
        Kind::Country => "country",
        Kind::Email => "email",
        Kind::Url => "url",
        Kind::Orcid => "orcid",
        Kind::Months => "months",
    }
}

/// What counts as an answer.
pub(super) fn of_kind(kind: &Kind) -> String {
    let listed = |of: &[Listed]| of.iter().map(|listed| listed.label.as_str()).collect::<Vec<_>>().join(" · ");
    match kind {
        Kind::Line { chars_max } => format!("one line, at most {chars_max} characters"),
        Kind::Text { chars_max, chars_min, words_min } => {
            let words = if *words_min > 0 { format!(", at least {words_min} words") } else { String::new() };
            format!("paragraphs, {chars_min} to {chars_max} characters{words}")
        }
        Kind::Choice { of } => format!("one of: {}", listed(of)),
        Kind::Ticks { of } => format!("any of: {}", listed(of)),
        Kind::Country => "a country".into(),
        Kind::Email => "an e-mail address".into(),
        Kind::Url => "the address of a web page".into(),
        Kind::Orcid => "an ORCID".into(),
        Kind::Months => format!("a number of months, 1 to {MONTHS_MAX}"),
    }
}

/// The values of a list; none where there is no list.
pub(super) fn values(kind: &Kind) -> String {
    match kind {
        Kind::Choice { of } | Kind::Ticks { of } => of.iter().map(|listed| listed.value.as_str()).collect::<Vec<_>>().join(" · "),
        Kind::Line { .. } | Kind::Text { .. } | Kind::Country | Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => String::new(),
    }
}

/// Whether it has to be answered.
pub(super) fn of_need(need: &Need) -> String {
    match need {
        Need::Always => "always".into(),
        Need::Optional => "optional".into(),
        Need::When { field, is } => format!("when {field} is {}", is.join(" or ")),
    }
}
