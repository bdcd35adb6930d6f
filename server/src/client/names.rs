//! Names that a portal may make us write: inside the folder, on every system, each its own file, none of them ours.

use super::fault::Fault;
use crate::integrity::{Clashes, check_release_path};
pub(super) use crate::integrity::{OURS, PARTIAL};

/// Refuses the first name that could do harm, and says which and why.
pub(super) fn check<'a>(paths: impl Iterator<Item = &'a str>) -> Result<(), Fault> {
    let mut clashes = Clashes::default();
    for path in paths {
        let refuse = |why: String| Fault::Failed(format!("the release has a file named {path:?}, which {why}; nothing of it was fetched"));
        check_release_path(path).map_err(|why| refuse(why.to_owned()))?;
        clashes.add(path).map_err(|clash| refuse(clash.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::RELEASE_NAME_BYTES_MAX;

    #[test]
    fn names_that_could_do_harm_are_refused() {
        let long = "a".repeat(RELEASE_NAME_BYTES_MAX + 1);
        for wrong in ["/etc/passwd", "../x", "a/../../x", "C:x", "a\0b", ".sluice/journal", ".Sluice/x", "m.sluice-part", "sub/NUL", &long]
        {
            assert!(matches!(check([wrong].into_iter()), Err(Fault::Failed(_))), "{wrong:?}");
        }
        for clash in [["a/Model.bin", "a/model.bin"], ["a", "a/b"], ["x", "x"], ["Dir/a", "dir/b"]] {
            assert!(check(clash.into_iter()).is_err(), "{clash:?}");
        }
        assert_eq!(check(["dir/a", "dir/b", "dir/sub/a", ".gitattributes", "für uns.txt"].into_iter()), Ok(()));
    }
}
