//! Cells of tables for spreadsheets (RFC 4180), none of which a spreadsheet computes (OWASP, ASVS 1.2.10).

use crate::clock::Timestamp;

/// What a spreadsheet takes for a formula, or skips on the way to one.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

/// `2026-03-02T09:00:00Z`
pub fn moment(at: Timestamp) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    at.format(format).expect("a time has all the parts of the format")
}

/// A text that stays one: quoted, and with an apostrophe in front where a spreadsheet would compute it.
pub fn cell(text: &str) -> String {
    let mark = if text.starts_with(FORMULA) { "'" } else { "" };
    format!("\"{mark}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula_and_never_ends_early() {
        for (text, written) in [
            ("plain", "\"plain\""),
            ("=HYPERLINK(\"http://evil.example\")", "\"'=HYPERLINK(\"\"http://evil.example\"\")\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("a,b\n\"c\"", "\"a,b\n\"\"c\"\"\""),
            ("", "\"\""),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
