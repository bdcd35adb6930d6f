//! Which files are wanted, by the patterns that `hf download --include` takes.

/// Whether `path` fits `pattern`: `*` is any text (slashes too), `?` one character, `[a-z]` one of a set, `[!a-z]` none of it.
/// A pattern that ends in `/` means everything below that folder.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let mut pattern: Vec<char> = pattern.chars().collect();
    if pattern.last() == Some(&'/') {
        pattern.push('*');
    }
    fits(&pattern, &path.chars().collect::<Vec<_>>())
}

/// Greedy with one way back: to the last star, which then takes one character more. Never more than pattern × path steps.
fn fits(pattern: &[char], path: &[char]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < path.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, seen));
            at += 1;
        } else if let Some(length) = one(&pattern[at..], path[seen]) {
            at += length;
            seen += 1;
        } else if let Some((star_at, taken)) = star {
            at = star_at + 1;
            seen = taken + 1;
            star = Some((star_at, seen));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|sign| *sign == '*')
}

/// How many signs of the pattern stand for this one character, if they fit it.
fn one(pattern: &[char], sign: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match set(pattern) {
            Some((length, members, negated)) => (contains(members, sign) != negated).then_some(length),
            None => (sign == '[').then_some(1),
        },
        plain => (*plain == sign).then_some(1),
    }
}

/// A set in brackets: its length, its members, whether it is negated. The first member may be `]`.
fn set(pattern: &[char]) -> Option<(usize, &[char], bool)> {
    let negated = pattern.get(1) == Some(&'!');
    let from = 1 + usize::from(negated);
    let end = (from + 1..pattern.len()).find(|at| pattern[*at] == ']')?;
    Some((end + 1, &pattern[from..end], negated))
}

fn contains(members: &[char], sign: char) -> bool {
    let mut at = 0;
    while at < members.len() {
        if members.get(at + 1) == Some(&'-') && at + 2 < members.len() {
            if (members[at]..=members[at + 2]).contains(&sign) {
                return true;
            }
            at += 3;
        } else {
            if members[at] == sign {
                return true;
            }
            at += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_choose_as_people_expect() {
        for (pattern, path, fits) in [
            ("*.safetensors", "model-00001-of-00002.safetensors", true),
            ("*.safetensors", "deep/er/model.safetensors", true),
            ("*.safetensors", "model.safetensors.index.json", false),
            ("config.json", "config.json", true),
            ("config.json", "sub/config.json", false),
            ("sub/", "sub/a/b.txt", true),
            ("sub/", "sub", false),
            ("model-0000[1-3]-*", "model-00002-of-00009.safetensors", true),
            ("model-0000[!1-3]-*", "model-00002-of-00009.safetensors", false),
            ("?.txt", "ä.txt", true),
            ("[]x]", "]", true),
            ("[", "[", true),
            ("*a*b*c", "aabbcc", true),
            ("*a*b*c", "aabbccd", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern:?} and {path:?}");
        }
    }

    #[test]
    fn a_pattern_made_to_hang_does_not() {
        assert!(!matches(&"*a".repeat(40), &"a".repeat(39)));
        assert!(!matches(&"*a".repeat(40), &format!("{}b", "a".repeat(2_000))));
    }
}
