//! The server's programs: where they are and which version they are.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::{ClusterError, io_error};
use super::layout::Layout;

/// Oldest major version whose options we use (`recovery_init_sync_method`, `initdb --no-instructions`).
pub(super) const MAJOR_MIN: u32 = 14;

/// Where Debian keeps the server of each version, off PATH.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A folder with `postgres` and `initdb`.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }
}

/// Finds the binaries for a cluster: those of its version, or the first that are new enough where there is no cluster yet.
///
/// `given` alone counts when it is there; else the newest of Debian's versions, PATH, and what `make` installs under `.tools/`.
pub(super) fn find(given: Option<&Path>, layout: &Layout, account: &Account) -> Result<Binaries, ClusterError> {
    let candidates = match given {
        Some(folder) => vec![folder.to_owned()],
        None => candidates(),
    };
    let mut first: Option<Binaries> = None;
    let wanted = layout.cluster_major();
    for folder in candidates.iter().filter(|folder| is_server(folder)) {
        let folder = folder.canonicalize().map_err(io_error("find", folder))?;
        let major = major(&folder, layout, account)?;
        let found = Binaries { folder, major };
        match wanted {
            Some(wanted) if wanted == major => return Ok(found),
            None if major >= MAJOR_MIN => return Ok(found),
            _ => first = first.or(Some(found)),
        }
    }
    Err(match (first, wanted) {
        (None, _) => ClusterError::NoBinaries { searched: candidates },
        (Some(found), Some(cluster)) => {
            ClusterError::Version { data: layout.data.clone(), cluster, binaries: found.folder, found: found.major }
        }
        (Some(found), None) => ClusterError::BinariesTooOld { folder: found.folder, major: found.major },
    })
}

fn candidates() -> Vec<PathBuf> {
    let mut folders = debian(Path::new(DEBIAN));
    #[expect(clippy::disallowed_methods, reason = "PATH is no setting of ours: it says where the system keeps its programs")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path).filter(|folder| folder.is_absolute()));
    folders.extend(tools());
    folders
}

/// Every version under Debian's folder, newest first.
fn debian(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))).collect();
    versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    versions.into_iter().map(|(_, bin)| bin).collect()
}

/// `.tools/postgres/bin` beside the program that runs or above it: the repository it was built in.
fn tools() -> Vec<PathBuf> {
    let Ok(program) = std::env::current_exe() else { return Vec::new() };
    program.ancestors().skip(1).map(|folder| folder.join(".tools/postgres/bin")).filter(|bin| bin.is_dir()).collect()
}

fn is_server(folder: &Path) -> bool {
    let runs = |name| fs::metadata(folder.join(name)).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    runs("postgres") && runs("initdb")
}

/// Asks the binaries, as the account that will run them and from the folder it has to reach: a closed door shows here.
fn major(folder: &Path, layout: &Layout, account: &Account) -> Result<u32, ClusterError> {
    let program = folder.join("postgres");
    let output = account.command(&program).arg("--version").current_dir(&layout.root).output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => account.unreachable([layout.root.as_path(), &program]),
        _ => io_error("run", &program)(error),
    })?;
    let said = String::from_utf8_lossy(&output.stdout);
    parse_major(&said).ok_or_else(|| {
        let said = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        ClusterError::Failed { program: "postgres --version", said, log: program }
    })
}

/// `postgres (PostgreSQL) 15.18 (Debian …)` → 15.
fn parse_major(said: &str) -> Option<u32> {
    let version = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_servers_say() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta2\n"), Some(18));
        assert_eq!(parse_major("cannot load libpq\n"), None);
    }

    #[test]
    fn of_debians_versions_the_newest_comes_first_by_number() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["9", "15", "17", "common"] {
            fs::create_dir_all(folder.path().join(name).join("bin")).expect("make");
        }
        let names: Vec<_> = debian(folder.path()).iter().map(|bin| bin.strip_prefix(folder.path()).expect("inside").to_owned()).collect();
        assert_eq!(names, ["17/bin", "15/bin", "9/bin"].map(PathBuf::from));
    }
}
