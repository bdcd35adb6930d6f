//! What each part of a form has to be by itself: a name that can be kept, words that can be read, limits that can be met.

use std::collections::HashSet;

use super::clause::{BOX_PREFIX, Clause};
use super::form::{Field, Kind, Listed, Section};
use crate::http::unseen::is_unseen;

/// Values of a list.
pub(super) const VALUES_MAX: usize = 60;
/// A name, an id or a value, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 40;
/// A title, a label, or what a list shows, in characters.
const LABEL_CHARS_MAX: usize = 200;
/// A hint, an introduction or a clause, in characters.
const PROSE_CHARS_MAX: usize = 1_000;
/// The longest line that may be asked for, in characters.
const LINE_CHARS_MAX: usize = 500;
/// The longest text that may be asked for, in characters.
pub(super) const TEXT_CHARS_MAX: usize = 10_000;
/// Part and message.
pub(super) type Found = (&'static str, String);

/// What is wrong with a section, its questions aside.
pub(super) fn of_section(section: &Section) -> Vec<Found> {
    let mut found = Vec::new();
    let ends_as_a_mark = ["-title", "-hint", "-fault"].iter().any(|end| section.id.ends_with(end));
    if !is_name(&section.id, b'-') || ends_as_a_mark {
        found.push(("id", format!("is small letters, digits and hyphens, such as “your-project”, {NAME_BYTES_MAX} at most")));
    }
    found.extend(words("title", &section.title, 1, LABEL_CHARS_MAX));
    found.extend(words("intro", &section.intro, 0, PROSE_CHARS_MAX));
    if section.fields.is_empty() {
        found.push(("questions", "are none; add one, or remove the section".into()));
    }
    found
}

/// What is wrong with a question.
pub(super) fn of_question(field: &Field) -> Vec<Found> {
    let mut found = Vec::new();
    if !is_name(&field.name, b'_') {
        found.push(("name", format!("is small letters, digits and _, such as “group_size”, {NAME_BYTES_MAX} at most")));
    } else if field.name.starts_with(BOX_PREFIX) {
        found.push(("name", format!("begins with {BOX_PREFIX}, as only the boxes of clauses do")));
    }
    found.extend(words("label", &field.label, 1, LABEL_CHARS_MAX));
    found.extend(words("hint", &field.hint, 0, PROSE_CHARS_MAX));
    found.extend(limits(&field.kind));
    found
}

fn limits(kind: &Kind) -> Vec<Found> {
    match kind {
        Kind::Line { chars_max } => within("chars_max", *chars_max, LINE_CHARS_MAX).into_iter().collect(),
        Kind::Text { chars_max, chars_min, words_min } => {
            let mut found: Vec<Found> = within("chars_max", *chars_max, TEXT_CHARS_MAX).into_iter().collect();
            if chars_min > chars_max {
                found.push(("chars_min", format!("is {chars_min}, and no more than {chars_max} characters fit")));
            }
            if words_min.saturating_mul(2).saturating_sub(1) > *chars_max {
                found.push(("words_min", format!("is {words_min} words, and they do not fit into {chars_max} characters")));
            }
            found
        }
        Kind::Choice { of } | Kind::Ticks { of } => values(of),
        Kind::Country | Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => vec![],
    }
}

fn within(part: &'static str, chars: usize, chars_max: usize) -> Option<Found> {
    (!(1..=chars_max).contains(&chars)).then(|| (part, format!("is {chars}; from 1 to {chars_max} can be asked for")))
}

fn values(of: &[Listed]) -> Vec<Found> {
    if of.is_empty() {
        return vec![("values", "are none; there would be nothing to choose".into())];
    }
    let mut found = Vec::new();
    let (mut stored, mut shown) = (HashSet::new(), HashSet::new());
    for Listed { value, label } in of {
        let is_word = value.len() <= NAME_BYTES_MAX && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if value.is_empty() || !is_word {
            found.push(("values", format!("hold “{}”, and a value is small letters, digits and _", shortened(value))));
        } else if !stored.insert(value) || !shown.insert(label.to_lowercase()) {
            found.push(("values", format!("hold “{value}: {}” twice", shortened(label))));
        }
        found.extend(words("values", label, 1, LABEL_CHARS_MAX).map(|(part, message)| (part, format!("hold a label that {message}"))));
    }
    found
}

/// What is wrong with a clause.
pub(super) fn of_clause(clause: &Clause) -> Vec<Found> {
    let mut found = Vec::new();
    let id = &clause.id;
    if id.is_empty() || id.len() > NAME_BYTES_MAX || !id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        found.push(("id", format!("is small letters, digits and hyphens, such as “2a-i”, {NAME_BYTES_MAX} at most")));
    }
    if !is_name(&clause.field, b'_') || clause.field.len() <= BOX_PREFIX.len() || !clause.field.starts_with(BOX_PREFIX) {
        found.push(("field", format!("is the name of its box, {BOX_PREFIX} and small letters, digits or _")));
    }
    found.extend(words("wording", &clause.wording, 1, PROSE_CHARS_MAX));
    found
}

fn is_name(name: &str, joint: u8) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.as_bytes()[0].is_ascii_lowercase()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == joint)
}

/// Words that people read: plain, visible, of a length that fits. The page escapes them in any case; markup would be shown as it stands.
fn words(part: &'static str, text: &str, chars_min: usize, chars_max: usize) -> Option<Found> {
    let chars = text.chars().count();
    let unseen = text.chars().find(|c| is_unseen(*c));
    let is_markup = |(at, _): (usize, &str)| text[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'));
    let message = if chars < chars_min {
        "is needed".to_owned()
    } else if chars > chars_max {
        format!("has {chars} characters; at most {chars_max} fit")
    } else if let Some(unseen) = unseen {
        format!("holds a character that nobody can see, U+{:04X}", u32::from(unseen))
    } else if text.trim() != text {
        "begins or ends with a space".to_owned()
    } else if text.match_indices('<').any(is_markup) {
        "holds markup; plain text is shown as it is written, and markup would be, too".to_owned()
    } else {
        return None;
    };
    Some((part, message))
}

/// Enough of something mistaken to know it again.
pub(super) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAME_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::form::Need;
    use super::super::form_rules::tests::{built_in, question, refused, told, with};
    use super::*;

    #[test]
    fn words_are_plain_and_can_be_seen() {
        for (label, told_of) in [
            ("", "label is needed"),
            ("<script>alert(1)</script>", "holds markup"),
            ("Why </b> so", "holds markup"),
            (" Why", "begins or ends with a space"),
            ("two\nlines", "nobody can see, U+000A"),
            ("a\u{202e}b", "nobody can see, U+202E"),
            (&"ä".repeat(201), "has 201 characters; at most 200 fit"),
        ] {
            refused(&with(Field { label: label.into(), ..question("more", Kind::Url, Need::Optional) }), told_of);
        }
        assert_eq!(told(&with(Field { label: "Is p < 0.05 & more?".into(), ..question("more", Kind::Url, Need::Optional) })), [""; 0]);
    }

    #[test]
    fn limits_can_be_met() {
        let text = |chars_max, chars_min, words_min| Kind::Text { chars_max, chars_min, words_min };
        for (kind, told_of) in [
            (Kind::Line { chars_max: 0 }, "chars_max is 0; from 1 to 500"),
            (Kind::Line { chars_max: usize::MAX }, "from 1 to 500"),
            (text(10_001, 0, 0), "from 1 to 10000"),
            (text(100, 101, 0), "chars_min is 101, and no more than 100"),
            (text(99, 0, 51), "words_min is 51 words, and they do not fit"),
            (text(100, 0, usize::MAX), "do not fit"),
            (Kind::Choice { of: vec![] }, "there would be nothing to choose"),
        ] {
            refused(&with(question("more", kind, Need::Optional)), told_of);
        }
        let mut layout = built_in();
        for number in 0..3 {
            layout.sections[0].fields.push(question(&format!("essay_{number}"), text(10_000, 0, 0), Need::Optional));
        }
        refused(&layout, "the form: answers could hold");
    }

    #[test]
    fn lists_hold_each_value_once() {
        let listed = |value: &str, label: &str| Listed { label: label.into(), value: value.into() };
        for (of, told_of) in [
            (vec![listed("a", "A"), listed("a", "B")], "hold “a: B” twice"),
            (vec![listed("a", "A"), listed("b", "a")], "hold “b: a” twice"),
            (vec![listed("A b", "A")], "hold “A b”, and a value is small letters"),
            (vec![listed("", "A")], "a value is small letters"),
            (vec![listed("a", "")], "hold a label that is needed"),
            ((0..61).map(|number| listed(&format!("v{number}"), &format!("V{number}"))).collect(), "are too many: 61, and at most 60"),
        ] {
            refused(&with(question("more", Kind::Ticks { of }, Need::Optional)), told_of);
        }
    }
}
