//! Names that a portal may make us write: inside the folder, on every system, each its own file, none of them ours.

use super::fault::Fault;
use crate::integrity::{Clashes, check_path};

/// What our own files in somebody's folder lie in.
pub(super) const OURS: &str = ".sluice";
/// What a file is called while it is not complete.
pub(super) const PARTIAL: &str = ".sluice-part";
/// How long a name may be, in bytes: it grows by [`PARTIAL`] for a while, and file systems end at 255.
const NAME_BYTES_MAX: usize = 255 - PARTIAL.len();

/// Refuses the first name that could do harm, and says which and why.
pub(super) fn check<'a>(paths: impl Iterator<Item = &'a str>) -> Result<(), Fault> {
    let mut clashes = Clashes::default();
    for path in paths {
        let refuse = |why: String| Fault::Failed(format!("the release has a file named {path:?}, which {why}; nothing of it was fetched"));
        check_path(path).map_err(|why| refuse(why.to_owned()))?;
        for name in path.split('/').map(str::to_lowercase) {
            if name == OURS || name.ends_with(PARTIAL) {
                return Err(refuse("has a name that sluice pull needs for itself".into()));
            }
            if name.len() > NAME_BYTES_MAX {
                return Err(refuse("has a name that is too long".into()));
            }
        }
        clashes
            .add(path)
            .map_err(|other| refuse(format!("is one with {other:?} on disks that do not tell capitals apart, or its folder")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_do_harm_are_refused() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
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
