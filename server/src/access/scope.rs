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

    /// Scopes as they are stored, read back.
    pub(super) fn read(stored: &[String]) -> Vec<GrantScope> {
        stored.iter().map(|scope| scope.parse().expect("access_grant_scopes_ck allows only known scopes")).collect()
    }

    /// As they are stored: each once, in one order.
    pub(super) fn written(scopes: &[GrantScope]) -> Vec<String> {
        GrantScope::ALL.iter().filter(|scope| scopes.contains(scope)).map(|scope| scope.as_str().to_owned()).collect()
    }
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
