//! Characters that nobody sees. In a name that stands in a list or a mail they turn letters around, or make two names look like one.

/// Whether `c` shows nothing: control characters, those that turn the direction of writing, and those without width. Not the two joiners
/// (U+200C, U+200D), without which Persian, Hindi and others are not written rightly: see [`visible`].
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}' | '\u{200b}'
            | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// `text` without such characters, but for the line ends and tabs in it, and with joiners only where they join: between two characters of
/// scripts that may need them.
pub fn visible(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().filter(|c| !is_unseen(*c) || matches!(c, '\n' | '\t')).peekable();
    let joins = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !c.is_whitespace() && !is_joiner(c));
    while let Some(c) = rest.next() {
        if !is_joiner(c) || (joins(kept.chars().next_back()) && joins(rest.peek().copied())) {
            kept.push(c);
        }
    }
    kept
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_goes_and_what_a_language_needs_stays() {
        for (typed, kept) in [
            ("Ada \u{202e}ecalevoL", "Ada ecalevoL"),
            ("A\u{200b}da\u{feff}", "Ada"),
            ("\u{2066}Ada\u{2069}", "Ada"),
            ("Ad\u{200d}a\u{200c}", "Ada"),
            ("\u{200d}\u{200c}", ""),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("क्\u{200d}ष", "क्\u{200d}ष"),
            ("Zoë O\u{2019}Neill-\u{5d0}\u{5d1}", "Zoë O\u{2019}Neill-\u{5d0}\u{5d1}"),
            ("two\nlines", "two\nlines"),
        ] {
            assert_eq!(visible(typed), kept, "{typed:?}");
        }
    }
}
