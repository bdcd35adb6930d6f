//! Who the server runs as. PostgreSQL refuses root, so root's cluster belongs to an ordinary account.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{geteuid, getgid};

use super::error::{ClusterError, io_error};
use super::layout::Layout;

/// Accounts that root gives a new cluster to, in this order.
const PREFERRED: [&str; 2] = ["postgres", "nobody"];

/// The account that owns a cluster and runs its server.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    gid: u32,
    /// We are root and become this account; else it is ourselves.
    switch: bool,
}

impl Account {
    /// The owner of the cluster that is there; for a new one ourselves, or the first of `PREFERRED` when we are root.
    pub(super) fn of(layout: &Layout) -> Result<Self, ClusterError> {
        let us = geteuid();
        let owner = fs::metadata(layout.data.join("PG_VERSION")).ok();
        let (uid, gid) = match owner {
            Some(owner) if us.is_root() => (owner.uid(), owner.gid()),
            Some(owner) if owner.uid() != us.as_raw() => {
                return Err(ClusterError::OtherOwner { data: layout.data.clone(), owner: owner.uid() });
            }
            _ if us.is_root() => {
                let passwd = fs::read_to_string("/etc/passwd").map_err(io_error("read", Path::new("/etc/passwd")))?;
                PREFERRED.iter().find_map(|name| ids_of(&passwd, name)).ok_or(ClusterError::NoAccount)?
            }
            _ => (us.as_raw(), getgid().as_raw()),
        };
        let name = name_of(uid).ok_or(ClusterError::Nameless { uid })?;
        Ok(Self { name, uid, gid, switch: us.is_root() })
    }

    /// A command run as this account, in a plain environment (settings such as PGPORT or PGDATA must not reach the server).
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").current_dir("/");
        if self.switch {
            command.uid(self.uid).gid(self.gid); // and no other groups: the standard library clears them
        }
        command
    }

    /// Gives a file or folder that we made to the account.
    pub(super) fn own(&self, path: &Path) -> Result<(), ClusterError> {
        if self.switch {
            std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)).map_err(io_error("give away", path))?;
        }
        Ok(())
    }

    /// The refusal for the first of `paths` that has a folder closed to the account on its way.
    pub(super) fn unreachable<const N: usize>(&self, paths: [&Path; N]) -> ClusterError {
        let named = paths.iter().find_map(|path| Some((path, self.closed_on_the_way(path)?)));
        let (path, closed) = named.map_or((paths[0], None), |(path, closed)| (path, Some(closed.to_owned())));
        ClusterError::Unreachable { account: self.name.clone(), path: path.to_owned(), closed }
    }

    /// The topmost folder on the way to `path` that the account may not pass, by owner, group and mode.
    fn closed_on_the_way<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        let mut folders: Vec<_> = path.ancestors().collect();
        folders.reverse();
        folders.into_iter().find(|folder| {
            fs::metadata(folder).is_ok_and(|found| {
                let pass = if found.uid() == self.uid {
                    0o100
                } else if found.gid() == self.gid {
                    0o010
                } else {
                    0o001
                };
                found.is_dir() && found.mode() & pass == 0
            })
        })
    }
}

/// User and group id of a name in the text of /etc/passwd.
fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let fields: Vec<_> = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

/// The name of a user id. `id` asks every source the system has, not only /etc/passwd.
fn name_of(uid: u32) -> Option<String> {
    let output = Command::new("id").args(["-un", &uid.to_string()]).output().ok()?;
    let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_from_the_line_of_that_name_alone() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres-old:x:7:7::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\nbroken\n";
        assert_eq!(ids_of(passwd, "postgres"), Some((101, 104)));
        assert_eq!(ids_of(passwd, "nobody"), None);
        assert_eq!(ids_of(passwd, "broken"), None);
    }

    #[test]
    fn a_user_id_nobody_has_is_nameless() {
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert_eq!(name_of(4_000_000_123), None);
    }
}
