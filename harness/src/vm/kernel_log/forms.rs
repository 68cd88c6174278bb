//! The forms that identify kernel reports.
//!
//! From the sources of Linux 5.10 to 7.3; each form names its file.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::arch;
use super::form::Bare::{No, Yes};
use super::form::Role::{self, After, Cut, Dies, Ends, Opens, Panics, Precedes, Warns};
use super::form::{Form, form};

/// The first that fits counts: of these, of the words of one architecture
/// ([`arch::forms`]), and of [`REST`].
const FIRST: &[Form] = &[
    // kernel/panic.c: panic, print_oops_end_marker. `[#N]` counts oopses.
    form("oops", Ends, Yes, r"-*---\[ end (?:trace|Kernel panic)"),
    form("panic", Panics, Yes, "Kernel panic - not syncing"),
    // include/asm-generic/bug.h: CUT_HERE.
    form(
        "warning",
        Cut,
        Yes,
        r"-*------------\[ cut here \]------------",
    ),
    // lib/bug.c: __report_bug; before the line of die(), which has no kind.
    form("oops", Dies, Yes, r"[kK]ernel BUG at \S+:\d+!"),
    form("oops", Dies, No, "[kK]ernel BUG at "),
];

/// What any architecture has, less likely to be meant than [`FIRST`] and the words
/// of one architecture.
const REST: &[Form] = &[
    // kernel/sched/core.c: dump_task; kernel/exit.c: make_task_dead, do_exit.
    form(
        "oops",
        Precedes,
        No,
        "Thread overran stack, or stack corrupted",
    ),
    form(
        "oops",
        After,
        No,
        "Fixing recursive fault but reboot is needed",
    ),
    form(
        "oops",
        After,
        No,
        r"note: .+ exited with (?:preempt_count|irqs disabled)",
    ),
    // mm/kasan/report.c, mm/kfence/report.c, kernel/kcsan/report.c,
    // mm/kmsan/report.c, lib/ubsan.c.
    form("kasan", Opens, Yes, r"BUG: KASAN: [\w -]+(?: in |$)"),
    form("kfence", Opens, Yes, r"BUG: KFENCE: [\w -]+ in "),
    form("kcsan", Opens, Yes, r"BUG: KCSAN: [\w: -]+ in "),
    form("kmsan", Opens, Yes, r"BUG: KMSAN: [\w -]+ in "),
    form("kasan", Opens, No, "BUG: KASAN: "),
    form("kfence", Opens, No, "BUG: KFENCE: "),
    form("kcsan", Opens, No, "BUG: KCSAN: "),
    form("kmsan", Opens, No, "BUG: KMSAN: "),
    form("ubsan", Opens, Yes, r"UBSAN: [\w -]+ in \S+:\d+:\d+$"),
    form("ubsan", Opens, No, "UBSAN: "),
    // kernel/watchdog.c, watchdog_hld.c, watchdog_buddy.c,
    // arch/powerpc/kernel/watchdog.c, kernel/workqueue.c, kernel/smp.c.
    form(
        "soft lockup",
        Opens,
        Yes,
        r"watchdog: BUG: soft lockup - CPU#\d+ stuck for \d+s!",
    ),
    form(
        "hard lockup",
        Opens,
        Yes,
        r"(?:NMI )?watchdog: (?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu \d+",
    ),
    form(
        "hard lockup",
        Opens,
        No,
        "(?:NMI )?[wW]atchdog:? .*[hH]ard LOCKUP",
    ),
    form(
        "workqueue lockup",
        Opens,
        Yes,
        "BUG: workqueue lockup - pool",
    ),
    form("csd lock", Opens, No, r"csd: .+ non-responsive CSD lock"),
    // kernel/sched/core.c, lib/smp_processor_id.c.
    form(
        "atomic sleep",
        Opens,
        Yes,
        r"BUG: (?:sleeping function called from invalid context at \S+:\d+|scheduling while atomic: \S+/\d+/0x)",
    ),
    form(
        "atomic sleep",
        Opens,
        No,
        "BUG: (?:sleeping function called|scheduling |using .+ in preemptible|assuming (?:atomic|non migratable) context)",
    ),
    // kernel/locking/lockdep.c, spinlock_debug.c, rtmutex.c.
    form(
        "lockdep",
        Opens,
        Yes,
        r"WARNING: (?:possible (?:circular locking|recursive locking|irq lock inversion) |inconsistent lock state$|bad (?:unlock balance|contention) detected!$|held lock freed!$|Nested lock was not taken$|suspicious RCU usage(?:\.|$)|lock held when returning to user space!$|\S+-safe -> \S+-unsafe lock order detected$)",
    ),
    form(
        "lockdep",
        Opens,
        No,
        r"WARNING: (?:possible |chain_key collision|.+ still has locks held!)|\[ ?(?:BUG|INFO): |INFO: trying to register non-static key|BUG: (?:MAX_|looking up invalid subclass|key .+ has not been registered|(?:spin|rw)lock .+ on CPU#)",
    ),
    // kernel/rcu/tree_stall.h, tree_exp.h, tasks.h.
    form(
        "rcu stall",
        Opens,
        Yes,
        r"(?:rcu: )?INFO: rcu\w* (?:self-)?detected (?:expedited )?stalls? on ",
    ),
    form(
        "rcu stall",
        Opens,
        No,
        r"(?:rcu: )?INFO: rcu\w* .*detected .*stall",
    ),
    // kernel/hung_task.c.
    form(
        "hung task",
        Opens,
        Yes,
        r"INFO: task .+:\d+ blocked.* for more than \d+ seconds",
    ),
    // lib/refcount.c, lib/list_debug.c, mm/usercopy.c, lib/debugobjects.c,
    // lib/string_helpers.c, include/linux/fortify-string.h.
    form("refcount", Precedes, No, "refcount_t: "),
    form(
        "list corruption",
        Precedes,
        No,
        r"list_(?:add|del)\w* corruption",
    ),
    form(
        "usercopy",
        Precedes,
        Yes,
        "usercopy: Kernel memory (?:exposure|overwrite) attempt detected ",
    ),
    form(
        "odebug",
        Precedes,
        No,
        "ODEBUG: (?:.+ object|object .+ annotated)",
    ),
    form(
        "fortify",
        Precedes,
        No,
        r"(?:\w+: )?detected (?:buffer overflow|field-spanning write|\w+ overflow)",
    ),
    // kernel/bpf/verifier.c: verifier_bug, reg_bounds_sanity_check.
    form(
        "bpf",
        Precedes,
        No,
        "verifier (?:backtracking )?bug|REG INVARIANTS VIOLATION|rqspinlock: |.*AA or ABBA deadlock detected",
    ),
    // mm/page_alloc.c: bad_page, warn_alloc; mm/memory.c, kernel/fork.c,
    // mm/page_poison.c, mm/filemap.c.
    form(
        "bad page",
        Opens,
        Yes,
        r"BUG: Bad page (?:state|map|cache) in process .+ (?:pfn|pte):",
    ),
    form(
        "bad page",
        Opens,
        No,
        "BUG: (?:Bad page |Bad rss-counter|non-zero pgtables_bytes)|pagealloc: (?:memory corruption|single bit error)",
    ),
    form(
        "allocation failure",
        Opens,
        No,
        r".+: page allocation failure: order:\d+, mode:0x[0-9a-f]+\((?:[A-Z_|]+\|)?GFP_(?:ATOMIC|NOWAIT)",
    ),
    // mm/slub.c: slab_bug; mm/slab.c.
    form(
        "slab",
        Opens,
        Yes,
        r"BUG \S.* \((?:Not tainted|Tainted: .+)\): ",
    ),
    form("slab", Opens, No, r"Slab corruption \("),
    // mm/kmemleak.c prints this at level `info`.
    form(
        "kmemleak",
        Opens,
        Yes,
        r"kmemleak: \d+ new suspected memory leaks ",
    ),
    // fs/sysfs/dir.c, net/core/dev.c, fs/super.c.
    form(
        "sysfs",
        Opens,
        Yes,
        "sysfs: cannot create duplicate filename '",
    ),
    form(
        "netdevice",
        Opens,
        Yes,
        r"unregister_netdevice: waiting for \S+ to become free",
    ),
    form("bug", Opens, No, "VFS: Busy inodes after unmount of "),
    // kernel/panic.c: __warn; from 6.19 on with the file first.
    form("warning", Warns, Yes, r"WARNING: CPU: \d+ PID: \d+ at "),
    form(
        "warning",
        Warns,
        Yes,
        r"WARNING: (?:\S+:\d+ )?at .+, CPU#\d+: ",
    ),
    // All other lines like this, except HARMLESS ones.
    form("bug", Opens, No, "BUG: "),
    form("oops", Dies, No, "Oops: "),
    form("warning", Opens, No, "WARNING: "),
];

/// Lines that begin like a report but are not one: advice on settings, and clocks, which stall when
/// a host is busy; [`arch::harmless`] has more. From fs/namespace.c, init/main.c,
/// kernel/time/timekeeping.c, kernel/workqueue.c, security/tomoyo,
/// drivers/video/fbdev/core/fbcon.c.
const HARMLESS: &[&str] = &[
    "[tT]he mand mount option",
    "'bootconfig' found",
    "Flushing system-wide workqueues",
    "fbcon: ",
    "Domain '",
    "kernel not compiled with",
    "timekeeping: ",
    "(?:Under|Over)flow in clocksource",
];

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: &'static str,
    pub(super) role: Role,
}

struct Compiled {
    /// In the order of `set`.
    forms: Vec<&'static Form>,
    set: RegexSet,
    harmless: Regex,
}

/// All forms, the one to prefer first.
fn forms() -> impl Iterator<Item = &'static Form> {
    FIRST.iter().chain(arch::forms()).chain(REST)
}

static COMPILED: LazyLock<Option<Compiled>> = LazyLock::new(|| {
    let anchored = forms().map(|form| format!("^(?:{})", form.regex));
    let harmless: Vec<&str> = HARMLESS.iter().copied().chain(arch::harmless()).collect();
    let harmless = format!("^WARNING: (?:{})", harmless.join("|"));
    Some(Compiled {
        forms: forms().collect(),
        set: RegexSetBuilder::new(anchored).unicode(false).build().ok()?,
        harmless: RegexBuilder::new(&harmless).unicode(false).build().ok()?,
    })
});

/// The form of a message, if it has one. `stamped`: it has a timestamp.
pub(super) fn form_of(message: &str, stamped: bool) -> Option<Found> {
    let compiled = COMPILED.as_ref()?;
    let matches = compiled.set.matches(message.as_bytes());
    let form = matches
        .iter()
        .filter_map(|index| compiled.forms.get(index))
        .find(|form| stamped || form.bare == Yes)?;
    (form.role != Opens || !compiled.harmless.is_match(message.as_bytes())).then_some(Found {
        kind: form.kind,
        role: form.role,
    })
}

/// Text that only the kernel prints, anywhere in a line without a timestamp: a program may have
/// begun the line.
pub(super) fn kernel_words(line: &str) -> Option<&str> {
    const WORDS: [&str; 3] = [
        "------------[ cut here ]------------",
        "---[ end ",
        "Kernel panic - not syncing: ",
    ];
    let at = WORDS.iter().filter_map(|words| line.find(words)).min()?;
    line.get(at..)
}

#[cfg(test)]
#[path = "forms_tests.rs"]
mod tests;
