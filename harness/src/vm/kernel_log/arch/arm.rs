//! Messages of arm64 and arm, some of which riscv, mips, loongarch and s390 also have.

use super::super::form::Bare::{No, Yes};
use super::super::form::Role::Dies;
use super::super::form::{Form, flags, form};

pub(super) const FORMS: &[Form] = &[
    // die() of arch/arm64/kernel/traps.c and arch/arm/kernel/traps.c.
    form(
        "oops",
        Dies,
        Yes,
        concat!(
            r".*Internal error: .*: [0-9a-f]{1,16} \[#\d{1,9}\]",
            flags!()
        ),
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
];
