//! Text for headers: clients garble what is not ASCII there, and a line break would end the header. Whole words stand in bodies and on pages.

use actix_web::http::header::HeaderValue;

/// More than this in one header only feeds proxies that refuse it.
const HEADER_CHARS_MAX: usize = 600;
/// Stands for words in a script that ASCII cannot write: the body of the answer and the page that is named have them.
const LEFT_OUT: &str = "[...]";

/// Letters and marks of European languages, and how one writes them with ASCII.
const WRITTEN: [(&str, &str); 60] = [
    ("ÀÁÂÃÅĀĂĄ", "A"),
    ("àáâãåāăą", "a"),
    ("ÄÆ", "Ae"),
    ("äæ", "ae"),
    ("ÇĆĈĊČ", "C"),
    ("çćĉċč", "c"),
    ("ĎĐÐ", "D"),
    ("ďđð", "d"),
    ("ÈÉÊËĒĔĖĘĚ", "E"),
    ("èéêëēĕėęě", "e"),
    ("ĜĞĠĢ", "G"),
    ("ĝğġģ", "g"),
    ("ĤĦ", "H"),
    ("ĥħ", "h"),
    ("ÌÍÎÏĨĪĬĮİ", "I"),
    ("ìíîïĩīĭįı", "i"),
    ("Ĵ", "J"),
    ("ĵ", "j"),
    ("Ķ", "K"),
    ("ķĸ", "k"),
    ("ĹĻĽĿŁ", "L"),
    ("ĺļľŀł", "l"),
    ("ÑŃŅŇŊ", "N"),
    ("ñńņňŋ", "n"),
    ("ÒÓÔÕŌŎŐ", "O"),
    ("òóôõōŏő", "o"),
    ("ÖØŒ", "Oe"),
    ("öøœ", "oe"),
    ("ŔŖŘ", "R"),
    ("ŕŗř", "r"),
    ("ŚŜŞŠȘ", "S"),
    ("śŝşšșſ", "s"),
    ("ẞ", "SS"),
    ("ß", "ss"),
    ("ŢŤŦȚ", "T"),
    ("ţťŧț", "t"),
    ("Þ", "Th"),
    ("þ", "th"),
    ("ÙÚÛŨŪŬŮŰŲ", "U"),
    ("ùúûũūŭůűų", "u"),
    ("Ü", "Ue"),
    ("ü", "ue"),
    ("Ŵ", "W"),
    ("ŵ", "w"),
    ("ÝŶŸ", "Y"),
    ("ýŷÿ", "y"),
    ("ŹŻŽ", "Z"),
    ("źżž", "z"),
    ("‘’‚‹›´", "'"),
    ("“”„«»", "\""),
    ("‐‑‒–—−", "-"),
    ("…", "..."),
    ("\u{a0}\u{202f}\u{2009}", " "),
    ("×", "x"),
    ("·•", "*"),
    ("€", "EUR"),
    ("£", "GBP"),
    ("©", "(c)"),
    ("®", "(R)"),
    ("°", " deg"),
];

/// The text as a header says it: letters without their marks, `?` for what nobody can see, and [`LEFT_OUT`] for words in other scripts.
pub(super) fn ascii(text: &str) -> HeaderValue {
    let mut plain = String::with_capacity(text.len());
    let mut leaving_out = false;
    for letter in text.chars() {
        let written = match letter {
            ' ' if leaving_out => continue,
            ' '..='~' => letter.to_string(),
            _ if letter.is_control() => "?".into(),
            _ => match WRITTEN.iter().find(|(letters, _)| letters.contains(letter)) {
                Some((_, written)) => (*written).to_owned(),
                None if leaving_out => continue,
                None => LEFT_OUT.into(),
            },
        };
        if leaving_out && written.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            plain.push(' ');
        }
        leaving_out = written == LEFT_OUT;
        plain.push_str(&written);
    }
    plain.truncate(HEADER_CHARS_MAX);
    HeaderValue::try_from(plain).expect("printable ASCII is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_people_stay_readable_in_a_header() {
        for (text, plain) in [
            ("Überprüfung läuft, Straße", "Ueberpruefung laeuft, Strasse"),
            ("“Dvořák’s” — déjà vu…", "\"Dvorak's\" - deja vu..."),
            ("suspended: проверка доступа. See", "suspended: [...]. See"),
            ("уже идёт, 2 days", "[...], 2 days"),
            ("审查 now", "[...] now"),
            ("a\r\nb\u{7}", "a??b?"),
        ] {
            assert_eq!(ascii(text), plain, "{text}");
        }
        assert_eq!(ascii(&"ß".repeat(1_000)).len(), HEADER_CHARS_MAX);
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_a_header(text: String) {
            assert!(ascii(&text).as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }
}
