//! How many VMs fit on this machine: limited by processors, and by the memory that the system and
//! control groups leave to this process.

use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use nix::unistd::Pid;

/// Memory of a VM besides its guest's: QEMU with its translated code, and the share processes.
/// Measured: 60 to 150 MiB after bpftrace's tests.
const OVERHEAD: u64 = 256 << 20;

/// Tests for each processor from which on a run has more VMs than processors. They are a minute or
/// more without KVM, of which one more boot is a small part.
const MANY_TESTS: usize = 100;
/// Processors that have enough work with one VM more: with one VM each, bpftrace's tests left them
/// idle for a fifth to a third of the time.
const CPUS_A_VM_MORE: usize = 4;

/// Where to read the kernel's files about memory: `/`, or a test's directory.
#[derive(Debug, Clone)]
pub(super) struct Host {
    root: PathBuf,
}

/// Memory that is available without swapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Available {
    /// In bytes.
    pub(super) bytes: u64,
    /// A control group allows no more, although the machine has it.
    pub(super) by_cgroup: bool,
}

/// Memory of one VM with all its processes, in bytes.
pub(super) fn of_vm(guest: u64) -> u64 {
    guest.saturating_add(OVERHEAD)
}

/// How many VMs may run at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jobs {
    /// At least 1.
    pub count: usize,
    /// A message for the user.
    pub note: Option<String>,
}

impl Jobs {
    /// So many, without a message.
    pub fn exactly(count: usize) -> Self {
        Self { count, note: None }
    }

    /// One VM for each processor, or fewer if memory is short. `guest` is the memory of a guest in
    /// bytes, `useful` how many VMs could have work.
    pub fn fitting(guest: u64, useful: usize) -> Self {
        Self::of(cpus().min(useful), guest, Host::here().available())
    }

    /// The same for a run of so many `tests`: a few VMs more than processors if it is long.
    pub fn for_tests(guest: u64, tests: usize) -> Self {
        Self::of(vms(cpus(), tests), guest, Host::here().available())
    }

    /// As many as the user requested, or fewer if memory is short.
    pub fn bounded(count: usize, guest: u64) -> Self {
        Self::of(count, guest, Host::here().available())
    }

    fn of(wanted: usize, guest: u64, available: Option<Available>) -> Self {
        let wanted = wanted.max(1);
        let Some(available) = available else {
            return Self::exactly(wanted);
        };
        let fit = usize::try_from(available.bytes / of_vm(guest)).unwrap_or(usize::MAX);
        // Always try one VM, whatever memory is left.
        let count = wanted.min(fit).max(1);
        if count == wanted {
            return Self::exactly(count);
        }
        let by = if available.by_cgroup {
            " in this control group"
        } else {
            ""
        };
        Self {
            count,
            note: Some(format!(
                "{} at once instead of {wanted}: {} of memory are available{by}, and a VM takes {}; \
                 --memory makes its guest smaller, -j says how many",
                if count == 1 {
                    "1 VM".to_owned()
                } else {
                    format!("{count} VMs")
                },
                HumanBytes(available.bytes),
                HumanBytes(of_vm(guest)),
            )),
        }
    }
}

/// Processors that this process may use.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many VMs have work with so many processors and tests.
fn vms(cpus: usize, tests: usize) -> usize {
    let more = if tests / MANY_TESTS >= cpus {
        cpus.div_ceil(CPUS_A_VM_MORE)
    } else {
        0
    };
    (cpus + more).min(tests)
}

/// A running VM's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InUse {
    /// Its guest's.
    pub(super) guest: u64,
    /// What it has touched; 0 if that is not known yet.
    pub(super) resident: u64,
}

/// Whether one more VM, with a guest of this size, fits beside the running ones. Memory that these
/// have touched is already missing from `available`; reserve the rest.
pub(super) fn one_more_fits(available: Available, guest: u64, running: &[InUse]) -> bool {
    let still_to_come = running
        .iter()
        .map(|vm| of_vm(vm.guest).saturating_sub(vm.resident));
    let wanted = still_to_come.fold(of_vm(guest), u64::saturating_add);
    running.is_empty() || wanted <= available.bytes
}

impl Host {
    /// This machine.
    pub(super) fn here() -> Self {
        Self { root: "/".into() }
    }

    /// Memory left to this process; `None` if unknown.
    pub(super) fn available(&self) -> Option<Available> {
        let meminfo = self.read("proc/meminfo")?;
        // MemAvailable: proc_meminfo(5), since Linux 3.14.
        let machine = kib_field(&meminfo, "MemAvailable:")?;
        let cgroup = self.of_cgroups().unwrap_or(u64::MAX);
        Some(Available {
            bytes: machine.min(cgroup),
            by_cgroup: cgroup < machine,
        })
    }

    /// Resident memory of a process in bytes; `None` if it has ended.
    pub(super) fn resident(&self, pid: Pid) -> Option<u64> {
        kib_field(&self.read(&format!("proc/{pid}/status"))?, "VmRSS:")
    }

    /// The least that a control group above this process has left.
    fn of_cgroups(&self) -> Option<u64> {
        let groups = self.read("proc/self/cgroup")?;
        let mounts = self.read("proc/self/mountinfo")?;
        let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
        let lefts = groups.lines().filter_map(|line| {
            // cgroups(7): hierarchy, controllers, path.
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let version = match controllers {
                "" => &V2,
                _ if controllers.split(',').any(|name| name == "memory") => &V1,
                _ => return None,
            };
            let mount = mounts.iter().find(|mount| version.is_mount(mount))?;
            self.least_left(mount, path, version)
        });
        lefts.min()
    }

    fn least_left(&self, mount: &Mount<'_>, path: &str, version: &Version) -> Option<u64> {
        let top = self.root.join(mount.point.trim_start_matches('/'));
        // In a container the mount shows only a part of the tree, and the path may be one of the
        // host's that is not visible.
        let below = Path::new(path)
            .strip_prefix(mount.root)
            .unwrap_or(Path::new(""));
        top.join(below)
            .ancestors()
            .take_while(|dir| dir.starts_with(&top))
            .filter_map(|dir| version.left(dir))
            .min()
    }

    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(path)).ok()
    }
}

/// A line of `/proc/self/mountinfo`, proc_pid_mountinfo(5).
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, source) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut source = source.split(' ');
        Some(Self {
            root: mount.next()?,
            point: mount.next()?,
            kind: source.next()?,
            options: source.nth(1)?,
        })
    }
}

/// Names of one version of control groups.
struct Version {
    kind: &'static str,
    /// The option of the mount that has memory.
    option: Option<&'static str>,
    limit: &'static str,
    used: &'static str,
    /// In `memory.stat`: file cache that the kernel can reclaim.
    reclaimable: &'static str,
}

/// Documentation/admin-guide/cgroup-v2.rst.
const V2: Version = Version {
    kind: "cgroup2",
    option: None,
    limit: "memory.max",
    used: "memory.current",
    reclaimable: "inactive_file",
};

/// Documentation/admin-guide/cgroup-v1/memory.rst.
const V1: Version = Version {
    kind: "cgroup",
    option: Some("memory"),
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};

impl Version {
    fn is_mount(&self, mount: &Mount<'_>) -> bool {
        mount.kind == self.kind
            && self
                .option
                .is_none_or(|wanted| mount.options.split(',').any(|option| option == wanted))
    }

    /// What a group may still use; `None` if it has no limit.
    fn left(&self, group: &Path) -> Option<u64> {
        let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        // "max" is not a number; version 1 uses one larger than any memory.
        let limit = number(self.limit)?;
        let used = number(self.used)?;
        let reclaimable = read("memory.stat")
            .and_then(|stat| {
                let value = stat.lines().find_map(|line| {
                    let (name, value) = line.split_once(' ')?;
                    (name == self.reclaimable).then_some(value)
                });
                value?.trim().parse::<u64>().ok()
            })
            .unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(reclaimable)))
    }
}

fn kib_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    /// A host of these files.
    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        let memory = [(
            "proc/meminfo",
            "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n",
        )];
        for (path, text) in memory.iter().chain(files) {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = dir.path().to_owned();
        (dir, Host { root })
    }

    fn available(files: &[(&str, &str)]) -> (u64, bool) {
        let (_dir, host) = host(files);
        let available = host.available().unwrap();
        (available.bytes, available.by_cgroup)
    }

    const V2_MOUNT: (&str, &str) = (
        "proc/self/mountinfo",
        "26 24 0:23 / /sys/fs/cgroup rw,nosuid shared:5 - cgroup2 cgroup2 rw,nsdelegate\n",
    );

    #[test]
    fn without_control_groups_the_machine_s_memory_counts() {
        assert_eq!(available(&[]), (8 * GIB, false));
        let unlimited = [
            V2_MOUNT,
            ("proc/self/cgroup", "0::/user.slice\n"),
            ("sys/fs/cgroup/user.slice/memory.max", "max\n"),
            ("sys/fs/cgroup/user.slice/memory.current", "4096\n"),
        ];
        assert_eq!(available(&unlimited), (8 * GIB, false));
    }

    #[test]
    fn the_tightest_group_above_counts_without_its_file_cache() {
        let files = [
            V2_MOUNT,
            ("proc/self/cgroup", "0::/a.slice/b.scope\n"),
            ("sys/fs/cgroup/a.slice/memory.max", "3221225472\n"),
            ("sys/fs/cgroup/a.slice/memory.current", "2147483648\n"),
            (
                "sys/fs/cgroup/a.slice/memory.stat",
                "anon 1\nactive_file 5\ninactive_file 1073741824\n",
            ),
            ("sys/fs/cgroup/a.slice/b.scope/memory.max", "max\n"),
            ("sys/fs/cgroup/a.slice/b.scope/memory.current", "1\n"),
        ];
        assert_eq!(available(&files), (2 * GIB, true));
    }

    #[test]
    fn version_1_is_read_where_version_2_has_no_memory() {
        let files = [
            (
                "proc/self/mountinfo",
                "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
            ),
            ("proc/self/cgroup", "4:memory:/job\n3:cpuset:/\n0::/\n"),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n"),
            (
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes",
                "1073741824\n",
            ),
            (
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes",
                "536870912\n",
            ),
            (
                "sys/fs/cgroup/memory/job/memory.stat",
                "inactive_file 7\ntotal_inactive_file 0\n",
            ),
        ];
        assert_eq!(available(&files), (GIB / 2, true));
    }

    #[test]
    fn a_container_s_own_group_is_what_its_mount_shows() {
        // Without its own namespace the path is the host's.
        let files = [
            (
                "proc/self/mountinfo",
                "41 31 0:38 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
            ),
            ("proc/self/cgroup", "0::/docker/abc\n"),
            ("sys/fs/cgroup/memory.max", "2147483648\n"),
            ("sys/fs/cgroup/memory.current", "1073741824\n"),
        ];
        assert_eq!(available(&files), (GIB, true));
    }

    #[test]
    fn a_long_run_has_more_vms_than_processors() {
        assert_eq!(vms(2, 1), 1);
        assert_eq!(vms(2, 199), 2);
        assert_eq!(vms(2, 200), 3);
        assert_eq!(vms(1, 100), 2);
        assert_eq!(vms(8, 799), 8);
        assert_eq!(vms(8, 800), 10);
        assert_eq!(vms(0, 0), 0, "which becomes one");
    }

    #[test]
    fn vms_fit_with_what_belongs_to_them_and_one_always_does() {
        let of = |wanted, bytes, by_cgroup| {
            let available = Available { bytes, by_cgroup };
            Jobs::of(wanted, 2 * GIB, Some(available))
        };
        assert_eq!(of(3, 8 * GIB, false), Jobs::exactly(3), "2.25 GiB each");
        assert_eq!(of(1, GIB, false), Jobs::exactly(1));
        let two = of(8, 5 * GIB, false);
        assert_eq!(two.count, 2);
        let note = two.note.unwrap();
        assert!(
            note.starts_with(
                "2 VMs at once instead of 8: 5.00 GiB of memory are available, \
                 and a VM takes 2.25 GiB"
            ),
            "{note}"
        );
        let one = of(2, GIB, true);
        assert_eq!(one.count, 1);
        assert!(one.note.unwrap().contains("in this control group"));
        assert_eq!(Jobs::of(4, GIB, None), Jobs::exactly(4));
    }

    #[test]
    fn what_running_vms_have_not_touched_yet_is_kept_for_them() {
        let of = |bytes| Available {
            bytes,
            by_cgroup: false,
        };
        let vm = |resident| InUse {
            guest: 2 * GIB,
            resident,
        };
        assert!(one_more_fits(of(0), 2 * GIB, &[]), "one alone always");
        assert!(!one_more_fits(of(4 * GIB), 2 * GIB, &[vm(0)]));
        assert!(one_more_fits(of(4 * GIB), 2 * GIB, &[vm(GIB)]));
        assert!(one_more_fits(of(5 * GIB), 2 * GIB, &[vm(0)]));
        // Using more than requested takes nothing from the others.
        assert!(one_more_fits(of(2304 * MIB), 2 * GIB, &[vm(9 * GIB)]));
        // Each VM has the size that its kernel asks for.
        let small = InUse {
            guest: GIB / 2,
            resident: 0,
        };
        assert!(one_more_fits(of(4 * GIB), 2 * GIB, &[small]));
        assert!(!one_more_fits(of(4 * GIB), 4 * GIB, &[small]));
    }

    #[test]
    fn the_resident_memory_of_a_process_is_read() {
        let (_dir, host) = host(&[("proc/7/status", "Name:\tqemu\nVmRSS:\t    2048 kB\n")]);
        assert_eq!(host.resident(Pid::from_raw(7)), Some(2 * MIB));
        assert_eq!(host.resident(Pid::from_raw(8)), None);
        assert!(Host::here().resident(Pid::this()).is_some());
    }
}
