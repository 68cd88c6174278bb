//! The forms by which a report of the kernel is known.
//!
//! From the sources of Linux 5.10 to 7.3; each form names its file. What holds
//! for one architecture holds for all: a line is the same whoever prints it.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// What a line of a form means for the report that it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `cut here`: a report begins, and the next lines say which.
    Cut,
    /// A report of its own.
    Opens,
    /// What stands before a `BUG()`, a `WARN()` or an oops, and says why.
    Precedes,
    /// A line of an oops, which has several of these.
    Dies,
    /// The line of `WARN()`.
    Warns,
    /// The kernel's last words.
    Panics,
    /// Follows an oops.
    After,
    /// The end of a report.
    Ends,
}

/// Whether a line without a timestamp counts, which any program can print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bare {
    Yes,
    No,
}

struct Form {
    kind: &'static str,
    role: Role,
    bare: Bare,
    /// A regular expression, from the beginning of the message on.
    regex: &'static str,
}

const fn form(kind: &'static str, role: Role, bare: Bare, regex: &'static str) -> Form {
    Form {
        kind,
        role,
        bare,
        regex,
    }
}

/// What may stand behind `[#N]`: the kernel's build options, such as
/// ` PREEMPT(voluntary) SMP NOPTI`.
macro_rules! flags {
    () => {
        r":?(?: [A-Z][A-Z_0-9]*(?:\([a-z+]+\))?)*\s*$"
    };
}

use Bare::{No, Yes};
use Role::{After, Cut, Dies, Ends, Opens, Panics, Precedes, Warns};

/// The first that fits counts.
const FORMS: &[Form] = &[
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
    // die() of arch/x86/kernel/dumpstack.c (`divide error: 0000 [#1] SMP`, from
    // 6.10 on `Oops: divide error: 0000 [#1]`), of arm64 and arm
    // (`Internal error: Oops: 96000004 [#1]`), riscv (`Oops [#1]`), s390
    // (`Oops: 0004 ilc:2 [#1]`), powerpc (`Oops: …, sig: 11 [#1]`), mips and
    // loongarch (`Oops[#1]:`), sparc (`sh(71): Oops [#1]`), xtensa, csky.
    form(
        "oops",
        Dies,
        Yes,
        concat!(
            r".*(?:: [0-9a-f]{4,16}(?: ilc:\d)?|Internal error: .*: [0-9a-f]{1,16}|sig: \d{1,3}) \[#\d{1,9}\]",
            flags!()
        ),
    ),
    form(
        "oops",
        Dies,
        Yes,
        r".*\b(?:Oops|Kernel BUG)(?: - [ \w()]+)? ?\[#\d{1,9}\]:?\s*$",
    ),
    form("oops", Dies, No, concat!(r"[^\[]+\[#\d{1,9}\]", flags!())),
    // show_fault_oops of arch/x86/mm/fault.c, handle_stack_overflow and
    // exc_double_fault of arch/x86/kernel/traps.c, arch/x86/entry/entry_fred.c.
    form(
        "oops",
        Dies,
        Yes,
        "BUG: (?:kernel NULL pointer dereference, address: |unable to handle (?:page fault for address|kernel ))",
    ),
    form(
        "oops",
        Dies,
        No,
        "BUG: (?:kernel NULL pointer|[uU]nable to handle|.*stack guard page was hit|failure at |invalid or fatal FRED event)",
    ),
    form(
        "oops",
        Dies,
        Yes,
        "PANIC: (?:double fault, error_code: |early exception 0x)",
    ),
    form("oops", Dies, No, "PANIC: "),
    form("oops", Dies, No, "general protection fault"),
    form(
        "oops",
        Precedes,
        No,
        "kernel tried to execute NX-protected page",
    ),
    // die_kernel_fault of arch/arm64/mm/fault.c, and of arm, riscv, mips,
    // loongarch, s390; arch/arm64/kernel/{traps,entry-common}.c.
    form(
        "oops",
        Dies,
        Yes,
        r"(?:CPU \d+ )?Unable to handle kernel .*(?:at virtual address|address space)",
    ),
    form(
        "oops",
        Dies,
        No,
        r"(?:CPU \d+ )?Unable to handle kernel |Unhandled fault at 0x|Unhandled .+ exception on CPU|Bad mode in .+ handler detected|Insufficient stack space to handle exception|Kernel stack overflow",
    ),
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
    // mm/kmemleak.c says this at the level of an information.
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
    // arch/x86/kernel/cpu/mce/core.c; a plain "events logged" is none.
    form(
        "machine check",
        Opens,
        No,
        r"(?:mce: )?\[Hardware Error\]: (?:CPU \d+: Machine Check|Machine check: )|CPU#?\d+: Machine Check Exception",
    ),
    // kernel/panic.c: __warn; from 6.19 on with the file first.
    form("warning", Warns, Yes, r"WARNING: CPU: \d+ PID: \d+ at "),
    form(
        "warning",
        Warns,
        Yes,
        r"WARNING: (?:\S+:\d+ )?at .+, CPU#\d+: ",
    ),
    // Whatever else calls itself so, but for HARMLESS.
    form("bug", Opens, No, "BUG: "),
    form("oops", Dies, No, "Oops: "),
    form("warning", Opens, No, "WARNING: "),
];

/// What begins like a report and is none: advice on settings, on mitigations and
/// on firmware, and clocks, which stand still when a host is busy. From
/// arch/x86/kernel/cpu, arch/x86/kernel/process.c, fs/namespace.c, init/main.c,
/// kernel/time/timekeeping.c, kernel/workqueue.c, security/tomoyo,
/// drivers/video/fbdev/core/fbcon.c.
const HARMLESS: &str = r"^WARNING: (?:[tT]he mand mount option|BIOS bug: |Unprivileged eBPF is enabled|'bootconfig' found|Flushing system-wide workqueues|fbcon: |Domain '|kernel not compiled with|timekeeping: |(?:Under|Over)flow in clocksource|polling idle|CPU does not support|BTB untrained|Spectre|LFENCE mitigation|IBRS mitigation|ITS mitigation|See https://)";

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: &'static str,
    pub(super) role: Role,
}

struct Compiled {
    forms: RegexSet,
    harmless: Regex,
}

static COMPILED: LazyLock<Option<Compiled>> = LazyLock::new(|| {
    let anchored = FORMS.iter().map(|form| format!("^(?:{})", form.regex));
    Some(Compiled {
        forms: RegexSetBuilder::new(anchored).unicode(false).build().ok()?,
        harmless: RegexBuilder::new(HARMLESS).unicode(false).build().ok()?,
    })
});

/// What the message of a line is, if it has a form. `stamped`: it has a
/// timestamp.
pub(super) fn form_of(message: &str, stamped: bool) -> Option<Found> {
    let compiled = COMPILED.as_ref()?;
    let matches = compiled.forms.matches(message.as_bytes());
    let form = matches
        .iter()
        .filter_map(|index| FORMS.get(index))
        .find(|form| stamped || form.bare == Yes)?;
    (form.role != Opens || !compiled.harmless.is_match(message.as_bytes())).then_some(Found {
        kind: form.kind,
        role: form.role,
    })
}

/// Words that only the kernel says, wherever they stand in a line without a
/// timestamp: a program may have begun the line.
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
