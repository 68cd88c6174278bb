//! A job: its cgroup, and the process names that the host awaits.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use guest_init::message::{Leftover, MAX_NAMED};

use super::cgroup::{Cgroup, comm};
use super::procfs::stat;

/// How often to look at a job's processes while the host awaits a name.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_millis(10);

/// How long killed processes may take to end. Only a process in uninterruptible sleep takes longer,
/// perhaps forever.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A job that is open.
#[derive(Debug)]
pub(crate) struct Job {
    cgroup: Cgroup,
    awaited: Vec<String>,
    /// Pids already reported for a name: two awaited processes of the same name must both be
    /// reported.
    told: BTreeSet<(String, i32)>,
    page_faults: bool,
}

impl Job {
    pub(crate) fn new(cgroup: Cgroup) -> Self {
        Self {
            cgroup,
            awaited: Vec::new(),
            told: BTreeSet::new(),
            page_faults: false,
        }
    }

    /// For a process that joins.
    pub(crate) fn procs(&self) -> std::io::Result<std::fs::File> {
        self.cgroup.procs()
    }

    /// Starts to await a process of this name.
    pub(crate) fn watch(&mut self, name: String) {
        self.awaited.push(name);
    }

    /// Whether to cause page faults for its processes.
    pub(crate) fn want_page_faults(&mut self) {
        self.page_faults = true;
    }

    /// Whether they are.
    pub(crate) fn wants_page_faults(&self) -> bool {
        self.page_faults
    }

    /// Whether the host awaits a name.
    pub(crate) fn watching(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Awaited names that have appeared since the last look, with their pids.
    pub(crate) fn seen(&mut self) -> Vec<(String, i32)> {
        if self.awaited.is_empty() {
            return Vec::new();
        }
        let mut seen = Vec::new();
        for pid in self.cgroup.pids() {
            let Some(name) = comm(pid) else { continue };
            if let Some(at) = self.awaited.iter().position(|awaited| *awaited == name)
                && self.told.insert((name, pid))
            {
                seen.push((self.awaited.remove(at), pid));
            }
        }
        seen
    }

    /// Kills and returns what is left. `reap` collects zombies, which would otherwise stay in the
    /// cgroup's list.
    pub(crate) fn close(self, mut reap: impl FnMut()) -> Vec<Leftover> {
        reap();
        // This is enough if everything has ended.
        if self.cgroup.remove_empty() {
            return Vec::new();
        }
        let mut leftovers: Vec<Leftover> = self
            .cgroup
            .pids()
            .into_iter()
            .filter_map(|pid| Some((pid, stat(pid).filter(|stat| !stat.exiting)?)))
            .map(|(pid, stat)| Leftover {
                pid,
                comm: stat.comm,
                session: stat.session,
                killed: true,
            })
            .take(MAX_NAMED)
            .collect();
        let deadline = Instant::now() + KILL_DEADLINE;
        loop {
            let alive = self.cgroup.pids();
            if alive.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                for leftover in &mut leftovers {
                    leftover.killed = !alive.contains(&leftover.pid);
                }
                return leftovers;
            }
            self.cgroup.kill();
            std::thread::sleep(Duration::from_millis(1));
            reap();
        }
        if let Err(error) = self.cgroup.remove() {
            super::failure::console(&format!("remove the cgroup of a job: {error}"));
        }
        leftovers
    }
}
