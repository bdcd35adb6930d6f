//! What differs between two sendings of the same application.

use super::answers::Answers;
use super::answers_view::{self, Answered};
use super::form::Form;

/// One answer that is not what it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The question.
    pub(super) label: String,
    /// What was answered before; nothing if it was not.
    pub(super) before: Vec<String>,
    /// What is answered now; nothing if it is not any more.
    pub(super) after: Vec<String>,
}

/// Every answer that changed from `before` to `after`, in the order of the form.
pub(super) fn differences(form: &Form, before: &Answers, after: &Answers) -> Vec<Difference> {
    let flat = |answers| answers_view::read(form, answers).into_iter().flat_map(|section| section.answers).collect::<Vec<Answered>>();
    let (before, after) = (flat(before), flat(after));
    let lines_in = |answers: &[Answered], name: &str| {
        answers.iter().find(|answer| answer.name == name).map(|answer| answer.lines.clone()).unwrap_or_default()
    };
    let gone = before.iter().filter(|was| !after.iter().any(|is| is.name == was.name));
    after
        .iter()
        .chain(gone)
        .map(|answer| Difference {
            label: answer.label.clone(),
            before: lines_in(&before, &answer.name),
            after: lines_in(&after, &answer.name),
        })
        .filter(|difference| difference.before != difference.after)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::complete;
    use super::*;

    #[test]
    fn what_was_changed_added_and_taken_out_is_told_and_nothing_else() {
        let before = Answers::from_fields(Form::built_in(), complete(None));
        let changed = complete(None).into_iter().filter(|(name, _)| name != "derived_weights").map(|(name, value)| match name.as_str() {
            "months" => (name, "9".to_owned()),
            _ => (name, value),
        });
        let after = Answers::from_fields(Form::built_in(), changed.chain([("funding".to_owned(), "ERC".to_owned())]));
        let told: Vec<(String, String, String)> =
            differences(Form::built_in(), &before, &after).into_iter().map(|d| (d.label, d.before.join("/"), d.after.join("/"))).collect();
        let row = |label: &str, before: &str, after: &str| (label.to_owned(), before.to_owned(), after.to_owned());
        assert_eq!(
            told,
            [
                row("For how many months", "6 months", "9 months"),
                row("Funding", "", "ERC"),
                row("Will you make weights from these?", "No", ""),
            ]
        );
        assert_eq!(differences(Form::built_in(), &before, &before), []);
    }
}
