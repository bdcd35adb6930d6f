//! How soon a password is guessed. It is read as a guesser writes it: words that everybody tries, runs along the alphabet or the keyboard, and
//! what stood in it before are one piece each, whatever their length. What is left counts letter by letter.

/// A password of fewer pieces is among the first that are tried.
const PIECES_MIN: usize = 8;
/// Shorter words of a person are in too many good sentences.
const WORD_CHARS_MIN: usize = 4;
/// From so many characters on a run is one.
const RUN_MIN: usize = 3;
/// The same along the keyboard, where `ert` and `ok` are parts of words.
const KEYS_MIN: usize = 4;

/// What people think of first, and what this portal makes them think of.
const WORDS: &[&str] = &[
    "password",
    "passwort",
    "passphrase",
    "letmein",
    "iloveyou",
    "administrator",
    "admin",
    "welcome",
    "changeme",
    "secret",
    "login",
    "trustno1",
    "monkey",
    "dragon",
    "football",
    "baseball",
    "sunshine",
    "princess",
    "superman",
    "batman",
    "master",
    "shadow",
    "hello",
    "spring",
    "summer",
    "autumn",
    "winter",
    "google",
    "sluice",
    "portal",
    "weights",
    "model",
    "research",
    "university",
    "test",
];
/// Rows of keys.
const ROWS: &[&str] = &["qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "1234567890", "1qaz2wsx3edc4rfv"];

/// Whether `password` is among the first that are tried for somebody of whom these words are known.
pub(super) fn is_guessed_first(password: &str, words_of_theirs: &[&str]) -> bool {
    let typed: Vec<char> = password.to_lowercase().chars().collect();
    let meant: Vec<char> = typed.iter().map(|c| letter_meant(*c)).collect();
    let theirs = words_of_theirs.iter().flat_map(|words| words.split(|c: char| !c.is_alphanumeric())).map(str::to_lowercase);
    let words: Vec<Vec<char>> = WORDS
        .iter()
        .map(|word| (*word).to_owned())
        .chain(theirs.filter(|word| word.chars().count() >= WORD_CHARS_MIN))
        .map(|word| word.chars().collect())
        .collect();
    let (mut at, mut pieces) = (0, 0);
    while at < typed.len() && pieces < PIECES_MIN {
        let word = words.iter().filter(|word| typed[at..].starts_with(word) || meant[at..].starts_with(word)).map(Vec::len).max();
        let longest = [word.unwrap_or(0), run(&typed[at..]), keys(&typed[at..]), seen_before(&typed, at)].into_iter().max();
        at += longest.unwrap_or(0).max(1);
        pieces += 1;
    }
    pieces < PIECES_MIN
}

/// The letter that a sign stands for in `p@ssw0rd`.
fn letter_meant(sign: char) -> char {
    match sign {
        '@' | '4' => 'a',
        '3' => 'e',
        '1' | '!' => 'i',
        '0' => 'o',
        '$' | '5' => 's',
        '7' => 't',
        other => other,
    }
}

/// How many characters go on as they begin: the same again, or one up or down each time. 0 for too few.
fn run(rest: &[char]) -> usize {
    let step = |pair: &[char]| i64::from(u32::from(pair[1])) - i64::from(u32::from(pair[0]));
    let Some(first) = rest.windows(2).next().map(step).filter(|step| step.abs() <= 1) else { return 0 };
    let chars = 1 + rest.windows(2).take_while(|pair| step(pair) == first).count();
    if chars >= RUN_MIN { chars } else { 0 }
}

/// How many lie side by side on a keyboard, in either direction. 0 for too few.
fn keys(rest: &[char]) -> usize {
    let along = |row: Vec<char>| {
        let from = row.iter().position(|key| rest.first() == Some(key));
        from.map_or(0, |from| row[from..].iter().zip(rest).take_while(|(key, typed)| key == typed).count())
    };
    let chars = ROWS.iter().flat_map(|row| [along(row.chars().collect()), along(row.chars().rev().collect())]).max().unwrap_or(0);
    if chars >= KEYS_MIN { chars } else { 0 }
}

/// How many stood in it before, in the same order. 0 for too few.
fn seen_before(typed: &[char], at: usize) -> usize {
    let same = |from: usize| typed[from..].iter().zip(&typed[at..]).take_while(|(before, now)| before == now).count();
    let chars = (0..at).map(same).max().unwrap_or(0);
    if chars >= RUN_MIN { chars } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_is_not_enough_and_a_sentence_is() {
        let ada = ["ada.lovelace@uni.edu", "Ada Lovelace"];
        for first in [
            "sluicesluicesluice",
            "123456789123456789",
            "password12345678",
            "qwertyuiopasdfghjkl",
            "abcabcabcabcabc",
            "aaaaaaaaaaaaaaaaaaaa",
            "passwordpassword",
            "password1234567",
            "letmeinletmein1",
            "administrator123",
            "iloveyouiloveyou",
            "P@ssw0rdP@ssw0rd!",
            "987654321987654321",
            "zxcvbnmasdfghjkl",
            "Summer2024Summer2024",
            "lovelacelovelace1",
            "Lovelace.123456789",
            "1qaz2wsx3edc4rfv",
            "abcdefghijklmnop",
            "111122223333444455",
        ] {
            assert!(is_guessed_first(first, &ada), "{first}");
        }
        for good in [
            "correct horse battery",
            "correct horse battery staple",
            "grace under pressure!",
            "another fine sentence",
            "пароль с буквами",
            "my summer in Torino was long",
            "kq7vT2pLx9RwmZ4",
            "Ada and the weights of Turin",
            "the cat and the dog and the mouse",
            "彼は毎朝六時に起きて海辺を走る",
        ] {
            assert!(!is_guessed_first(good, &ada), "{good}");
        }
    }
}
