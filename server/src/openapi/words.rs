//! Texts of the document as they stand between tags. Quotes stay as they are, because half of an example in JSON is quotes: in an attribute
//! these types would not be safe, and none of the templates has one there.

use std::fmt::{self, Write};

use askama::filters::HtmlSafe;

/// Lines of an example.
pub(super) struct Lines(pub(super) String);

/// A sentence, in which what stands between backticks is code.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Words(pub(super) String);

impl Words {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(out, &self.0)
    }
}

impl fmt::Display for Words {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pieces = self.0.split('`').enumerate().peekable();
        while let Some((place, piece)) = pieces.next() {
            // What follows a backtick that nothing closes is no code.
            let is_code = place % 2 == 1 && pieces.peek().is_some();
            if is_code {
                out.write_str("<code>")?;
            }
            escaped(out, piece)?;
            if is_code {
                out.write_str("</code>")?;
            }
        }
        Ok(())
    }
}

/// What is written is escaped above, piece by piece.
impl HtmlSafe for Lines {}
impl HtmlSafe for Words {}

fn escaped(out: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for letter in text.chars() {
        match letter {
            '&' => out.write_str("&amp;")?,
            '<' => out.write_str("&lt;")?,
            '>' => out.write_str("&gt;")?,
            other => out.write_char(other)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_becomes_a_tag_and_backticks_become_code() {
        assert_eq!(Lines("{\"a\": \"<b>&\"}".into()).to_string(), "{\"a\": \"&lt;b&gt;&amp;\"}");
        assert_eq!(Words("Is `<a>` or `b`.".into()).to_string(), "Is <code>&lt;a&gt;</code> or <code>b</code>.");
        assert_eq!(Words("One ` alone".into()).to_string(), "One  alone");
    }
}
