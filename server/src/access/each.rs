//! For tables that walk everything there is.

use crate::error::{Error, Refusal};

/// An enum with a list of all its variants, so that none is left out of a walk.
macro_rules! each {
    ($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum $name { $($(#[$of])* $variant),+ }

        impl $name {
            const ALL: &[Self] = &[$(Self::$variant),+];
        }
    };
}

/// The functions in `source` that take `self` whole, which is how a thing changes here, in the order of the alphabet: a table that names all
/// of its commands misses none that is new.
pub(super) fn changes(source: &str) -> Vec<&str> {
    let declared = source.lines().filter_map(|line| line.trim_start().strip_prefix("pub")?.split_once("fn "));
    let whole = declared
        .filter_map(|(_, function)| function.split_once('('))
        .filter(|(_, takes)| takes.starts_with("self") || takes.starts_with("mut self"));
    let mut names: Vec<&str> = whole.map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

/// Whether it was refused as the table says: by this code, or as a conflict with these words.
pub(super) fn is_refused(error: &Error, how: &str) -> bool {
    match error {
        Error::Forbidden(Refusal { code, .. }) => *code == how,
        Error::Conflict(_) => error.to_string().contains(how),
        Error::NotFound(_) | Error::SignedOut | Error::Stale(_) | Error::Invalid(_) => false,
        Error::Limited { .. } | Error::Busy { .. } | Error::Unavailable(_) | Error::Internal(_) => false,
    }
}
