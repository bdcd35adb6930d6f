//! What a grant lets its holder do with a model.

use std::str::FromStr;

use crate::error::FieldError;

/// One use of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GrantScope {
    /// Fetch its weights.
    Download,
    /// Let it generate on the playground's page.
    Playground,
    /// Let it generate by a program.
    Api,
}

impl GrantScope {
    /// Every scope: what a grant covers unless somebody chose fewer.
    pub const ALL: [GrantScope; 3] = [GrantScope::Download, GrantScope::Playground, GrantScope::Api];

    /// As it is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            GrantScope::Download => "download",
            GrantScope::Playground => "playground",
            GrantScope::Api => "api",
        }
    }

    /// What it allows, in words that follow "you may".
    pub fn means(self) -> &'static str {
        match self {
            GrantScope::Download => "download the weights",
            GrantScope::Playground => "try it in the playground",
            GrantScope::Api => "use it through the API",
        }
    }

    /// The scopes that somebody chose by name; all of them where nobody was asked. Errors: a name that is none.
    pub(super) fn chosen<Name: AsRef<str>>(names: Option<&[Name]>) -> Result<Vec<GrantScope>, FieldError> {
        names.map_or(Ok(GrantScope::ALL.into()), |names| names.iter().map(|name| name.as_ref().parse()).collect())
    }

    /// The scopes among the fields of a form; all of them where the form has no boxes for them. One that has sends an empty field besides,
    /// so that no tick at all is told from no boxes. Errors: a name that is none.
    pub(super) fn posted(fields: &[(String, String)]) -> Result<Vec<GrantScope>, FieldError> {
        let sent: Vec<&str> = fields.iter().filter(|(name, _)| name == "scopes").map(|(_, value)| value.as_str()).collect();
        let ticked: Vec<&str> = sent.iter().copied().filter(|name| !name.is_empty()).collect();
        Self::chosen((!sent.is_empty()).then_some(ticked.as_slice()))
    }

    /// What they allow together, in words that follow "you may".
    pub(super) fn mean(scopes: &[GrantScope]) -> String {
        let words: Vec<&str> = scopes.iter().map(|scope| scope.means()).collect();
        match words.split_last() {
            Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
            Some(_) | None => words.concat(),
        }
    }

    /// Scopes as they are stored, read back.
    pub(super) fn read(stored: &[String]) -> Vec<GrantScope> {
        stored.iter().map(|scope| scope.parse().expect("access_grant_scopes_ck allows only known scopes")).collect()
    }

    /// As they are stored: each once, in one order.
    pub(super) fn written(scopes: &[GrantScope]) -> Vec<String> {
        GrantScope::ALL.iter().filter(|scope| scopes.contains(scope)).map(|scope| scope.as_str().to_owned()).collect()
    }
}

/// The box of a use that access may be for.
pub(super) struct ScopeBox {
    pub(super) name: &'static str,
    pub(super) means: &'static str,
    pub(super) is_ticked: bool,
}

impl ScopeBox {
    /// The words beside it.
    pub(super) fn label(&self) -> String {
        self.means[..1].to_uppercase() + &self.means[1..]
    }

    /// Every use, each with a tick if it is among `chosen`.
    pub(super) fn all(chosen: &[GrantScope]) -> Vec<Self> {
        let one = |scope: GrantScope| Self { name: scope.as_str(), means: scope.means(), is_ticked: chosen.contains(&scope) };
        GrantScope::ALL.into_iter().map(one).collect()
    }
}

/// What is said to whoever gives access for nothing.
pub(super) fn none_chosen() -> FieldError {
    FieldError::new("scopes", "choose at least one use: download, playground, api")
}

impl FromStr for GrantScope {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, FieldError> {
        GrantScope::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| FieldError::new("scopes", "is one of download, playground, api"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_asked_gives_everything_and_who_is_gives_what_they_name() {
        assert_eq!(GrantScope::chosen::<&str>(None), Ok(GrantScope::ALL.into()));
        assert_eq!(GrantScope::chosen(Some(&["api"])), Ok(vec![GrantScope::Api]));
        assert_eq!(GrantScope::chosen::<&str>(Some(&[])), Ok(vec![]));
        assert_eq!(GrantScope::chosen(Some(&["api", "everything"])).expect_err("it is none").field, "scopes");
    }

    #[test]
    fn scopes_are_told_in_a_sentence() {
        assert_eq!(GrantScope::mean(&GrantScope::ALL), "download the weights, try it in the playground and use it through the API");
        assert_eq!(GrantScope::mean(&[GrantScope::Playground]), "try it in the playground");
    }
}
