//! What stands behind the `?` of a URL or in a posted form, read as leniently as clients write it: some send `true`, some `True`, some `1`.

/// Names and values in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `name=value&…`.
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of `name`.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether `name` says yes; nothing and nonsense say no.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_yes)
    }

    /// The same with `name` set to `value`, as text for a URL.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let others = self.0.iter().filter(|(key, _)| key != name).map(|(key, value)| (key.as_str(), value.as_str()));
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(others).append_pair(name, value).finish()
    }

    /// The number behind `name`; nothing if there is none.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.parse().ok()
    }
}

/// Whether a text says yes.
pub(super) fn is_yes(text: &str) -> bool {
    text == "1" || text.eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_is_said_in_many_ways() {
        let query = Query::parse(b"a=true&b=True&c=1&d=false&e=False&f=0&g=&h&filter=x&filter=y+z&limit=20");
        assert_eq!("abcdefghi".chars().filter(|name| query.flag(&name.to_string())).collect::<String>(), "abc");
        assert_eq!(query.all("filter").collect::<Vec<_>>(), ["x", "y z"]);
        assert_eq!((query.number("limit"), query.number("a"), query.number("z")), (Some(20), None, None));
        assert_eq!(Query::parse(b"limit=2&cursor=2&a=%26").with("cursor", "4"), "limit=2&a=%26&cursor=4");
    }
}
