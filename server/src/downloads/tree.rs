//! The files of a release as git would name them: folders, tree hashes, pointers to large files.

use data_encoding::HEXLOWER;
use sha1::{Digest, Sha1};

use crate::catalog::ReleaseFile;

/// A folder or a file of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// A folder: its path and the hash of git's tree object.
    Folder {
        /// Its path in the release.
        path: String,
        /// 40 hex digits.
        oid: String,
    },
    /// A file.
    File(&'a ReleaseFile),
}

impl Entry<'_> {
    /// Its path in the release.
    pub(super) fn path(&self) -> &str {
        match self {
            Entry::Folder { path, .. } => path,
            Entry::File(file) => &file.path,
        }
    }
}

/// What lies in `folder` (the root when empty), and below it when `recursive`; a folder stands before what is in it.
/// Nothing if there is no such folder. `files` are sorted by the bytes of their paths, as the catalogue gives them.
pub(super) fn entries<'a>(files: &'a [ReleaseFile], folder: &str, recursive: bool) -> Option<Vec<Entry<'a>>> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let within = &files[range_of(files, &prefix)];
    if within.is_empty() && !folder.is_empty() {
        return None;
    }
    let (mut found, _) = walk(within, &prefix);
    if !recursive {
        found.retain(|entry| !entry.path()[prefix.len()..].contains('/'));
    }
    Some(found)
}

/// Git's name of a file's blob: of a large file, of the pointer that stands for it.
pub(super) fn blob_oid(file: &ReleaseFile) -> String {
    if file.is_lfs { HEXLOWER.encode(&object("blob", pointer(file).as_bytes())) } else { file.git_sha1.clone() }
}

/// The text that stands in git for a large file (git-lfs specification, version 1).
pub(super) fn pointer(file: &ReleaseFile) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n", file.sha256, file.size_bytes)
}

fn range_of(files: &[ReleaseFile], prefix: &str) -> std::ops::Range<usize> {
    let begin = files.partition_point(|file| file.path.as_str() < prefix);
    let len = files[begin..].partition_point(|file| file.path.starts_with(prefix));
    begin..begin + len
}

/// Every entry below `prefix` and the hash of its tree. Sorting whole paths by their bytes is git's own order of a tree,
/// in which a folder sorts as if its name ended with a slash.
fn walk<'a>(files: &'a [ReleaseFile], prefix: &str) -> (Vec<Entry<'a>>, [u8; 20]) {
    let (mut found, mut tree, mut rest) = (Vec::new(), Vec::new(), files);
    while let Some(file) = rest.first() {
        let name = &file.path[prefix.len()..];
        let (mode, name, oid) = if let Some((folder, _)) = name.split_once('/') {
            let below = format!("{prefix}{folder}/");
            let (inside, after) = rest.split_at(range_of(rest, &below).end);
            let (entries, oid) = walk(inside, &below);
            found.push(Entry::Folder { path: format!("{prefix}{folder}"), oid: HEXLOWER.encode(&oid) });
            found.extend(entries);
            rest = after;
            ("40000", folder, oid)
        } else {
            found.push(Entry::File(file));
            rest = &rest[1..];
            let oid = HEXLOWER.decode(blob_oid(file).as_bytes()).ok().and_then(|oid| oid.try_into().ok());
            ("100644", name, oid.expect("object_git_sha1_ck allows only 40 hex digits"))
        };
        tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        tree.extend_from_slice(&oid);
    }
    (found, object("tree", &tree))
}

fn object(kind: &str, content: &[u8]) -> [u8; 20] {
    Sha1::new().chain_update(format!("{kind} {}\0", content.len())).chain_update(content).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str, is_lfs: bool) -> ReleaseFile {
        ReleaseFile {
            path: path.into(),
            size_bytes: content.len() as i64,
            sha256: HEXLOWER.encode(&sha2::Sha256::digest(content)),
            blake3: blake3::hash(content.as_bytes()).to_hex().to_string(),
            git_sha1: HEXLOWER.encode(&object("blob", content.as_bytes())),
            is_lfs,
        }
    }

    fn a_release() -> Vec<ReleaseFile> {
        vec![
            file("a-b", "1\n", false),
            file("a.txt", "2\n", false),
            file("a/b/c", "3\n", false),
            file("a/d", "4\n", false),
            file("e", "5\n", false),
        ]
    }

    fn paths(files: &[ReleaseFile], folder: &str, recursive: bool) -> Option<Vec<String>> {
        entries(files, folder, recursive).map(|entries| entries.iter().map(|entry| entry.path().to_owned()).collect())
    }

    #[test]
    fn folders_are_listed_as_they_are_asked_for() {
        let files = a_release();
        assert_eq!(paths(&files, "", true).expect("the root"), ["a-b", "a.txt", "a", "a/b", "a/b/c", "a/d", "e"]);
        assert_eq!(paths(&files, "", false).expect("the root"), ["a-b", "a.txt", "a", "e"]);
        assert_eq!(paths(&files, "a", false).expect("a folder"), ["a/b", "a/d"]);
        assert_eq!(paths(&files, "a", true).expect("a folder"), ["a/b", "a/b/c", "a/d"]);
        for none in ["x", "a.txt", "a/", "a/b/c", "a-", "../a"] {
            assert_eq!(paths(&files, none, true), None, "{none}");
        }
        assert_eq!(paths(&[], "", true).expect("an empty release has a root"), [""; 0]);
    }

    /// Made with git itself: the same files, `git add -A && git write-tree`, `git ls-tree -r -t HEAD`.
    #[test]
    fn hashes_are_git_s_own() {
        let (_, root) = walk(&a_release(), "");
        assert_eq!(HEXLOWER.encode(&root), "76901b1187c27f9f01743d731f8df80492082d24");
        let files = a_release();
        let entries = entries(&files, "", true).expect("the root");
        assert!(entries.contains(&Entry::Folder { path: "a/b".into(), oid: "b2f4425009094fc2bf650841d1150197a61c62fc".into() }));
    }

    #[test]
    fn a_large_file_is_known_by_its_pointer() {
        let large = file("model.safetensors", "x", true);
        assert_eq!(blob_oid(&large), HEXLOWER.encode(&object("blob", pointer(&large).as_bytes())));
        assert_eq!(blob_oid(&file("config.json", "x", false)), "c1b0730e0133447badcfd47fd144e254807b06e1");
    }
}
