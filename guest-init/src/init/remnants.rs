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
use std::path::Path;
use std::time::{Duration, Instant};

use guest_init::message::{Remnant, RemnantKind};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::mount_options;
use super::mountinfo::{AllOptions, Mount, read_mounts};
use super::nftables::{self, Table};
use super::procfs::{children_of, stat};
use super::state::{State, shown};
use super::{boot, mounts};

/// Where ip-netns(8) keeps its names.
const NAMESPACES: &str = "/run/netns";
/// How long killed processes may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(2);

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn mount(fstype: &str, point: &str) -> Mount {
        (fstype.to_owned(), point.into())
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
}
