//! What the templates of mails say in one word.

use askama::{Result, Values};

/// What a person wrote, as mails quote it: every line behind `> `. However lines are parted in it, none gets out of the quotation, and
/// so none is taken for ours.
#[askama::filter_fn]
pub fn quoted(words: &str, _: &dyn Values) -> Result<String> {
    let lines = words.trim().split(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']);
    Ok(lines.map(|line| if line.trim().is_empty() { ">".to_owned() } else { format!("> {line}") }).collect::<Vec<_>>().join("\n"))
}
