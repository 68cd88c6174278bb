//! What a test leaves in its VM: undoes it before the next test, and names it.

use std::collections::{BTreeMap, BTreeSet};

use guest_init::message::{GuestEvent, JobId, Leftover, MAX_NAMED, Remnant, RemnantKind, Request};
use tokio::time::Instant;

use super::command::GUEST_REPLY;
use crate::vm::control::{Control, Error};

/// A job whose test has ended, and its sessions that kiln always ends.
pub(super) type OverJob = (JobId, BTreeSet<i32>);

/// Closes these jobs and lets the guest undo what outlives them; returns what the test caused.
/// Sends all requests at once: an answer costs milliseconds under emulation, in every test.
pub(super) async fn undo(control: &mut Control, jobs: Vec<OverJob>) -> Result<Vec<Remnant>, Error> {
    for (job, _) in &jobs {
        control.queue(&Request::CloseJob { job: *job })?;
    }
    control.send(&Request::Tidy).await?;
    let mut jobs = BTreeMap::from_iter(jobs);
    let deadline = Instant::now() + GUEST_REPLY;
    let mut all = Vec::new();
    loop {
        // Ignore the last output of its processes.
        match control.event(deadline, "a tidy guest").await? {
            GuestEvent::JobClosed { job, leftovers } => {
                if let Some(own) = jobs.remove(&job) {
                    all.extend(of_test(leftovers, &own));
                }
            }
            GuestEvent::Tidied { remnants, micros } => {
                tracing::debug!(micros, "the guest is tidy");
                all.extend(remnants);
                return Ok(all);
            }
            _ => {}
        }
    }
}

/// Which processes of a closed job its test left behind: `own` are the sessions that kiln always
/// ends.
pub(super) fn of_test(
    leftovers: Vec<Leftover>,
    own: &BTreeSet<i32>,
) -> impl Iterator<Item = Remnant> {
    leftovers
        .into_iter()
        .filter(|leftover| !leftover.killed || !own.contains(&leftover.session))
        .map(|leftover| Remnant {
            kind: RemnantKind::Process,
            name: leftover.comm,
            gone: leftover.killed,
        })
}

/// Declares the guest's present state clean.
pub(super) async fn take_stock(control: &mut Control) -> Result<(), Error> {
    control.send(&Request::TakeStock).await
}

/// Whether any of these could not be undone: then the VM is no longer clean.
pub(super) fn stay(remnants: &[Remnant]) -> bool {
    remnants.iter().any(|remnant| !remnant.gone)
}

/// One line for each kind of leftover.
pub(super) fn notes(remnants: impl IntoIterator<Item = Remnant>) -> Vec<String> {
    let mut kinds: BTreeMap<(RemnantKind, bool), Vec<String>> = BTreeMap::new();
    for remnant in remnants {
        let names = kinds.entry((remnant.kind, remnant.gone)).or_default();
        names.push(remnant.name);
    }
    kinds
        .into_iter()
        .map(|((kind, gone), names)| {
            let several = names.len() > 1;
            let more = if names.len() >= MAX_NAMED {
                ", …"
            } else {
                ""
            };
            format!("{}: {}{more}", line(kind, several, gone), names.join(", "))
        })
        .collect()
}

fn line(kind: RemnantKind, several: bool, gone: bool) -> String {
    use RemnantKind as Kind;
    const DELETED: [&str; 2] = ["deleted now", "which cannot be deleted"];
    const SET_BACK: [&str; 2] = ["set back now", "which cannot be set back"];
    let (verb, what, ends) = match kind {
        Kind::Process => (
            "left behind",
            ["a process", "processes"],
            ["killed now", "which cannot be killed"],
        ),
        Kind::Mount => (
            "left behind",
            ["a mount", "mounts"],
            ["unmounted now", "which cannot be unmounted"],
        ),
        Kind::LostMount => (
            "took away",
            ["a mount", "mounts"],
            ["mounted again now", "missing from now on"],
        ),
        Kind::MountOptions => (
            "changed",
            ["the options of a mount", "the options of mounts"],
            SET_BACK,
        ),
        Kind::NetworkNamespace => (
            "left behind",
            ["a network namespace", "network namespaces"],
            DELETED,
        ),
        Kind::NftablesTable => (
            "left behind",
            ["an nftables table", "nftables tables"],
            DELETED,
        ),
        Kind::Setting => ("changed", ["a setting", "settings"], SET_BACK),
        Kind::File => (
            "changed",
            ["a file", "files"],
            ["restored now", "which cannot be restored"],
        ),
        Kind::NetworkDevice => (
            "left behind",
            ["a network device", "network devices"],
            DELETED,
        ),
        Kind::Network => ("changed", ["the network", "the network"], SET_BACK),
        Kind::Ipc => ("left behind", ["an IPC object", "IPC objects"], DELETED),
        Kind::Cgroup => ("left behind", ["a cgroup", "cgroups"], DELETED),
        Kind::Bpf => (
            "left behind",
            ["a BPF object", "BPF objects"],
            ["unpinned now", "which cannot be removed"],
        ),
        Kind::Tracing => (
            "changed",
            ["the kernel's tracing", "the kernel's tracing"],
            SET_BACK,
        ),
        Kind::BlockDevice => (
            "left behind",
            ["a block device", "block devices"],
            ["reset now", "which cannot be reset"],
        ),
        Kind::Swap => (
            "left on",
            ["swap", "swap"],
            ["turned off now", "which cannot be turned off"],
        ),
        Kind::Module => (
            "loaded",
            ["a module", "modules"],
            ["unloaded now", "which cannot be unloaded"],
        ),
        Kind::LostModule => (
            "unloaded",
            ["a module", "modules"],
            ["loaded again now", "missing from now on"],
        ),
    };
    let what = what[usize::from(several)];
    let end = ends[usize::from(!gone)];
    match verb.strip_suffix(" behind") {
        Some(verb) => format!("{verb} {what} behind, {end}"),
        None => format!("{verb} {what}, {end}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remnant(kind: RemnantKind, name: &str, gone: bool) -> Remnant {
        Remnant {
            kind,
            name: name.to_owned(),
            gone,
        }
    }

    #[test]
    fn each_kind_has_a_line_and_what_remains_has_another() {
        use RemnantKind::{LostMount, Mount, Network, Process, Setting};
        let all = [
            remnant(Process, "sleep", true),
            remnant(Mount, "tmpfs at /mnt", true),
            remnant(Process, "yes", true),
            remnant(Process, "stuck", false),
            remnant(LostMount, "debugfs at /sys/kernel/debug", true),
            remnant(Setting, "kernel.pid_max to 301", true),
            remnant(Network, "lo is down", false),
        ];
        assert_eq!(
            notes(all),
            [
                "left a process behind, which cannot be killed: stuck",
                "left processes behind, killed now: sleep, yes",
                "left a mount behind, unmounted now: tmpfs at /mnt",
                "took away a mount, mounted again now: debugfs at /sys/kernel/debug",
                "changed a setting, set back now: kernel.pid_max to 301",
                "changed the network, which cannot be set back: lo is down",
            ]
        );
        assert!(notes([]).is_empty());
        assert!(stay(&[
            remnant(Process, "a", true),
            remnant(Mount, "b", false)
        ]));
        assert!(!stay(&[remnant(Process, "a", true)]));
    }

    #[test]
    fn what_kiln_ends_itself_is_only_reported_if_it_cannot_be_killed() {
        let leftover = |comm: &str, session, killed| Leftover {
            pid: 1,
            comm: comm.to_owned(),
            session,
            killed,
        };
        let leftovers = vec![
            leftover("before", 7, true),
            leftover("stuck", 7, false),
            leftover("daemon", 8, true),
        ];
        let names: Vec<String> = of_test(leftovers, &BTreeSet::from([7]))
            .map(|remnant| remnant.name)
            .collect();
        assert_eq!(names, ["stuck", "daemon"]);
    }
}
