//! The rules that every form keeps as a whole: how much it may hold, names that are used once, conditions that can come true, and the few
//! questions that the portal itself reads the answers of.

use std::collections::HashSet;

use super::clause::{CAPACITIES, CAPACITY};
use super::country;
use super::form::{FORM_SHOWN, Field, Kind, LICENCE_SHOWN, Layout, Need, TICKED};
use super::form_parts::{Found, NAME_BYTES_MAX, TEXT_CHARS_MAX, VALUES_MAX, of_clause, of_question, of_section, shortened};
use crate::error::FieldError;

/// Sections of a form.
pub(super) const SECTIONS_MAX: usize = 20;
/// Questions of a form.
pub(super) const QUESTIONS_MAX: usize = 100;
/// Clauses of a form.
pub(super) const CLAUSES_MAX: usize = 40;
/// What all answers together may be asked to hold, in characters: twelve bytes each on their way, they fit into `http/csrf.rs::FORM_BYTES_MAX`.
const ANSWERS_CHARS_MAX: usize = 30_000;
/// What an address of a mailbox or a page may hold, in characters.
const ADDRESS_CHARS: usize = 500;
/// Names on the page that are the portal's own.
const RESERVED: &[&str] =
    &["asked", "autosave", "csrf", "draft", "faults", FORM_SHOWN, "id", "licence", LICENCE_SHOWN, "main", "seen", "state", "version"];

/// A rule that a layout breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Place,
    /// Which part of it, by the name that JSON and editor give it.
    pub(super) part: &'static str,
    pub(super) message: String,
}

/// What of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Form,
    Section(String),
    Question(String),
    Clause(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Form => f.write_str("the form"),
            Place::Section(id) => write!(f, "section {id}"),
            Place::Question(name) => write!(f, "question {name}"),
            Place::Clause(id) => write!(f, "clause {id}"),
        }
    }
}

impl From<Fault> for FieldError {
    fn from(fault: Fault) -> Self {
        FieldError::new(fault.place.to_string(), format!("{} {}", fault.part, fault.message))
    }
}

/// Every rule that the layout breaks, in the order of the form.
pub(super) fn faults(layout: &Layout) -> Vec<Fault> {
    let too_many = counts(layout);
    if !too_many.is_empty() {
        return too_many;
    }
    let mut faults = Vec::new();
    let mut ids: HashSet<String> = RESERVED.iter().map(|name| (*name).to_owned()).collect();
    let mut labels = HashSet::new();
    for section in &layout.sections {
        let mut found = of_section(section);
        if !ids.insert(section.id.clone()) {
            found.push(("id", taken(&section.id)));
        }
        faults.extend(at(&Place::Section(section.id.clone()), found));
        for field in &section.fields {
            let mut found = of_question(field);
            let names: HashSet<String> = field.sent_names().into_iter().chain([field.name.clone()]).collect();
            found.extend(names.into_iter().filter(|name| !ids.insert(name.clone())).map(|name| ("name", taken(&name))));
            if !labels.insert(field.label.to_lowercase()) {
                found.push(("label", format!("“{}” is asked twice; reviewers could not tell the answers apart", field.label)));
            }
            found.extend(condition(field, layout).map(|message| ("condition", message)));
            found.extend(read_by_the_portal(field));
            faults.extend(at(&Place::Question(field.name.clone()), found));
        }
    }
    let mut clause_ids: HashSet<&str> = CAPACITIES.iter().map(|(_, id, _)| *id).collect();
    for clause in &layout.clauses {
        let mut found = of_clause(clause);
        if !clause_ids.insert(&clause.id) {
            found.push(("id", taken(&clause.id)));
        }
        if !ids.insert(clause.field.clone()) {
            found.push(("field", taken(&clause.field)));
        }
        faults.extend(at(&Place::Clause(clause.id.clone()), found));
    }
    faults.extend(at(&Place::Form, of_the_whole(layout)));
    faults
}

fn at(place: &Place, found: Vec<Found>) -> impl Iterator<Item = Fault> {
    found.into_iter().map(|(part, message)| Fault { place: place.clone(), part, message })
}

fn taken(name: &str) -> String {
    format!("“{name}” is taken already, by another part of the form or of its page")
}

/// What there is too much of. Counted first, so that a form of ten thousand questions is one fault and not ten thousand; a draft may hold no
/// more either.
pub(super) fn counts(layout: &Layout) -> Vec<Fault> {
    let counted = |part, count: usize, max: usize| {
        (count > max).then(|| Fault { place: Place::Form, part, message: format!("are too many: {count}, and at most {max} fit") })
    };
    let lists = layout.fields().filter_map(|field| match &field.kind {
        Kind::Choice { of } | Kind::Ticks { of } if of.len() > VALUES_MAX => {
            let message = format!("are too many: {}, and at most {VALUES_MAX} fit", of.len());
            Some(Fault { place: Place::Question(field.name.clone()), part: "values", message })
        }
        _ => None,
    });
    [
        counted("sections", layout.sections.len(), SECTIONS_MAX),
        counted("questions", layout.fields().count(), QUESTIONS_MAX),
        counted("clauses", layout.clauses.len(), CLAUSES_MAX),
    ]
    .into_iter()
    .flatten()
    .chain(lists.take(1))
    .collect()
}

/// What is wrong with the condition of a question, if anything: it has to name something that can be chosen or ticked, and be able to come true.
fn condition(field: &Field, layout: &Layout) -> Option<String> {
    let Need::When { field: on, is } = &field.need else {
        return None;
    };
    if is.is_empty() {
        return Some("names no value under which the question has to be answered".into());
    }
    if *on == field.name || field.sent_names().contains(on) {
        return Some("is on the question itself".into());
    }
    let Some(cause) = layout.fields().find(|cause| cause.sent_names().contains(on)) else {
        return Some(format!("is on “{}”, and the form has no such choice or box", shortened(on)));
    };
    let can_be = |value: &String| match &cause.kind {
        Kind::Choice { of } => of.iter().any(|listed| listed.value == *value),
        Kind::Country => country::name_of(value).is_some(),
        Kind::Ticks { .. } => value == TICKED,
        Kind::Line { .. } | Kind::Text { .. } | Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => false,
    };
    is.iter().find(|value| !can_be(value)).map(|value| format!("waits for “{on}” to be “{}”, which it can never be", shortened(value)))
}

/// What the portal reads the answers of, wherever they are asked: lists show them, and links and records are made of them.
fn read_by_the_portal(field: &Field) -> Option<Found> {
    let wanted = match (field.name.as_str(), &field.kind) {
        ("title" | "organisation", Kind::Line { .. })
        | ("months", Kind::Months)
        | ("role", Kind::Choice { .. })
        | ("country", Kind::Country)
        | ("orcid", Kind::Orcid)
        | ("profile_url", Kind::Url) => return None,
        (CAPACITY, Kind::Choice { of }) => {
            let all = of.len() == CAPACITIES.len() && CAPACITIES.iter().all(|(known, ..)| of.iter().any(|listed| listed.value == *known));
            if all && field.need == Need::Always {
                return None;
            }
            "a choice of self and entity that always has to be made"
        }
        ("title" | "organisation", _) => "one line",
        ("months", _) => "a number of months",
        ("role", _) => "a choice",
        ("country", _) => "a country",
        ("orcid", _) => "an ORCID",
        ("profile_url", _) => "the address of a page",
        (CAPACITY, _) => "a choice of self and entity",
        _ => return None,
    };
    Some(("kind", format!("has to be {wanted}: the portal reads the answer to “{}” itself", field.name)))
}

fn of_the_whole(layout: &Layout) -> Vec<Found> {
    let mut found = Vec::new();
    for (name, why) in [("title", "every list of applications shows it"), ("months", "reviewers decide on a time that was asked for")] {
        match layout.fields().find(|field| field.name == name) {
            Some(field) if field.need == Need::Always => {}
            Some(_) => found.push(("questions", format!("ask for “{name}” only sometimes; it has to be answered always: {why}"))),
            None => found.push(("questions", format!("do not ask for “{name}”, which is needed: {why}"))),
        }
    }
    let chars: usize = layout.fields().map(|field| answer_chars(&field.kind)).sum();
    if chars > ANSWERS_CHARS_MAX {
        found.push(("answers", format!("could hold {chars} characters together; at most {ANSWERS_CHARS_MAX} can be sent")));
    }
    found
}

fn answer_chars(kind: &Kind) -> usize {
    match kind {
        // More than that is a fault of the question.
        Kind::Line { chars_max } | Kind::Text { chars_max, .. } => (*chars_max).min(TEXT_CHARS_MAX),
        Kind::Email | Kind::Url => ADDRESS_CHARS,
        Kind::Ticks { of } => of.len() * TICKED.len(),
        Kind::Choice { .. } | Kind::Country | Kind::Orcid | Kind::Months => NAME_BYTES_MAX,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::clause::{Clause, Source};
    use super::super::form::{Form, Listed, Section};
    use super::*;
    use proptest::prelude::*;

    pub(in crate::access) fn built_in() -> Layout {
        Layout::from_json(include_str!("form.json")).expect("the built-in form")
    }

    pub(in crate::access) fn question(name: &str, kind: Kind, need: Need) -> Field {
        Field { hint: String::new(), kind, label: format!("About {name}"), name: name.to_owned(), need }
    }

    /// The built-in form with one more question in its first section.
    pub(in crate::access) fn with(field: Field) -> Layout {
        let mut layout = built_in();
        layout.sections[0].fields.push(field);
        layout
    }

    pub(in crate::access) fn told(layout: &Layout) -> Vec<String> {
        faults(layout).into_iter().map(|fault| format!("{}: {} {}", fault.place, fault.part, fault.message)).collect()
    }

    #[track_caller]
    pub(in crate::access) fn refused(layout: &Layout, told_of: &str) {
        let told = told(layout);
        assert!(told.len() == 1 && told[0].contains(told_of), "{told_of:?} expected, told {told:#?}");
    }

    #[test]
    fn a_name_is_used_once_and_is_not_the_pages_own() {
        let named = |name: &str| with(Field { label: "Once more".into(), ..question(name, Kind::Url, Need::Optional) });
        assert_eq!(told(&named("group_size")), [""; 0]);
        for taken in ["title", "uses", "uses_bias", "sponsor", "csrf", "licence_shown", "version"] {
            let layout = if taken == "title" { with(question("title", Kind::Line { chars_max: 9 }, Need::Always)) } else { named(taken) };
            refused(&layout, "is taken already");
        }
        for wrong in ["", "Size", "9th", "group-size", "a b", "grö", &"x".repeat(41)] {
            refused(&named(wrong), "is small letters, digits and _");
        }
        refused(&named("agree_more"), "as only the boxes of clauses do");
        let mut layout = built_in();
        layout.sections[1].id = "you".into();
        refused(&layout, "“you” is taken already");
        layout.sections[1].id = "you-title".into();
        refused(&layout, "section you-title: id is small letters");
        let mut layout = built_in();
        layout.clauses[1].id = "2a-i".into();
        refused(&layout, "clause 2a-i: id “2a-i” is taken already");
    }

    #[test]
    fn two_questions_that_read_the_same_are_refused() {
        refused(&with(Field { label: "COUNTRY".into(), ..question("where", Kind::Country, Need::Optional) }), "is asked twice");
    }

    #[test]
    fn ten_thousand_questions_are_one_fault() {
        let mut layout = built_in();
        layout.sections[0].fields = (0..10_000).map(|number| question(&format!("q{number}"), Kind::Url, Need::Optional)).collect();
        refused(&layout, "are too many: 10022, and at most 100 fit");
    }

    #[test]
    fn a_condition_names_something_that_can_come_true() {
        let when = |on: &str, is: &[&str]| {
            let is = is.iter().map(|value| (*value).to_owned()).collect();
            with(question("more", Kind::Url, Need::When { field: on.into(), is }))
        };
        for (on, is) in [("role", "postdoc"), ("country", "IT"), ("uses_other", "on")] {
            assert_eq!(told(&when(on, &[is])), [""; 0], "{on}");
        }
        refused(&when("nothing", &["x"]), "the form has no such choice or box");
        refused(&when("uses", &["on"]), "the form has no such choice or box");
        refused(&when("more", &["x"]), "is on the question itself");
        refused(&when("role", &[]), "names no value");
        refused(&when("role", &["postdoc", "wizard"]), "to be “wizard”, which it can never be");
        refused(&when("organisation", &["x"]), "which it can never be");
    }

    #[test]
    fn what_the_portal_reads_is_asked_as_it_reads_it() {
        for name in ["title", "months"] {
            let mut layout = built_in();
            layout.sections[2].fields.retain(|field| field.name != name);
            refused(&layout, &format!("do not ask for “{name}”, which is needed"));
            let mut layout = built_in();
            layout.sections[2].fields.iter_mut().find(|field| field.name == name).expect("it is asked").need = Need::Optional;
            refused(&layout, "has to be answered always");
        }
        let mut layout = built_in();
        for section in &mut layout.sections {
            section.fields.retain(|field| matches!(field.name.as_str(), "title" | "months" | "storage_kind"));
        }
        layout.sections.retain(|section| !section.fields.is_empty());
        layout.clauses.clear();
        assert_eq!(told(&layout), [""; 0], "the rest may be left out");
        for (name, kind) in [("organisation", Kind::Url), ("orcid", Kind::Line { chars_max: 9 }), ("country", Kind::Email)] {
            layout.sections[0].fields.push(question(name, kind, Need::Optional));
            refused(&layout, "the portal reads the answer");
            layout.sections[0].fields.pop();
        }
        let mut layout = built_in();
        layout.sections[5].fields[0].kind = Kind::Choice { of: vec![Listed { label: "Me".into(), value: "self".into() }] };
        refused(&layout, "a choice of self and entity");
    }

    #[test]
    fn json_that_is_no_form_is_told_where() {
        for (json, told_of) in [
            ("", "EOF"),
            ("[]", "invalid length 0"),
            ("{}", "missing field `clauses`"),
            (r#"{"clauses": [], "sections": [], "more": 1}"#, "unknown field `more`"),
            (
                r#"{"clauses": [], "sections": [{"id": "a", "title": "A", "intro": "", "fields": [{"kind": "wish"}]}]}"#,
                "unknown variant `wish`",
            ),
        ] {
            let fault = Form::from_json(json).expect_err(json).remove(0);
            assert!(fault.field == "form" && fault.message.contains(told_of), "{fault:?}");
        }
    }

    /// Forms that keep the rules, of any shape.
    fn any_form() -> impl Strategy<Value = Layout> {
        let kind = prop_oneof![
            (1..=500usize).prop_map(|chars_max| Kind::Line { chars_max }),
            (200..=900usize, 0..=200usize, 0..=20usize).prop_map(|(chars_max, chars_min, words_min)| Kind::Text {
                chars_max,
                chars_min,
                words_min
            }),
            proptest::collection::btree_set("[a-z0-9_]{1,20}", 1..5).prop_map(|values| Kind::Choice {
                of: values.into_iter().map(|value| Listed { label: format!("Is {value}"), value }).collect()
            }),
            Just(Kind::Country),
            Just(Kind::Email),
            Just(Kind::Url),
            Just(Kind::Orcid),
        ];
        let label = "[A-Za-zÄß“”<&\"'{}\\\\0-9]{1,40}";
        let field = (kind, label, proptest::bool::ANY);
        let clause = ("[A-Z][ -;=-~äöü]{0,80}[a-z.]", proptest::bool::ANY);
        (proptest::collection::vec(proptest::collection::vec(field, 1..6), 0..5), proptest::collection::vec(clause, 0..5)).prop_map(
            |(sections, clauses)| {
                let mut layout = built_in();
                for (s, fields) in sections.into_iter().enumerate() {
                    let fields = fields.into_iter().enumerate().map(|(f, (kind, label, is_optional))| Field {
                        label: format!("{} {s}.{f}", label.replace('<', "< ")),
                        need: if is_optional { Need::Optional } else { Need::When { field: "role".into(), is: vec!["postdoc".into()] } },
                        ..question(&format!("q{s}_{f}"), kind, Need::Always)
                    });
                    let (id, title) = (format!("part-{s}"), format!("Part {s}"));
                    layout.sections.push(Section { fields: fields.collect(), id, intro: String::new(), title });
                }
                for (number, (wording, is_site)) in clauses.into_iter().enumerate() {
                    let source = if is_site { Source::Site } else { Source::Licence };
                    layout.clauses.push(Clause { field: format!("agree_{number}"), id: format!("more-{number}"), source, wording });
                }
                layout
            },
        )
    }

    proptest! {
        #[test]
        fn a_form_goes_through_json_of_any_order_and_keeps_its_name(layout in any_form()) {
            let form = Form::new(layout.clone()).expect("it keeps the rules");
            let again = Form::from_json(&layout.canonical_json()).expect("so does its JSON");
            prop_assert_eq!(&again, &form);
            // As the database keeps it and as an editor may lay it out: keys in another order, with white space.
            let value: serde_json::Value = serde_json::from_str(&layout.canonical_json()).expect("JSON");
            let backwards = serde_json::to_string_pretty(&reversed(value)).expect("JSON");
            let same = Form::from_json(&backwards).expect("the same form");
            prop_assert_eq!(same.sha256(), form.sha256());
        }
    }

    fn reversed(value: serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(map) => {
                let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, reversed(value))).collect();
                entries.reverse();
                serde_json::Value::Object(entries.into_iter().collect())
            }
            serde_json::Value::Array(list) => serde_json::Value::Array(list.into_iter().map(reversed).collect()),
            other => other,
        }
    }
}
