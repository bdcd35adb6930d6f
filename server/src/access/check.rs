//! Whether the answers make an application: every fault by its field, or what follows from them.

use super::answers::Answers;
use super::clause::{CAPACITIES, CAPACITY, Source};
use super::form::{Field, Form, Kind, LICENCE_SHOWN, MONTHS_MAX, Need};
use super::{country, forms};
use crate::accounts::Email;
use crate::clock::Timestamp;
use crate::error::FieldError;
use crate::http::table::thousands;

/// One clause attested, to be kept as a record of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The clause's stable id.
    pub clause: String,
    /// The words that were ticked.
    pub wording: String,
    /// The licence text that was shown with it; none for terms of this site.
    pub licence_sha256: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Checks everything and returns what is attested. `licence`: the text in force now, which has to be the one that was
/// shown, as the form has to be.
/// Errors: every fault there is, in the order of the form.
pub(super) fn check(form: &Form, answers: &Answers, licence: Option<&str>, now: Timestamp) -> Result<Vec<Attestation>, Vec<FieldError>> {
    let changed = (answers.form_shown() != form.sha256()).then(forms::changed);
    let mut faults: Vec<FieldError> = changed
        .into_iter()
        .chain(form.fields().filter_map(|field| fault(field, answers).map(|message| FieldError::new(field.name.clone(), message))))
        .collect();
    if answers.get(LICENCE_SHOWN) != licence.unwrap_or_default() {
        faults.push(FieldError::new(LICENCE_SHOWN, "it changed while you were writing; read the new text and agree to its clauses"));
    }
    for clause in form.clauses().iter().filter(|clause| !answers.is_ticked(&clause.field)) {
        faults.push(FieldError::new(clause.field.clone(), "you have to agree to this"));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let capacity = CAPACITIES.iter().filter(|(value, _, _)| *value == answers.get(CAPACITY));
    let clauses = form.clauses().iter().map(|clause| (clause.id.as_str(), clause.wording.as_str(), clause.source));
    Ok(clauses
        .chain(capacity.map(|(_, id, wording)| (*id, *wording, Source::Licence)))
        .map(|(id, wording, source)| Attestation {
            clause: id.to_owned(),
            wording: wording.to_owned(),
            licence_sha256: match source {
                Source::Licence => licence.map(str::to_owned),
                Source::Site => None,
            },
            at: now,
        })
        .collect())
}

/// For how many months access is asked; `None` when the answer is no such number.
pub(super) fn months(answers: &Answers) -> Option<u8> {
    answers.get("months").parse().ok().filter(|months| (1..=MONTHS_MAX).contains(months))
}

/// Whether the question has to be answered, as the other answers stand.
pub(super) fn is_needed(field: &Field, answers: &Answers) -> bool {
    match &field.need {
        Need::Always => true,
        Need::Optional => false,
        Need::When { field, is } => is.iter().any(|value| value == answers.get(field)),
    }
}

/// Whether the question has any answer.
pub(super) fn is_answered(field: &Field, answers: &Answers) -> bool {
    match &field.kind {
        Kind::Ticks { of } => of.iter().any(|listed| answers.is_ticked(&field.box_name(&listed.value))),
        Kind::Line { .. } | Kind::Text { .. } | Kind::Choice { .. } | Kind::Country => !answers.get(&field.name).is_empty(),
        Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => !answers.get(&field.name).is_empty(),
    }
}

fn fault(field: &Field, answers: &Answers) -> Option<String> {
    if !is_answered(field, answers) {
        return is_needed(field, answers).then(|| match &field.kind {
            Kind::Ticks { .. } => "tick at least one".into(),
            Kind::Choice { .. } | Kind::Country => "choose one".into(),
            Kind::Line { .. } | Kind::Text { .. } | Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => "this answer is needed".into(),
        });
    }
    let answer = answers.get(&field.name);
    match &field.kind {
        Kind::Line { chars_max } => line_fault(answer, *chars_max),
        Kind::Text { chars_max, chars_min, words_min } => text_fault(answer, *chars_min, *chars_max, *words_min),
        Kind::Choice { of } => (!of.iter().any(|listed| listed.value == answer)).then(|| "choose one from the list".into()),
        Kind::Ticks { .. } => None,
        Kind::Country => country::name_of(answer).is_none().then(|| "choose one from the list".into()),
        Kind::Email => Email::parse(answer).err().map(|fault| fault.message.into_owned()),
        Kind::Url => (!is_web_page(answer)).then(|| "this is not the address of a web page, such as https://uni.example/people/you".into()),
        Kind::Orcid => (!is_orcid(answer))
            .then(|| "this is not a valid ORCID iD (16 characters, e.g. 0000-0002-1825-0097; the last is a check digit)".into()),
        Kind::Months => months(answers).is_none().then(|| format!("enter a whole number from 1 to {MONTHS_MAX}")),
    }
}

fn line_fault(answer: &str, chars_max: usize) -> Option<String> {
    let chars = answer.chars().count();
    if answer.contains('\n') { Some("enter one line only".into()) } else { (chars > chars_max).then(|| too_long(chars, chars_max)) }
}

fn text_fault(answer: &str, chars_min: usize, chars_max: usize, words_min: usize) -> Option<String> {
    let (chars, words) = (answer.chars().count(), answer.split_whitespace().count());
    if chars > chars_max {
        Some(too_long(chars, chars_max))
    } else if chars < chars_min {
        Some(format!("enter at least {} characters; this has {}", grouped(chars_min), grouped(chars)))
    } else {
        (words < words_min).then(|| format!("enter at least {words_min} words; this has {words}"))
    }
}

/// That a text has more characters than fit.
pub(super) fn too_long(chars: usize, chars_max: usize) -> String {
    format!("enter at most {} characters; this has {}", grouped(chars_max), grouped(chars))
}

/// A number as it is written for people: `2,000`.
pub(super) fn grouped(count: usize) -> String {
    thousands(i64::try_from(count).unwrap_or(i64::MAX))
}

pub(super) fn is_web_page(answer: &str) -> bool {
    let page = url::Url::parse(answer).ok();
    page.is_some_and(|page| matches!(page.scheme(), "http" | "https") && page.host_str().is_some_and(|host| host.contains('.')))
        && answer.chars().count() <= 500
}

/// Sixteen digits in groups of four, the last a check by ISO 7064 MOD 11-2 (ORCID's own documentation).
fn is_orcid(answer: &str) -> bool {
    let answer = answer.strip_prefix("https://orcid.org/").unwrap_or(answer);
    let groups: Vec<&str> = answer.split('-').collect();
    if groups.len() != 4 || groups.iter().any(|group| group.len() != 4 || !group.is_ascii()) {
        return false;
    }
    let digits: String = groups.concat();
    let (body, last) = digits.split_at(15);
    if !body.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let total = body.bytes().fold(0u32, |total, b| (total + u32::from(b - b'0')) * 2);
    let expected = match (12 - total % 11) % 11 {
        10 => "X".to_owned(),
        digit => digit.to_string(),
    };
    last == expected
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: Timestamp = datetime!(2026-03-01 12:00 UTC);
    pub(in crate::access) const LICENCE: &str = "11f55e1ab7e8aa6fd3b7ac0b7a1a6d30bd4f2a2c8a4f7d31c1a4d5a6b7c8d9e0";

    /// A complete form: what an applicant who was prepared sends.
    pub(in crate::access) fn complete(licence: Option<&str>) -> Vec<(String, String)> {
        let summary = "We ask how the model's errors on negated statements change with its size. ".repeat(6);
        let mut fields = vec![
            ("role", "academic"),
            ("organisation", "University of Turin"),
            ("country", "IT"),
            ("title", "Negation in language models"),
            ("summary", summary.as_str()),
            ("lay_summary", "Language models often overlook the word not. We measure when that happens, and what helps against it."),
            ("areas", "interpretability"),
            ("uses_evaluation", "on"),
            ("months", "6"),
            ("commercial", "no"),
            ("derived_weights", "none"),
            ("storage_kind", "institution"),
            ("storage_location", "The university's cluster"),
            ("controls_accounts", "on"),
            ("security_contact", "security@unito.it"),
            ("capacity", "self"),
        ];
        fields.extend(Form::built_in().clauses().iter().map(|clause| (clause.field.as_str(), "on")));
        if let Some(sha256) = licence {
            fields.push((LICENCE_SHOWN, sha256));
        }
        fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn with(changes: &[(&str, &str)]) -> Answers {
        let mut fields = complete(Some(LICENCE));
        for (name, value) in changes {
            fields.retain(|(known, _)| known != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        Answers::from_fields(Form::built_in(), fields)
    }

    fn fields_at_fault(answers: &Answers) -> Vec<String> {
        check(Form::built_in(), answers, Some(LICENCE), NOW)
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|fault| fault.field.into_owned())
            .collect()
    }

    #[test]
    fn a_complete_form_attests_every_clause_with_the_licence_that_was_shown() {
        let attestations = check(Form::built_in(), &with(&[]), Some(LICENCE), NOW).expect("the form is complete");
        assert_eq!(attestations.len(), Form::built_in().clauses().len() + 1, "every clause, and the capacity");
        for attestation in attestations {
            let is_site = attestation.clause.starts_with("site-");
            assert_eq!(attestation.licence_sha256.as_deref(), if is_site { None } else { Some(LICENCE) }, "{}", attestation.clause);
            assert_eq!(attestation.at, NOW);
        }
    }

    #[test]
    fn an_empty_form_is_told_everything_that_is_missing_at_once() {
        let missing = fields_at_fault(&Answers::default());
        for field in Form::built_in().fields() {
            assert_eq!(missing.contains(&field.name), matches!(field.need, Need::Always), "{}", field.name);
        }
        for clause in Form::built_in().clauses() {
            assert!(missing.contains(&clause.field), "{}", clause.id);
        }
    }

    #[test]
    fn each_clause_left_out_is_named() {
        for clause in Form::built_in().clauses() {
            assert_eq!(fields_at_fault(&with(&[(&clause.field, "")])), [clause.field.as_str()]);
        }
    }

    #[test]
    fn a_licence_that_changed_in_between_has_to_be_read_again() {
        assert_eq!(fields_at_fault(&with(&[(LICENCE_SHOWN, &"0".repeat(64))])), [LICENCE_SHOWN]);
        assert!(
            check(Form::built_in(), &Answers::from_fields(Form::built_in(), complete(None)), None, NOW).is_ok(),
            "a model without a licence text asks for none"
        );
    }

    #[test]
    fn students_name_a_sponsor_and_others_need_not() {
        let names = ["sponsor_name", "sponsor_email", "sponsor_relation"];
        assert_eq!(fields_at_fault(&with(&[("role", "graduate_student")])), names);
        assert_eq!(fields_at_fault(&with(&[("role", "journalist")])), [""; 0]);
    }

    #[test]
    fn an_answer_that_opens_a_question_needs_its_answer() {
        assert_eq!(fields_at_fault(&with(&[("commercial", "yes")])), ["commercial_text"]);
        assert_eq!(fields_at_fault(&with(&[("uses_other", "on")])), ["uses_text"]);
        assert_eq!(fields_at_fault(&with(&[("uses_evaluation", "")])), ["uses"]);
    }

    #[test]
    fn answers_that_are_none_are_told_so_by_field() {
        let long = "x".repeat(201);
        for (name, value) in [
            ("role", "wizard"),
            ("organisation", long.as_str()),
            ("organisation", "two\nlines"),
            ("country", "XX"),
            ("country", "it"),
            ("profile_url", "javascript:alert(1)"),
            ("profile_url", "https://localhost/"),
            ("orcid", "0000-0002-1825-0098"),
            ("orcid", "0000-0002-1825-009"),
            ("summary", "Too short."),
            ("months", "0"),
            ("months", "13"),
            ("months", "-1"),
            ("months", "six"),
            ("commercial", "perhaps"),
            ("security_contact", "not an address"),
            ("capacity", "both"),
        ] {
            assert_eq!(fields_at_fault(&with(&[(name, value)])), [name], "{value:?}");
        }
    }

    #[test]
    fn a_summary_of_few_long_words_or_too_many_characters_is_refused() {
        assert_eq!(fields_at_fault(&with(&[("summary", &format!("{} ", "x".repeat(30)).repeat(20))])), ["summary"]);
        assert_eq!(fields_at_fault(&with(&[("summary", &"ä ".repeat(2_001))])), ["summary"]);
        assert_eq!(fields_at_fault(&with(&[("summary", &"ä ".repeat(2_000))])), [""; 0], "4,000 characters fit, whatever their bytes");
    }

    #[test]
    fn an_orcid_may_be_given_with_its_address_and_may_end_in_x() {
        for orcid in ["0000-0002-1825-0097", "https://orcid.org/0000-0002-1825-0097", "0000-0002-1694-233X"] {
            assert_eq!(fields_at_fault(&with(&[("orcid", orcid)])), [""; 0], "{orcid}");
        }
    }
}
