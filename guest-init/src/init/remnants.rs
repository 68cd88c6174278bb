//! What outlives closed jobs: processes that left their cgroup, mounts, named network namespaces,
//! nftables tables. [`super::state`] handles everything else.
//!
//! A check costs a read, a directory listing, a poll and, with nf_tables, a request to the kernel.
//! More is done only if something is found.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guest_init::message::{Remnant, RemnantKind};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::mount_options::{self, AllOptions, Options};
use super::nftables::{self, Table};
use super::procfs::{children_of, stat};
use super::state::{State, shown};
use super::{boot, mounts};

/// Where ip-netns(8) keeps its names.
const NAMESPACES: &str = "/run/netns";
/// How long killed processes may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(2);

/// A mount: filesystem type and mount point. Not its id: a filesystem that was unmounted and
/// mounted again is not a remnant.
pub(super) type Mount = (String, PathBuf);

/// The state when the guest was last clean.
#[derive(Debug)]
pub(crate) struct Stock {
    /// `mountinfo` and `children` of PID 1, kept open so that a mount over `/proc` cannot hide
    /// them. `None` if the kernel lacks the file: `children` needs `CONFIG_PROC_CHILDREN`.
    mountinfo: Option<File>,
    children: Option<File>,
    mounts: Vec<Mount>,
    options: AllOptions,
    namespaces: BTreeSet<OsString>,
    tables: BTreeSet<Table>,
    /// nf_tables is built into the kernel.
    nftables_built_in: bool,
    /// Processes that cannot be killed and were already reported.
    stuck: BTreeSet<i32>,
    state: State,
}

impl Stock {
    /// Records the state for the first time.
    pub(crate) fn take() -> Self {
        // Starting modprobe to find out would cost a tenth of a second under emulation. If
        // nf_tables appears later, it is a module, which is visible.
        let tables = boot::without_modprobe(nftables::tables);
        let mut stock = Self {
            mountinfo: File::open("/proc/1/mountinfo").ok(),
            children: File::open("/proc/1/task/1/children").ok(),
            mounts: Vec::new(),
            options: AllOptions::new(),
            namespaces: BTreeSet::new(),
            nftables_built_in: tables.is_some() && !nftables::module_loaded(),
            tables: tables.unwrap_or_default(),
            stuck: BTreeSet::new(),
            state: State::take(),
        };
        stock.look_at_mounts();
        stock
    }

    /// Records the state again: a command from the host has changed the guest.
    pub(crate) fn again(&mut self) {
        self.tables = boot::without_modprobe(nftables::tables).unwrap_or_default();
        self.look_at_mounts();
        self.state.again();
    }

    /// Accepts the clock as right: the host has set it.
    pub(crate) fn clock_was_set(&mut self) {
        self.state.clock_was_set();
    }

    fn look_at_mounts(&mut self) {
        (self.mounts, self.options) = self.mounts_now().unwrap_or_default();
        self.namespaces = namespaces_now();
    }

    /// Kills children of PID 1: every process that left its cgroup is a descendant of one. No job
    /// may be open. `reap` collects those that have ended.
    pub(crate) fn end_processes(&mut self, mut reap: impl FnMut()) -> Vec<Remnant> {
        let mut found: BTreeMap<i32, String> = BTreeMap::new();
        let deadline = Instant::now() + KILL_DEADLINE;
        reap();
        loop {
            let mut alive = self.children_now();
            alive.retain(|pid| !self.stuck.contains(pid));
            let late = Instant::now() > deadline;
            if alive.is_empty() || late {
                self.stuck.extend(&alive);
                let remnant = |(pid, name): (i32, String)| Remnant {
                    kind: RemnantKind::Process,
                    gone: !alive.contains(&pid),
                    name,
                };
                return found.into_iter().map(remnant).collect();
            }
            for &pid in &alive {
                if let Some(stat) = stat(pid).filter(|stat| !stat.exiting) {
                    found.entry(pid).or_insert(stat.comm);
                }
                // Its own children become ours, and the next round finds them.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(1));
            reap();
        }
    }

    /// Undoes what has changed; with jobs open, only mounts, network namespaces
    /// and nftables.
    pub(crate) fn restore(&mut self, jobs_open: bool) -> Vec<Remnant> {
        let mut remnants = self.restore_mounts();
        remnants.extend(self.restore_tables());
        if !jobs_open {
            remnants.extend(self.state.restore());
        }
        remnants
    }

    fn restore_mounts(&mut self) -> Vec<Remnant> {
        let mut remnants = Vec::new();
        for name in namespaces_now().difference(&self.namespaces) {
            let path = Path::new(NAMESPACES).join(name);
            unmount(&path);
            remnants.push(Remnant {
                kind: RemnantKind::NetworkNamespace,
                gone: fs::remove_file(&path).is_ok(),
                name: shown(&name.to_string_lossy()),
            });
        }
        if remnants.is_empty() && !self.mounts_changed() {
            return remnants;
        }
        let Some((now, options)) = self.mounts_now() else {
            return remnants;
        };
        // The latest first: it may be mounted on an earlier one.
        for (fstype, point) in surplus(&now, &self.mounts).into_iter().rev() {
            // ip-netns's own mount, for all later names.
            if point == Path::new(NAMESPACES) {
                continue;
            }
            remnants.push(Remnant {
                kind: RemnantKind::Mount,
                gone: unmount(&point),
                name: shown(&format!("{fstype} at {}", point.display())),
            });
        }
        for (fstype, point) in surplus(&self.mounts, &now) {
            let own = mounts::SYSTEM
                .iter()
                .find(|entry| entry.fstype == fstype && Path::new(entry.target) == point);
            // For example a namespace that was deleted later, which nobody misses.
            if own.is_none() && fstype == "nsfs" {
                continue;
            }
            remnants.push(Remnant {
                kind: RemnantKind::LostMount,
                gone: own.is_some_and(|entry| boot::mount_entry(entry).is_ok()),
                name: shown(&format!("{fstype} at {}", point.display())),
            });
        }
        if let Some(mountinfo) = &mut self.mountinfo {
            remnants.extend(mount_options::restore(&self.options, &options, || {
                read_again(mountinfo)
            }));
        }
        if !remnants.is_empty() || now.len() != self.mounts.len() {
            self.look_at_mounts();
        }
        remnants
    }

    /// Deletes nftables tables. Last, because the sysfs that shows the module may have been
    /// unmounted.
    fn restore_tables(&mut self) -> Vec<Remnant> {
        if !self.nftables_built_in && !nftables::module_loaded() {
            self.tables.clear();
            return Vec::new();
        }
        let Some(now) = nftables::tables() else {
            return Vec::new();
        };
        let new: Vec<&Table> = now.difference(&self.tables).collect();
        if new.is_empty() {
            self.tables = now;
            return Vec::new();
        }
        for table in &new {
            // The check below shows whether it worked.
            let _ = nftables::delete(table);
        }
        let left = nftables::tables().unwrap_or_default();
        let remnants = new
            .into_iter()
            .map(|table| Remnant {
                kind: RemnantKind::NftablesTable,
                gone: !left.contains(table),
                name: shown(&table.to_string()),
            })
            .collect();
        self.tables = left;
        remnants
    }

    /// Whether anything was mounted or unmounted since the last call. poll(2) reports this:
    /// proc_pid_mountinfo(5) documents it for `mounts`, and the kernel does it for both files
    /// (fs/proc_namespace.c).
    fn mounts_changed(&self) -> bool {
        let Some(mountinfo) = &self.mountinfo else {
            return true;
        };
        let mut fds = [PollFd::new(mountinfo.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(0) => false,
            // On an error, check anyway.
            _ => true,
        }
    }

    fn mounts_now(&mut self) -> Option<(Vec<Mount>, AllOptions)> {
        Some(read_mounts(&read_again(self.mountinfo.as_mut()?)?))
    }

    fn children_now(&mut self) -> Vec<i32> {
        let Some(children) = &mut self.children else {
            let any = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            return match waitid(Id::All, any) {
                Err(Errno::ECHILD) => Vec::new(),
                _ => children_of(1),
            };
        };
        String::from_utf8_lossy(&read_again(children).unwrap_or_default())
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }
}

fn read_again(file: &mut File) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    file.rewind().ok()?;
    file.read_to_end(&mut text).ok()?;
    Some(text)
}

fn namespaces_now() -> BTreeSet<OsString> {
    fs::read_dir(NAMESPACES)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .collect()
}

/// Unmounts the topmost mount of a mount point; one in use vanishes with its last user.
fn unmount(point: &Path) -> bool {
    umount2(point, MntFlags::empty())
        .or_else(|_| umount2(point, MntFlags::MNT_DETACH))
        .is_ok()
}

/// What is in `these` but not in `those`, in order.
fn surplus(these: &[Mount], those: &[Mount]) -> Vec<Mount> {
    let mut left = those.to_vec();
    let mut new = Vec::new();
    for mount in these {
        match left.iter().position(|known| known == mount) {
            Some(at) => drop(left.swap_remove(at)),
            None => new.push(mount.clone()),
        }
    }
    new
}

/// All mounts of `mountinfo`, in order, and their options.
pub(super) fn read_mounts(text: &[u8]) -> (Vec<Mount>, AllOptions) {
    let mut mounts = Vec::new();
    let mut all = AllOptions::new();
    for (mount, options) in text.split(|&byte| byte == b'\n').filter_map(parse) {
        // Mounted by the kernel as soon as somebody looks there.
        if mount.1 != Path::new("/sys/kernel/debug/tracing") {
            all.push((mount.clone(), options));
            mounts.push(mount);
        }
    }
    (mounts, all)
}

/// A line of `mountinfo`, proc_pid_mountinfo(5): the mount point is the fifth
/// field and the options the sixth, the type follows a lone `-`, and the options
/// of the filesystem come last.
fn parse(line: &[u8]) -> Option<(Mount, Options)> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let point = fields.get(4)?;
    let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let text = |at: usize| Some(String::from_utf8_lossy(fields.get(at)?).into_owned());
    let mount = (text(dash + 1)?, OsString::from_vec(unescaped(point)).into());
    let options = Options {
        mount: text(5)?,
        filesystem: text(dash + 3).unwrap_or_default(),
    };
    Some((mount, options))
}

/// Space, tab, newline and backslash are written as three octal digits.
pub(super) fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let digits = rest.get(..3).filter(|_| first == b'\\');
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(byte.unwrap_or(first));
        text = if byte.is_some() {
            rest.get(3..).unwrap_or_default()
        } else {
            rest
        };
    }
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn mount(fstype: &str, point: &str) -> Mount {
        (fstype.to_owned(), point.into())
    }

    #[test]
    fn a_mount_is_read_with_its_blanks_and_any_number_of_tags() {
        let line = b"36 35 98:0 / /a\\040b rw,noatime shared:1 master:2 - tmpfs none rw";
        let (read, options) = parse(line).unwrap();
        assert_eq!(read, mount("tmpfs", "/a b"));
        assert_eq!(options.mount, "rw,noatime");
        assert_eq!(options.filesystem, "rw");
        let line = b"36 35 98:0 / /a\\ rw - ext4 /dev/vda rw";
        assert_eq!(parse(line).unwrap().0, mount("ext4", "/a\\"));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"36 35 98:0 / /a rw"), None);
    }

    #[test]
    fn a_second_mount_on_the_same_point_is_new_and_one_mounted_again_is_not() {
        let before = [mount("proc", "/proc"), mount("tmpfs", "/tmp")];
        let again = [mount("tmpfs", "/tmp"), mount("proc", "/proc")];
        assert!(surplus(&again, &before).is_empty());
        let twice = [before.as_slice(), &[mount("tmpfs", "/tmp")]].concat();
        assert_eq!(surplus(&twice, &before), [mount("tmpfs", "/tmp")]);
        assert_eq!(surplus(&before, &twice[..1]), [mount("tmpfs", "/tmp")]);
    }

    #[test]
    fn this_process_s_own_mounts_are_read() {
        let (mounts, _) = read_mounts(&fs::read("/proc/self/mountinfo").unwrap());
        assert!(
            mounts.iter().any(|(_, point)| point == Path::new("/proc")),
            "{mounts:?}"
        );
    }
}
