//! Which bytes of a file a GET asks for: `Range`, `If-Range` and `If-None-Match` (RFC 9110 §13, §14) against a strong ETag and a size.
//!
//! Pure: header texts in, an answer out. What cannot be understood asks for the whole file, as the RFC has it; several ranges
//! in one request do too, because no client of weights sends them and a multipart body would help nobody.

/// What to send of a file of `size` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it, as 200.
    Full,
    /// `len` bytes from `start`, as 206. Never empty, never beyond the end.
    Slice {
        /// The first byte's place.
        start: u64,
        /// How many bytes.
        len: u64,
    },
    /// Nothing: the client has it already (304).
    NotModified,
    /// Nothing: the range begins at or behind the end (416).
    Unsatisfiable,
}

/// The headers that decide, as text; what is no text counts as absent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    /// `Range`.
    pub range: Option<&'a str>,
    /// `If-Range`.
    pub if_range: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
}

/// What a GET gets. `etag` is the bare value of a strong ETag, without quotes.
pub(super) fn of_get(asked: Asked<'_>, etag: &str, size: u64) -> Part {
    if asked.if_none_match.is_some_and(|tags| any_matches(tags, etag)) {
        return Part::NotModified;
    }
    let Some(range) = asked.range else { return Part::Full };
    // A date never matches: no file has a Last-Modified here, and a resumed file must be the same to the byte.
    if asked.if_range.is_some_and(|tag| strong(tag) != Some(etag)) {
        return Part::Full;
    }
    match spec(range) {
        None => Part::Full,
        Some(Spec::From { first, .. }) if first >= size => Part::Unsatisfiable,
        Some(Spec::From { first, last }) => {
            let last = last.map_or(size - 1, |last| last.min(size - 1));
            Part::Slice { start: first, len: last - first + 1 }
        }
        Some(Spec::Suffix(0)) => Part::Unsatisfiable,
        // An empty file has no byte that a Content-Range could name.
        Some(Spec::Suffix(_)) if size == 0 => Part::Full,
        Some(Spec::Suffix(len)) => {
            let len = len.min(size);
            Part::Slice { start: size - len, len }
        }
    }
}

/// What a HEAD gets: it ignores `Range`, so that it always tells the whole file's size.
pub(super) fn of_head(asked: Asked<'_>, etag: &str, size: u64) -> Part {
    of_get(Asked { range: None, ..asked }, etag, size)
}

/// Whether every server takes this text for the same range: written as RFC 9110 has it, with numbers that all can hold.
pub(super) fn is_plain(range: &str) -> bool {
    let number = |text: &str| text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    let bounds = range.strip_prefix("bytes=").and_then(|set| set.split_once('-'));
    bounds.is_some_and(|(first, last)| number(first) && number(last) && !(first.is_empty() && last.is_empty()))
}

#[derive(Debug, PartialEq, Eq)]
enum Spec {
    From { first: u64, last: Option<u64> },
    Suffix(u64),
}

/// One byte range, or nothing if the text is something else.
fn spec(range: &str) -> Option<Spec> {
    let (unit, set) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Spec::Suffix(digits(last)?)),
        (false, true) => Some(Spec::From { first: digits(first)?, last: None }),
        (false, false) => {
            let (first, last) = (digits(first)?, digits(last)?);
            (first <= last).then_some(Spec::From { first, last: Some(last) })
        }
    }
}

/// A number of digits alone; more than fits is as good as the largest that does.
fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
}

/// The value of a strong entity tag; nothing for weak ones, dates and nonsense.
fn strong(tag: &str) -> Option<&str> {
    tag.trim().strip_prefix('"')?.strip_suffix('"')
}

/// Whether one of the tags in `If-None-Match` is ours; weakness does not matter there (RFC 9110 §13.1.2).
fn any_matches(tags: &str, etag: &str) -> bool {
    tags.trim() == "*" || tags.split(',').any(|tag| strong(tag.trim().trim_start_matches("W/")) == Some(etag))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_ranges_are_those_that_nobody_reads_otherwise() {
        for plain in ["bytes=0-0", "bytes=5-", "bytes=-7", "bytes=16777216-33554431"] {
            assert!(is_plain(plain) && spec(plain).is_some(), "{plain}");
        }
        for odd in
            ["Bytes=0-0", "bytes =0-0", "bytes= 0-0", "bytes=0-0 ", "bytes=0-9999999999999999999", "bytes=-", "bytes=0-1,3-4", "lines=0-1"]
        {
            assert!(!is_plain(odd), "{odd}");
        }
    }

    const ETAG: &str = "03dd6cb7";

    fn get(range: &str, size: u64) -> Part {
        of_get(Asked { range: Some(range), ..Asked::default() }, ETAG, size)
    }

    #[test]
    fn every_form_of_a_range_is_read_as_the_rfc_has_it() {
        let slice = |start, len| Part::Slice { start, len };
        for (range, part) in [
            ("bytes=0-0", slice(0, 1)),
            ("bytes=0-", slice(0, 100)),
            ("bytes=10-19", slice(10, 10)),
            ("bytes=99-", slice(99, 1)),
            ("bytes=90-100", slice(90, 10)),
            ("bytes=90-99999999999999999999999999", slice(90, 10)),
            ("bytes=-1", slice(99, 1)),
            ("bytes=-100", slice(0, 100)),
            ("bytes=-1000", slice(0, 100)),
            ("Bytes=5-6", slice(5, 2)),
            ("bytes= 5-6 ", slice(5, 2)),
            ("bytes=100-", Part::Unsatisfiable),
            ("bytes=100-200", Part::Unsatisfiable),
            ("bytes=99999999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=6-5", Part::Full),
            ("bytes=-", Part::Full),
            ("bytes=", Part::Full),
            ("bytes", Part::Full),
            ("", Part::Full),
            ("bytes=a-b", Part::Full),
            ("bytes=+1-2", Part::Full),
            ("bytes=1 -2", Part::Full),
            ("bytes=--5", Part::Full),
            ("bytes=0-1,5-6", Part::Full),
            ("lines=0-1", Part::Full),
        ] {
            assert_eq!(get(range, 100), part, "{range:?}");
        }
    }

    #[test]
    fn an_empty_file_has_no_range() {
        assert_eq!(get("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(get("bytes=0-0", 0), Part::Unsatisfiable);
        assert_eq!(get("bytes=-5", 0), Part::Full);
    }

    #[test]
    fn a_range_goes_on_only_with_the_very_file_it_began_with() {
        let resumed = |tag| of_get(Asked { range: Some("bytes=40-"), if_range: Some(tag), if_none_match: None }, ETAG, 100);
        assert_eq!(resumed("\"03dd6cb7\""), Part::Slice { start: 40, len: 60 });
        for stale in ["\"other\"", "W/\"03dd6cb7\"", "03dd6cb7", "Mon, 23 Nov 2026 20:00:00 GMT", ""] {
            assert_eq!(resumed(stale), Part::Full, "{stale:?}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let has = |tags| Asked { range: Some("bytes=500-"), if_range: None, if_none_match: Some(tags) };
        for tags in ["\"03dd6cb7\"", "W/\"03dd6cb7\"", "\"a\", \"03dd6cb7\"", "*"] {
            assert_eq!(of_get(has(tags), ETAG, 100), Part::NotModified, "{tags:?}");
            assert_eq!(of_head(has(tags), ETAG, 100), Part::NotModified, "{tags:?}");
        }
        for tags in ["\"a\"", "03dd6cb7", "", "\"03DD6CB7\""] {
            assert_eq!(of_get(has(tags), ETAG, 100), Part::Unsatisfiable, "{tags:?}");
            assert_eq!(of_head(has(tags), ETAG, 100), Part::Full, "HEAD looks at no range, {tags:?}");
        }
    }

    proptest! {
        /// The oracle walks the file's bytes one by one and keeps those a range names.
        #[test]
        fn a_slice_holds_exactly_the_bytes_named(size in 0u64..40, first in 0u64..50, length in 0u64..50, form in 0..3) {
            let last = first + length;
            let (range, named): (String, Vec<u64>) = match form {
                0 => (format!("bytes={first}-{last}"), (0..size).filter(|place| (first..=last).contains(place)).collect()),
                1 => (format!("bytes={first}-"), (0..size).filter(|place| *place >= first).collect()),
                _ => (format!("bytes=-{first}"), (0..size).filter(|place| place + first >= size).collect()),
            };
            match get(&range, size) {
                Part::Slice { start, len } => prop_assert_eq!((start..start + len).collect::<Vec<_>>(), named),
                Part::Unsatisfiable => prop_assert!(named.is_empty()),
                Part::Full => prop_assert!(size == 0 && form == 2),
                Part::NotModified => prop_assert!(false, "nothing was said about what the client has"),
            }
        }

        #[test]
        fn no_text_makes_a_slice_beyond_the_file(range in ".{0,30}", size in 0u64..1000) {
            if let Part::Slice { start, len } = get(&range, size) {
                prop_assert!(len > 0 && start + len <= size);
            }
        }
    }
}
