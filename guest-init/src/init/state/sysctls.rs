//! `/proc/sys`, and other writes to procfs and sysfs.

use guest_init::message::RemnantKind::Setting;
use rustix::fs::OFlags;

use super::events::{Events, Written};
use super::found::Found;
use super::settings;
use crate::init::kept::{Kept, View, text};

/// Checked after every test, because these break later tests: no process starts, bpftrace finds no
/// symbols, nothing may be traced. A test in a PID namespace can write to them through another
/// procfs, which is not watched.
const ALWAYS: &[&str] = &[
    "fs/file-max",
    "fs/nr_open",
    "kernel/core_pattern",
    "kernel/ftrace_enabled",
    "kernel/kptr_restrict",
    "kernel/modprobe",
    "kernel/modules_disabled",
    "kernel/panic_on_oops",
    "kernel/panic_on_warn",
    "kernel/perf_event_paranoid",
    "kernel/pid_max",
    "kernel/printk",
    "kernel/randomize_va_space",
    "kernel/sysrq",
    "kernel/threads-max",
    "kernel/unprivileged_bpf_disabled",
    "net/core/bpf_jit_enable",
    "net/core/bpf_jit_harden",
    "user/max_user_namespaces",
    "vm/nr_hugepages",
    "vm/overcommit_memory",
];

/// Checked after something was written. For a file in neither list the old value is unknown.
const WHEN_WRITTEN: &[&str] = &[
    "fs/aio-max-nr",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
    "fs/leases-enable",
    "fs/mqueue/msg_max",
    "fs/mqueue/msgsize_max",
    "fs/mqueue/queues_max",
    "fs/pipe-max-size",
    "fs/pipe-user-pages-soft",
    "fs/protected_fifos",
    "fs/protected_hardlinks",
    "fs/protected_regular",
    "fs/protected_symlinks",
    "fs/suid_dumpable",
    "kernel/bpf_stats_enabled",
    "kernel/core_pipe_limit",
    "kernel/core_uses_pid",
    "kernel/dmesg_restrict",
    "kernel/ftrace_dump_on_oops",
    "kernel/hung_task_panic",
    "kernel/hung_task_timeout_secs",
    "kernel/hung_task_warnings",
    "kernel/io_uring_disabled",
    "kernel/kexec_load_disabled",
    "kernel/keys/maxbytes",
    "kernel/keys/maxkeys",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/nmi_watchdog",
    "kernel/numa_balancing",
    "kernel/oops_limit",
    "kernel/panic",
    "kernel/panic_on_rcu_stall",
    "kernel/panic_print",
    "kernel/perf_cpu_time_max_percent",
    "kernel/perf_event_max_contexts_per_stack",
    "kernel/perf_event_max_sample_rate",
    "kernel/perf_event_max_stack",
    "kernel/perf_event_mlock_kb",
    "kernel/printk_delay",
    "kernel/printk_devkmsg",
    "kernel/printk_ratelimit",
    "kernel/printk_ratelimit_burst",
    "kernel/sched_autogroup_enabled",
    "kernel/sched_rt_period_us",
    "kernel/sched_rt_runtime_us",
    "kernel/sched_schedstats",
    "kernel/sem",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/softlockup_panic",
    "kernel/stack_tracer_enabled",
    "kernel/task_delayacct",
    "kernel/timer_migration",
    "kernel/traceoff_on_warning",
    "kernel/tracepoint_printk",
    "kernel/unprivileged_userns_clone",
    "kernel/warn_limit",
    "kernel/watchdog",
    "kernel/watchdog_thresh",
    "kernel/yama/ptrace_scope",
    "net/core/bpf_jit_kallsyms",
    "net/core/bpf_jit_limit",
    "net/core/default_qdisc",
    "net/core/rmem_default",
    "net/core/rmem_max",
    "net/core/somaxconn",
    "net/core/wmem_default",
    "net/core/wmem_max",
    "net/ipv4/conf/all/accept_local",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv4/conf/lo/accept_local",
    "net/ipv4/conf/lo/rp_filter",
    "net/ipv4/icmp_echo_ignore_all",
    "net/ipv4/ip_default_ttl",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ip_local_reserved_ports",
    "net/ipv4/ip_nonlocal_bind",
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ping_group_range",
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_ecn",
    "net/ipv4/tcp_fastopen",
    "net/ipv4/tcp_fin_timeout",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_syncookies",
    "net/ipv4/tcp_timestamps",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_wmem",
    "net/ipv6/bindv6only",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/disable_ipv6",
    "net/ipv6/conf/lo/disable_ipv6",
    "net/ipv6/ip_nonlocal_bind",
    "user/max_cgroup_namespaces",
    "user/max_inotify_instances",
    "user/max_inotify_watches",
    "user/max_ipc_namespaces",
    "user/max_mnt_namespaces",
    "user/max_net_namespaces",
    "user/max_pid_namespaces",
    "user/max_time_namespaces",
    "user/max_uts_namespaces",
    "vm/admin_reserve_kbytes",
    "vm/dirty_background_ratio",
    "vm/dirty_expire_centisecs",
    "vm/dirty_ratio",
    "vm/dirty_writeback_centisecs",
    "vm/legacy_va_layout",
    "vm/max_map_count",
    "vm/mmap_min_addr",
    "vm/mmap_rnd_bits",
    "vm/mmap_rnd_compat_bits",
    "vm/nr_overcommit_hugepages",
    "vm/oom_dump_tasks",
    "vm/oom_kill_allocating_task",
    "vm/overcommit_kbytes",
    "vm/overcommit_ratio",
    "vm/panic_on_oom",
    "vm/swappiness",
    "vm/unprivileged_userfaultfd",
    "vm/user_reserve_kbytes",
    "vm/vfs_cache_pressure",
];

/// Files that trigger an action instead of keeping a value, or that are compared elsewhere.
const HARMLESS: &[&str] = &[
    "fs/binfmt_misc/",
    "kernel/domainname",
    "kernel/hostname",
    "kernel/ns_last_pid",
    "kernel/random/",
    "net/ipv4/route/flush",
    "net/ipv6/route/flush",
    "vm/compact_memory",
    "vm/drop_caches",
    "vm/stat_refresh",
];

#[derive(Debug)]
pub(super) struct Sysctls {
    view: Option<View>,
    known: Vec<Known>,
    events: Events,
}

#[derive(Debug)]
struct Known {
    path: &'static str,
    value: Vec<u8>,
    /// Of those that are checked after every test.
    file: Option<Kept>,
}

impl Sysctls {
    pub(super) fn take() -> Self {
        let view = View::of("/proc");
        let mut sysctls = Self {
            known: Vec::new(),
            events: Events::watch(),
            view: None,
        };
        if let Some(view) = view {
            for path in ALWAYS.iter().chain(WHEN_WRITTEN) {
                let Some(file) = view.keep(&format!("sys/{path}")) else {
                    continue;
                };
                if let Some(value) = file.read() {
                    let file = ALWAYS.contains(path).then_some(file);
                    sysctls.known.push(Known { path, value, file });
                }
            }
            sysctls.view = Some(view);
        }
        sysctls
    }

    pub(super) fn restore(&mut self, found: &mut Found) {
        // Without fanotify, check them all.
        let written = self.events.take().unwrap_or(Written {
            paths: Vec::new(),
            more: true,
        });
        let Some(view) = &self.view else { return };
        let all = written.more || !written.paths.is_empty();
        for known in &self.known {
            let path = || format!("sys/{}", known.path);
            let now = match &known.file {
                Some(file) => file.read(),
                None if all => view.read(&path()),
                None => None,
            };
            let Some(now) = now.filter(|now| *now != known.value) else {
                continue;
            };
            view.write(&path(), OFlags::empty(), &known.value);
            let gone = view.read(&path()).as_ref() == Some(&known.value);
            let name = format!("{} to {}", named(known.path), text(&now));
            found.add(Setting, &name.replace('\t', " "), gone);
        }
        let others = written.paths.iter().filter_map(|path| self.unknown(path));
        for name in others {
            found.add(Setting, &name, false);
        }
    }

    /// What was written and can be neither compared nor ignored.
    fn unknown(&self, path: &str) -> Option<String> {
        if let Some(sysctl) = path.strip_prefix("/proc/sys/") {
            let passed = self.known.iter().any(|known| known.path == sysctl)
                || HARMLESS.iter().any(|harmless| sysctl.starts_with(harmless))
                // Belongs to a network device that no longer exists.
                || self.view.as_ref()?.stat(&format!("sys/{sysctl}")).is_none();
            return (!passed).then(|| named(sysctl));
        }
        let below = path.strip_prefix("/sys/")?;
        let passed = settings::is_compared(below)
            || is_harmless_in_sysfs(below)
            || !std::path::Path::new(path).exists();
        (!passed).then(|| below.to_owned())
    }
}

/// Of devices that are checked by other means, and requests for an event, which leave no state.
fn is_harmless_in_sysfs(path: &str) -> bool {
    path.ends_with("/uevent")
        || path.ends_with("/rescan")
        || path.starts_with("devices/virtual/net/")
        || path.starts_with("devices/virtual/block/")
        // Compared as vm.nr_hugepages, where it is of the usual size.
        || path == "kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
}

/// The name as in sysctl(8).
fn named(path: &str) -> String {
    path.replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_is_in_one_list_only_once() {
        let mut all: Vec<&str> = ALWAYS.iter().chain(WHEN_WRITTEN).copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|path| !path.starts_with('/')));
    }

    #[test]
    fn what_was_written_is_passed_over_only_if_it_is_known() {
        let sysctls = Sysctls {
            view: View::of("/proc"),
            known: vec![Known {
                path: "kernel/pid_max",
                value: b"1\n".to_vec(),
                file: None,
            }],
            events: Events::watch(),
        };
        let unknown = |path: &str| sysctls.unknown(path);
        assert_eq!(unknown("/proc/sys/kernel/pid_max"), None);
        assert_eq!(unknown("/proc/sys/vm/drop_caches"), None);
        assert_eq!(unknown("/proc/sys/net/ipv4/conf/kiln9/forwarding"), None);
        assert_eq!(unknown("/proc/12/comm"), None);
        let shown = unknown("/proc/sys/kernel/tainted");
        assert_eq!(shown.as_deref(), Some("kernel.tainted"));
        assert_eq!(unknown("/sys/devices/virtual/net/lo/uevent"), None);
        let shown = unknown("/sys/kernel/profiling");
        assert_eq!(
            shown.as_deref(),
            Some("kernel/profiling")
                .filter(|_| std::path::Path::new("/sys/kernel/profiling").exists())
        );
    }
}
