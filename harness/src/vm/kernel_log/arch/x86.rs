//! Messages of x86.

use super::super::form::Bare::{No, Yes};
use super::super::form::Role::{Dies, Opens, Precedes};
use super::super::form::{Form, flags, form};

pub(super) const FORMS: &[Form] = &[
    // die() of arch/x86/kernel/dumpstack.c: `divide error: 0000 [#1] SMP`, from
    // 6.10 on `Oops: divide error: 0000 [#1]`.
    form(
        "oops",
        Dies,
        Yes,
        concat!(r".*: [0-9a-f]{4,16} \[#\d{1,9}\]", flags!()),
    ),
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
    // arch/x86/kernel/cpu/mce/core.c; a plain "events logged" is not a report.
    form(
        "machine check",
        Opens,
        No,
        r"(?:mce: )?\[Hardware Error\]: (?:CPU \d+: Machine Check|Machine check: )|CPU#?\d+: Machine Check Exception",
    ),
];

/// Lines that begin like a warning but are advice on mitigations and firmware. From
/// arch/x86/kernel/cpu and arch/x86/kernel/process.c.
pub(super) const HARMLESS: &[&str] = &[
    "BIOS bug: ",
    "Unprivileged eBPF is enabled",
    "polling idle",
    "CPU does not support",
    "BTB untrained",
    "Spectre",
    "LFENCE mitigation",
    "IBRS mitigation",
    "ITS mitigation",
    "See https://",
];
