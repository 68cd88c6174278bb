//! What is wanted of a kernel's configuration, by whom, and what a kernel without it costs.
//!
//! Names and dependencies are those of the Kconfig files of Linux 6.1; versions are those whose
//! Kconfig files had an option first.

use serde::Serialize;

/// Who wants an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WantedBy {
    /// kiln itself, to boot and to share files.
    Kiln,
    /// bpftrace and its tests.
    Bpftrace,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Built in, or a module that kiln loads.
    On,
    /// A module, which tests look for.
    Module,
    /// Off.
    Off,
}

/// An option that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    /// Its name, without `CONFIG_`.
    pub option: &'static str,
    /// Who wants it.
    pub by: WantedBy,
    /// What is wanted.
    pub wanted: Wanted,
    /// The first version of Linux that has it: major and minor.
    pub since: Option<(u64, u64)>,
    /// The first version that no longer has it.
    pub until: Option<(u64, u64)>,
    /// Other options that it depends on; with `!` before it, one that must be off.
    pub needs: &'static [&'static str],
    /// Options that together do as well.
    pub or: &'static [&'static str],
    /// What a kernel without it costs.
    pub cost: &'static str,
    /// So usual that it is worth a word only if it is missing.
    pub usual: bool,
}

impl Want {
    const fn new(by: WantedBy, option: &'static str, cost: &'static str) -> Self {
        Self {
            option,
            by,
            wanted: Wanted::On,
            since: None,
            until: None,
            needs: &[],
            or: &[],
            cost,
            usual: false,
        }
    }

    const fn since(mut self, major: u64, minor: u64) -> Self {
        self.since = Some((major, minor));
        self
    }

    const fn until(mut self, major: u64, minor: u64) -> Self {
        self.until = Some((major, minor));
        self
    }

    const fn needs(mut self, needs: &'static [&'static str]) -> Self {
        self.needs = needs;
        self
    }

    const fn or(mut self, or: &'static [&'static str]) -> Self {
        self.or = or;
        self
    }

    const fn module(mut self) -> Self {
        self.wanted = Wanted::Module;
        self
    }

    const fn off(mut self) -> Self {
        self.wanted = Wanted::Off;
        self
    }

    const fn usual(mut self) -> Self {
        self.usual = true;
        self
    }

    /// Whether a version of Linux, or the newest, has the option.
    pub fn is_in(&self, version: Option<(u64, u64)>) -> bool {
        let Some(version) = version else {
            return self.until.is_none();
        };
        self.since.is_none_or(|since| version >= since)
            && self.until.is_none_or(|until| version < until)
    }
}

const fn kiln(option: &'static str, cost: &'static str) -> Want {
    Want::new(WantedBy::Kiln, option, cost)
}

const fn bpftrace(option: &'static str, cost: &'static str) -> Want {
    Want::new(WantedBy::Bpftrace, option, cost)
}

const NO_GUEST: &str = "no guest starts";
const PROGRAMS: &str = "programs that use it fail";

/// Everything that is wanted, in the order of tables and fragments.
pub static WANTS: &[Want] = &[
    kiln("64BIT", "kiln boots 64-bit kernels only"),
    kiln("MODULES", "only what is built in can be used"),
    kiln(
        "BLK_DEV_INITRD",
        "no guest starts: guest-init is in an initramfs, which is not compressed",
    ),
    kiln("BINFMT_ELF", NO_GUEST).usual(),
    kiln("PROC_FS", NO_GUEST).usual(),
    kiln("SYSFS", NO_GUEST).usual(),
    kiln("SIGNALFD", NO_GUEST).usual(),
    kiln("TMPFS", NO_GUEST).needs(&["SHMEM"]),
    kiln(
        "DEVTMPFS",
        "devices have only the nodes that guest-init makes",
    ),
    kiln("UNIX98_PTYS", NO_GUEST).needs(&["TTY"]).usual(),
    kiln("CGROUPS", NO_GUEST),
    kiln(
        "ACPI",
        "virtio needs PCI and the machine q35; a guest ends only by force",
    )
    .needs(&["PCI"]),
    kiln(
        "SERIAL_8250_CONSOLE",
        "the console is on hvc0: what the kernel says before its modules are loaded is lost",
    )
    .needs(&["TTY", "PRINTK", "SERIAL_8250"]),
    kiln("PRINTK", "the kernel's reports are not seen").usual(),
    kiln(
        "VIRTIO_CONSOLE",
        "the control port is the second serial port",
    )
    .needs(&["TTY", "VIRTIO_MENU"]),
    kiln("VIRTIO_MMIO", "virtio goes by PCI")
        .needs(&["VIRTIO_MENU"])
        .or(&["VIRTIO_PCI"]),
    kiln(
        "VIRTIO_PCI",
        "`--transport pci` and `--machine q35` cannot be had",
    )
    .needs(&["PCI", "VIRTIO_MENU"])
    .or(&["VIRTIO_MMIO"]),
    kiln("PCI_MMCONFIG", "virtio by PCI needs the machine q35")
        .needs(&["PCI", "ACPI"])
        .or(&["VIRTIO_MMIO"]),
    kiln("FUSE_FS", "directories come by 9p, which is slower").or(&NINE_P),
    kiln("VIRTIO_FS", "directories come by 9p, which is slower")
        .since(5, 4)
        .needs(&["FUSE_FS"])
        .or(&NINE_P),
    kiln("NET_9P_VIRTIO", "`--share 9p` cannot be had")
        .needs(&["NET", "NET_9P", "VIRTIO_MENU"])
        .or(&VIRTIOFS),
    kiln("9P_FS", "`--share 9p` cannot be had")
        .needs(&["NETWORK_FILESYSTEMS", "NET_9P"])
        .or(&VIRTIOFS),
    kiln(
        "OVERLAY_FS",
        "only /tmp, /etc, the working directory and a few others can be written to",
    ),
    kiln(
        "PVH",
        "boots a second slower: the guest unpacks the kernel itself",
    )
    .since(5, 0)
    .needs(&["HYPERVISOR_GUEST"]),
    kiln("SMP", "a guest has one vCPU").usual(),
    kiln("NET", PROGRAMS).usual(),
    kiln("UNIX", PROGRAMS).needs(&["NET"]).usual(),
    kiln("INET", "no network, not even lo")
        .needs(&["NET"])
        .usual(),
    kiln("BINFMT_SCRIPT", "scripts do not start by their first line").usual(),
    kiln("MULTIUSER", PROGRAMS).usual(),
    kiln("FUTEX", "programs with threads fail").usual(),
    kiln("EPOLL", PROGRAMS).usual(),
    kiln("EVENTFD", PROGRAMS).usual(),
    kiln("TIMERFD", PROGRAMS).usual(),
    kiln("POSIX_TIMERS", PROGRAMS).usual(),
    kiln("FILE_LOCKING", PROGRAMS).usual(),
    kiln("INOTIFY_USER", PROGRAMS).usual(),
    kiln("ADVISE_SYSCALLS", PROGRAMS).usual(),
    kiln("PROC_SYSCTL", "no sysctls")
        .until(7, 3)
        .needs(&["PROC_FS"])
        .usual(),
    bpftrace("BPF_SYSCALL", "bpftrace does not run"),
    bpftrace("PERF_EVENTS", "bpftrace does not run"),
    bpftrace("BPF_EVENTS", "bpftrace does not run").needs(&[
        "BPF_SYSCALL",
        "PERF_EVENTS",
        "KPROBE_EVENTS",
    ]),
    bpftrace("BPF_JIT", "no fentry and fexit, and slower programs").needs(&["NET"]),
    bpftrace(
        "DEBUG_FS",
        "versions of bpftrace that look for tracefs below it find none",
    ),
    bpftrace("FTRACE", "no kprobes, uprobes and tracepoints").needs(&["DEBUG_KERNEL"]),
    bpftrace("KPROBES", "no kprobe, kretprobe: their tests fail").needs(&["MODULES"]),
    bpftrace("KPROBE_EVENTS", "no kprobe, kretprobe: their tests fail").needs(&[
        "KPROBES",
        "PERF_EVENTS",
        "FTRACE",
    ]),
    bpftrace("KRETPROBES", "no kretprobe: its tests fail").needs(&["KPROBES"]),
    bpftrace("UPROBES", "no uprobe, uretprobe, usdt: their tests fail").needs(&["UPROBE_EVENTS"]),
    bpftrace(
        "UPROBE_EVENTS",
        "no uprobe, uretprobe, usdt: their tests fail",
    )
    .needs(&["PERF_EVENTS", "FTRACE"]),
    bpftrace(
        "FTRACE_SYSCALLS",
        "no tracepoint:syscalls: most tests of tracepoints fail",
    )
    .needs(&["FTRACE"]),
    bpftrace(
        "FUNCTION_TRACER",
        "no list of functions: wildcards in kprobe, and fentry, fail",
    )
    .needs(&["FTRACE"]),
    bpftrace(
        "DYNAMIC_FTRACE",
        "no list of functions: wildcards in kprobe, and fentry, fail",
    )
    .needs(&["FUNCTION_TRACER"]),
    bpftrace(
        "DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
        "no fentry and fexit: their tests fail",
    )
    .since(5, 5)
    .needs(&["DYNAMIC_FTRACE"]),
    bpftrace(
        "FPROBE",
        "wildcards attach one by one; tests of kprobe_multi skip",
    )
    .since(5, 18)
    .needs(&["FUNCTION_TRACER", "FUNCTION_GRAPH_TRACER"]),
    bpftrace(
        "DEBUG_INFO_BTF",
        "no fentry, no iter, no types of the kernel: tests of btf skip",
    )
    .since(5, 2)
    .needs(&[
        "BPF_SYSCALL",
        "DEBUG_KERNEL",
        "DEBUG_INFO",
        "DEBUG_INFO_DWARF4",
        "!DEBUG_INFO_REDUCED",
        "!DEBUG_INFO_SPLIT",
    ]),
    bpftrace(
        "DEBUG_INFO_BTF_MODULES",
        "no fentry and no types in modules",
    )
    .since(5, 11)
    .needs(&["DEBUG_INFO_BTF", "MODULES"]),
    bpftrace("KALLSYMS", "no names in kstack and ksym"),
    bpftrace("KALLSYMS_ALL", "no addresses of variables: kaddr() fails")
        .needs(&["KALLSYMS", "DEBUG_KERNEL"]),
    bpftrace("BPF_KPROBE_OVERRIDE", "no override(): its tests fail")
        .needs(&["FUNCTION_ERROR_INJECTION", "BPF_EVENTS"]),
    bpftrace(
        "IKHEADERS",
        "`#include <linux/…>` needs headers in the root",
    )
    .since(5, 2),
    bpftrace(
        "IKCONFIG",
        "the configuration cannot be read from the image",
    ),
    bpftrace(
        "IKCONFIG_PROC",
        "no /proc/config.gz; guests still have /boot/config-RELEASE if kiln knows it",
    )
    .needs(&["IKCONFIG", "PROC_FS"]),
    bpftrace(
        "CGROUP_BPF",
        "no BPF programs on cgroups; bpftrace has none",
    )
    .needs(&["CGROUPS", "BPF_SYSCALL"]),
    bpftrace("BPF_LSM", "no BPF programs on LSM hooks; bpftrace has none")
        .since(5, 7)
        .needs(&["BPF_EVENTS", "BPF_JIT", "SECURITY"]),
    bpftrace("PID_NS", "tests with NEW_PIDNS fail").needs(&["NAMESPACES"]),
    bpftrace("NF_TABLES", "tests that look for nf_tables with lsmod skip")
        .module()
        .needs(&["NETFILTER", "INET", "MODULES"]),
    bpftrace("XFS_FS", "tests that look for xfs with lsmod skip")
        .module()
        .needs(&["BLOCK", "MODULES"]),
    bpftrace("KVM", "tests that look for kvm with lsmod skip")
        .module()
        .needs(&["VIRTUALIZATION", "HIGH_RES_TIMERS", "MODULES"]),
    bpftrace(
        "LOCK_DOWN_KERNEL_FORCE_INTEGRITY",
        "programs may not write to the memory of processes",
    )
    .since(5, 4)
    .off(),
    bpftrace(
        "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY",
        "programs may not read the kernel's memory, and kprobes are refused: bpftrace does not run",
    )
    .since(5, 4)
    .off(),
];

const NINE_P: [&str; 2] = ["9P_FS", "NET_9P_VIRTIO"];
const VIRTIOFS: [&str; 2] = ["FUSE_FS", "VIRTIO_FS"];

/// The want for an option.
pub fn of(option: &str) -> Option<&'static Want> {
    WANTS.iter().find(|want| want.option == option)
}
