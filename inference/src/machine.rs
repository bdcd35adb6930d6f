//! How much memory this machine has for us: what the kernel can give, or what a control group (a container, a service) leaves of it.
//! (proc(5), `meminfo`; cgroups(7); the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.)

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, MemoryLimit};

/// The memory of this machine, as far as this process may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineMemory {
    /// All there is, or the limit of a control group where that is less.
    pub total_bytes: u64,
    /// What nobody has, files that are kept in memory without need included.
    pub available_bytes: u64,
}

/// What there is now. `None` where the system does not tell (no Linux, no `/proc`).
pub fn available_memory() -> Option<MachineMemory> {
    seen_from(Path::new("/"))
}

impl MachineMemory {
    /// `TooLarge`, with the numbers, if there are not so many bytes.
    pub(crate) fn hold(&self, needed_bytes: u64) -> Result<(), Error> {
        if needed_bytes <= self.available_bytes {
            return Ok(());
        }
        let held_bytes = self.total_bytes.saturating_sub(self.available_bytes);
        Err(Error::TooLarge { needed_bytes, limit: MemoryLimit::Machine, budget_bytes: self.total_bytes, held_bytes })
    }

    fn least(self, other: Self) -> Self {
        Self { total_bytes: self.total_bytes.min(other.total_bytes), available_bytes: self.available_bytes.min(other.available_bytes) }
    }
}

/// The same, where the root folder is another.
fn seen_from(root: &Path) -> Option<MachineMemory> {
    let machine = meminfo(&fs::read_to_string(root.join("proc/meminfo")).ok()?)?;
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    Some(group_folders(root, &groups).iter().filter_map(|(version, folder)| group(version, folder)).fold(machine, MachineMemory::least))
}

fn meminfo(text: &str) -> Option<MachineMemory> {
    let bytes = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(MachineMemory { total_bytes: bytes("MemTotal")?, available_bytes: bytes("MemAvailable")? })
}

/// The files of a version of control groups.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    mount: &'static str,
    limit: &'static str,
    used: &'static str,
    /// In memory.stat, the whole group's bytes of files that the kernel lets go of when others need memory.
    reclaimable: [&'static str; 2],
}

const V1: Version = Version {
    mount: "sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: ["total_active_file", "total_inactive_file"],
};

const V2: Version =
    Version { mount: "sys/fs/cgroup", limit: "memory.max", used: "memory.current", reclaimable: ["active_file", "inactive_file"] };

/// The folders whose limits hold: that of our own group and of every one around it. `groups` is /proc/self/cgroup.
fn group_folders(root: &Path, groups: &str) -> Vec<(&'static Version, PathBuf)> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let version = match (number, controllers) {
            ("0", "") => &V2,
            (_, controllers) if controllers.split(',').any(|name| name == "memory") => &V1,
            _ => continue,
        };
        // In a container the path may be one of the machine outside, which is not there; the root of what is there is the container's own.
        for around in Path::new(path).ancestors() {
            folders.push((version, root.join(version.mount).join(around.strip_prefix("/").unwrap_or(around))));
        }
    }
    folders
}

/// `None` if the group has no limit.
fn group(version: &Version, folder: &Path) -> Option<MachineMemory> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    group_memory(version, &read(version.limit)?, &read(version.used)?, &read("memory.stat").unwrap_or_default())
}

/// "max" is no number, and so no limit; version 1 writes none as one beyond any machine, which the machine's own memory undercuts.
fn group_memory(version: &Version, limit: &str, used: &str, stat: &str) -> Option<MachineMemory> {
    let (total_bytes, used_bytes) = (limit.trim().parse::<u64>().ok()?, used.trim().parse::<u64>().ok()?);
    let bytes = |name: &str| {
        let value = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let reclaimable_bytes = version.reclaimable.iter().map(|name| bytes(name)).fold(0, u64::saturating_add);
    Some(MachineMemory { total_bytes, available_bytes: total_bytes.saturating_sub(used_bytes.saturating_sub(reclaimable_bytes)) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    const MEMINFO: &str =
        "MemTotal:       24684084 kB\nMemFree:        12613504 kB\nMemAvailable:   20774104 kB\nBuffers:          1000 kB\n";
    const KIB: u64 = 1024;

    /// A machine of these files.
    fn machine(files: &[(&str, &str)]) -> MachineMemory {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files.iter().chain(&[("proc/meminfo", MEMINFO)]) {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        seen_from(root.path()).unwrap()
    }

    fn of(total_bytes: u64, available_bytes: u64) -> MachineMemory {
        MachineMemory { total_bytes, available_bytes }
    }

    #[test]
    fn without_a_group_it_is_what_the_kernel_tells() {
        let all = of(24_684_084 * KIB, 20_774_104 * KIB);
        assert_eq!(machine(&[]), all);
        assert_eq!(machine(&[("proc/self/cgroup", "0::/\n")]), all);
        let unlimited =
            [("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n"), ("sys/fs/cgroup/a/memory.current", "5\n")];
        assert_eq!(machine(&unlimited), all);
        assert_eq!(meminfo("MemTotal: 1 kB"), None);
        assert_eq!(meminfo("MemTotal: x kB\nMemAvailable: 1 kB"), None);
    }

    #[test]
    fn a_group_leaves_its_limit_less_what_it_cannot_do_without() {
        let inside = [
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "8000000\n"),
            ("sys/fs/cgroup/memory.current", "3000000\n"),
            ("sys/fs/cgroup/memory.stat", "anon 900000\nfile 2000000\ninactive_file 1500000\nactive_file 500000\n"),
        ];
        assert_eq!(machine(&inside), of(8_000_000, 7_000_000));
    }

    #[test]
    fn the_tightest_of_the_groups_around_holds() {
        let nested = [
            ("proc/self/cgroup", "0::/system.slice/sluice.service\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "4000000\n"),
            ("sys/fs/cgroup/system.slice/memory.current", "3900000\n"),
            ("sys/fs/cgroup/system.slice/sluice.service/memory.max", "3000000\n"),
            ("sys/fs/cgroup/system.slice/sluice.service/memory.current", "1000000\n"),
        ];
        assert_eq!(machine(&nested), of(3_000_000, 100_000));
    }

    #[test]
    fn the_first_version_is_read_too_also_where_its_path_is_that_of_the_machine_outside() {
        let first = [
            ("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/1f\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "8000000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "3000000\n"),
            ("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 1000000\ntotal_active_file 0\n"),
        ];
        assert_eq!(machine(&first), of(8_000_000, 6_000_000));
        let unlimited = [
            ("proc/self/cgroup", "4:memory:/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "3000000\n"),
        ];
        assert_eq!(machine(&unlimited), machine(&[]));
    }

    #[test]
    fn what_is_not_there_is_told_with_the_numbers() {
        let memory = of(8 << 30, 5 << 30);
        memory.hold(5 << 30).unwrap();
        let refused = memory.hold((5 << 30) + 1).unwrap_err().to_string();
        assert!(["5.00 GiB", "8.00 GiB", "3.00 GiB"].iter().all(|number| refused.contains(number)), "{refused}");
    }
}
