//! What every process of the guest inherits from PID 1: limits, priority, CPUs.

use guest_init::message::RemnantKind::Setting;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::unistd::Pid;
use rustix::process::{getpriority_process, setpriority_process};

use super::found::Found;
use crate::init::kept::{Kept, View};

const RESOURCES: [(Resource, &str); 16] = [
    (Resource::RLIMIT_AS, "RLIMIT_AS"),
    (Resource::RLIMIT_CORE, "RLIMIT_CORE"),
    (Resource::RLIMIT_CPU, "RLIMIT_CPU"),
    (Resource::RLIMIT_DATA, "RLIMIT_DATA"),
    (Resource::RLIMIT_FSIZE, "RLIMIT_FSIZE"),
    (Resource::RLIMIT_LOCKS, "RLIMIT_LOCKS"),
    (Resource::RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK"),
    (Resource::RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE"),
    (Resource::RLIMIT_NICE, "RLIMIT_NICE"),
    (Resource::RLIMIT_NOFILE, "RLIMIT_NOFILE"),
    (Resource::RLIMIT_NPROC, "RLIMIT_NPROC"),
    (Resource::RLIMIT_RSS, "RLIMIT_RSS"),
    (Resource::RLIMIT_RTPRIO, "RLIMIT_RTPRIO"),
    (Resource::RLIMIT_RTTIME, "RLIMIT_RTTIME"),
    (Resource::RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING"),
    (Resource::RLIMIT_STACK, "RLIMIT_STACK"),
];

#[derive(Debug)]
pub(super) struct Limits {
    /// `/proc/1/limits`: one read instead of sixteen system calls.
    file: Option<Kept>,
    text: Option<Vec<u8>>,
    resources: Vec<Option<(rlim_t, rlim_t)>>,
    nice: Option<i32>,
    cpus: Option<CpuSet>,
}

impl Limits {
    pub(super) fn take() -> Self {
        let file = View::of("/proc").and_then(|proc| proc.keep("1/limits"));
        Self {
            text: file.as_ref().and_then(Kept::read),
            file,
            resources: limits_now(),
            nice: getpriority_process(None).ok(),
            cpus: sched_getaffinity(Pid::from_raw(0)).ok(),
        }
    }

    pub(super) fn restore(&mut self, found: &mut Found) {
        let text = self.file.as_ref().and_then(Kept::read);
        if text != self.text || text.is_none() {
            let now = limits_now();
            for ((now, was), (resource, name)) in now.iter().zip(&self.resources).zip(RESOURCES) {
                if let (Some(now), Some((soft, hard))) = (now, was)
                    && now != &(*soft, *hard)
                {
                    let gone = setrlimit(resource, *soft, *hard).is_ok();
                    found.add(Setting, &format!("{name} of PID 1 to {}", now.0), gone);
                }
            }
            self.text = self.file.as_ref().and_then(Kept::read);
        }
        let nice = getpriority_process(None).ok();
        if let (Some(now), Some(was)) = (nice, self.nice)
            && now != was
        {
            let gone = setpriority_process(None, was).is_ok();
            found.add(Setting, &format!("priority of PID 1 to {now}"), gone);
        }
        let cpus = sched_getaffinity(Pid::from_raw(0)).ok();
        if let Some(was) = &self.cpus
            && cpus.as_ref() != Some(was)
        {
            let gone = sched_setaffinity(Pid::from_raw(0), was).is_ok();
            found.add(Setting, "CPUs of PID 1", gone);
        }
    }
}

fn limits_now() -> Vec<Option<(rlim_t, rlim_t)>> {
    RESOURCES
        .iter()
        .map(|(resource, _)| getrlimit(*resource).ok())
        .collect()
}
