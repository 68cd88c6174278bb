//! The cgroup of a job: lists its processes, and kills them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use guest_init::message::JobId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CGROUPS: &str = "/sys/fs/cgroup";

/// A cgroup of version 2, removed by [`Cgroup::remove`].
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes the cgroup of a job.
    pub(crate) fn create(job: JobId) -> std::io::Result<Self> {
        let path = PathBuf::from(CGROUPS).join(format!("kiln.{job}"));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    /// Its `cgroup.procs`, open for writing: a process that writes `0` joins.
    pub(crate) fn procs(&self) -> std::io::Result<File> {
        OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.procs"))
    }

    /// Pids of its live processes, those of child cgroups included.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        let mut directories = vec![self.path.clone()];
        while let Some(directory) = directories.pop() {
            let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
            directories.extend(children(&directory));
        }
        // 0 means a process of another pid namespace.
        pids.retain(|&pid| pid > 1);
        pids
    }

    /// Sends SIGKILL to all of them. `cgroup.kill` came with Linux 5.14 (kernel
    /// doc, admin-guide/cgroup-v2); before that, one by one.
    pub(crate) fn kill(&self) {
        let all_at_once = OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.kill"))
            .and_then(|mut file| file.write_all(b"1"));
        if all_at_once.is_err() {
            for pid in self.pids() {
                // It may have ended already.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    /// Removes the cgroup if no process is in it and no cgroup below it
    /// (kernel doc, admin-guide/cgroup-v2: any other is busy).
    pub(crate) fn remove_empty(&self) -> bool {
        fs::remove_dir(&self.path).is_ok()
    }

    /// Removes the cgroup and all that tests created below it.
    pub(crate) fn remove(self) -> std::io::Result<()> {
        remove_tree(&self.path)
    }
}

fn remove_tree(directory: &std::path::Path) -> std::io::Result<()> {
    for child in children(directory) {
        remove_tree(&child)?;
    }
    fs::remove_dir(directory)
}

fn children(directory: &std::path::Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// `/proc/PID/comm`; `None` if the process has ended.
pub(crate) fn comm(pid: i32) -> Option<String> {
    let comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(comm.trim_ascii_end()).into_owned())
}
