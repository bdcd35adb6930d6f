//! Paths that may be written below somebody's folder: none leads out of it, and no two are one file on any disk. And the names that a
//! release may have, for who publishes and for who pulls: also none that `sluice pull` needs for itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

/// How long a path may be, in bytes: what every file system takes.
const PATH_BYTES_MAX: usize = 1024;
/// How long one name of it may be, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// What the files of `sluice pull` in somebody's folder lie in.
pub const OURS: &str = ".sluice";
/// What a file is called while `sluice pull` has not all of it.
pub const PARTIAL: &str = ".sluice-part";
/// How long a name in a release may be, in bytes: it grows by [`PARTIAL`] for a while.
pub const RELEASE_NAME_BYTES_MAX: usize = NAME_BYTES_MAX - PARTIAL.len();
/// Names that are devices on Windows, whatever ending they have.
const DEVICES: &[&str] = &["con", "prn", "aux", "nul"];

/// Says what is wrong with `path`, if anything is. It has to be relative, with `/` between plain names.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return Err("is empty or too long");
    }
    if let Some(odd) = path.chars().find(|c| c.is_control() || "\\:*?\"<>|".contains(*c)) {
        return Err(if odd == '\\' {
            "has a backslash, which is a folder on some disks"
        } else {
            "has a character that some disks refuse"
        });
    }
    path.split('/').try_for_each(check_name)
}

/// Says what is wrong with `path` as that of a file in a release, if anything is.
pub fn check_release_path(path: &str) -> Result<(), &'static str> {
    check_path(path)?;
    path.split('/').try_for_each(check_release_name)
}

/// Says what is wrong with one name in such a path.
pub fn check_release_name(name: &str) -> Result<(), &'static str> {
    check_name(name)?;
    let lower = name.to_lowercase();
    if lower == OURS || lower.ends_with(PARTIAL) {
        return Err("has a name that sluice pull needs for itself");
    }
    // Whichever is longer: there are letters that grow.
    if name.len().max(lower.len()) > RELEASE_NAME_BYTES_MAX {
        return Err("has a name that is too long");
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let stem = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    let numbered = |device: &str| stem.len() == 4 && stem.starts_with(device) && stem.as_bytes()[3].is_ascii_digit();
    match name {
        "" => Err("has an empty name: it begins or ends with '/', or has two together"),
        "." | ".." => Err("leads out of its folder"),
        _ if name.len() > NAME_BYTES_MAX => Err("has a name that is too long"),
        _ if name.ends_with(['.', ' ']) || name.starts_with(' ') => {
            Err("has a name with a dot or space at its edge, which some disks drop")
        }
        _ if DEVICES.contains(&stem.as_str()) || numbered("com") || numbered("lpt") => Err("has a name that is a device on some systems"),
        _ => Ok(()),
    }
}

/// Two paths that are one on some disks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Clash {
    /// The later one: a file, or a folder of one.
    pub path: String,
    /// The earlier one, as it is spelt.
    pub with: String,
}

impl fmt::Display for Clash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path == self.with {
            return write!(out, "is there twice, or is a file and a folder at once");
        }
        write!(out, "is one with {:?} on disks that do not tell capitals apart", self.with)
    }
}

/// Looks for paths that some disks take for one: by letters' case, or because one is a folder of another.
#[derive(Debug, Default)]
pub struct Clashes {
    /// Each path and folder as it is compared, with the way it was spelt first, and whether it is a file.
    seen: HashMap<String, (String, bool)>,
}

impl Clashes {
    /// Takes the next file; says with which it clashes.
    pub fn add(&mut self, path: &str) -> Result<(), Clash> {
        for (end, _) in path.match_indices('/') {
            self.take(&path[..end], false)?;
        }
        self.take(path, true)
    }

    fn take(&mut self, path: &str, is_file: bool) -> Result<(), Clash> {
        match self.seen.entry(path.to_lowercase()) {
            Entry::Vacant(place) => {
                place.insert((path.to_owned(), is_file));
                Ok(())
            }
            Entry::Occupied(place) => {
                let (spelt, was_file) = place.get();
                let is_the_same_folder = spelt == path && !is_file && !was_file;
                if is_the_same_folder { Ok(()) } else { Err(Clash { path: path.to_owned(), with: spelt.clone() }) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_pass_and_all_others_say_why() {
        for path in ["config.json", "original/part-0.pt", "a.b/c-d_e+f=g@h,(i)", "größe.txt", "console.log", "com10.txt", "..a", "a..b"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
        let long = "x".repeat(256);
        for path in [
            "",
            "/etc/passwd",
            "a/",
            "a//b",
            ".",
            "..",
            "../x",
            "a/../b",
            "a/./b",
            "C:\\x",
            "C:x",
            "a\\b",
            "a\nb",
            "a\0b",
            "NUL",
            "nul.txt",
            "x/CON.tar.gz",
            "com1",
            "LPT9.txt",
            "name.",
            "name ",
            " name",
            "a./b",
            "what?",
            "a*b",
            long.as_str(),
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn names_that_are_one_on_some_disk_clash() {
        for (files, with) in [
            (&["a", "b", "sub/c", "sub/d"][..], None),
            (&["a", "a"], Some("a")),
            (&["README.md", "readme.md"], Some("README.md")),
            (&["Sub/a", "sub/b"], Some("Sub")),
            (&["a", "a/b"], Some("a")),
            (&["a/b", "a"], Some("a")),
            (&["a/b", "A"], Some("a")),
            (&["Ä", "ä"], Some("Ä")),
        ] {
            let mut clashes = Clashes::default();
            let found = files.iter().find_map(|file| clashes.add(file).err());
            assert_eq!(found.as_ref().map(|clash| clash.with.as_str()), with, "{files:?}");
        }
    }
}
