//! A disk that is full after a few megabytes: a file system in memory, which only the commands that are run on it see.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Words for a shell that run what follows them where `folder` is a file system of its own, of this size (`20m`). `then` is run there first,
/// and ends with what is to run the rest, `exec` say. Nothing where the system allows nobody to make one, as in many containers, which
/// is said: there is nothing to see then.
#[expect(clippy::print_stderr, reason = "who reads that a test passed should also read that it saw nothing")]
pub fn on_small_disk(folder: &Path, size: &str, then: &str) -> Option<String> {
    let probe = Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs -o size=1m none /tmp"]).output();
    let refused = match probe {
        Ok(probe) if probe.status.success() => None,
        Ok(probe) => Some(String::from_utf8_lossy(&probe.stderr).trim().to_owned()),
        Err(cause) => Some(cause.to_string()),
    };
    if let Some(why) = refused {
        eprintln!("SKIPPED, not passed: what happens on a full disk was not seen, as unshare may make no file system here ({why})");
        return None;
    }
    let inner = format!("mount -t tmpfs -o size={size} none '{}'; {then}", folder.display());
    Some(format!("exec unshare -rm sh -c \"{inner} \\\"\\$@\\\"\" sh"))
}

/// A shell command line of these words, each as it is.
pub fn quoted(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
}

/// Where a folder lies as a process in a world of its own sees it.
pub fn as_seen_by(process: &Child, folder: &Path) -> PathBuf {
    Path::new("/proc").join(process.id().to_string()).join("root").join(folder.strip_prefix("/").unwrap())
}
