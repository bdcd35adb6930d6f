//! What people type into a search.

/// What was typed into the search as the database reads it: words of letters and digits, each of which has to begin a word. Nothing when
/// there is no such word.
pub fn words_query(typed: &str) -> Option<String> {
    let words: Vec<String> = typed
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(8)
        .map(|word| format!("{}:*", word.chars().take(64).collect::<String>()))
        .collect();
    (!words.is_empty()).then(|| words.join(" & "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_typed_is_words() {
        assert_eq!(words_query("Ada  O'Hara & (x | !y)").as_deref(), Some("ada:* & o:* & hara:* & x:* & y:*"));
        assert_eq!(words_query("ada@unito.it").as_deref(), Some("ada:* & unito:* & it:*"));
        assert_eq!(words_query(" '&|!() "), None);
    }
}
