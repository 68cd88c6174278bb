//! Messages that only kernels of some architectures print.
//!
//! All of them apply to every console: a line means the same, whoever prints it.

mod arm;
mod x86;

use super::form::Bare::{No, Yes};
use super::form::Role::Dies;
use super::form::{Form, flags, form};

/// The forms of all architectures.
pub(super) fn forms() -> impl Iterator<Item = &'static Form> {
    x86::FORMS.iter().chain(arm::FORMS).chain(OTHERS)
}

/// Lines that begin like a warning but are not one.
pub(super) fn harmless() -> impl Iterator<Item = &'static str> {
    x86::HARMLESS.iter().copied()
}

const OTHERS: &[Form] = &[
    // s390: `Oops: 0004 ilc:2 [#1]`.
    form(
        "oops",
        Dies,
        Yes,
        concat!(r".*: [0-9a-f]{4,16} ilc:\d \[#\d{1,9}\]", flags!()),
    ),
    // powerpc: `Oops: …, sig: 11 [#1]`.
    form(
        "oops",
        Dies,
        Yes,
        concat!(r".*sig: \d{1,3} \[#\d{1,9}\]", flags!()),
    ),
    // riscv (`Oops [#1]`), mips and loongarch (`Oops[#1]:`), sparc
    // (`sh(71): Oops [#1]`), xtensa, csky.
    form(
        "oops",
        Dies,
        Yes,
        r".*\b(?:Oops|Kernel BUG)(?: - [ \w()]+)? ?\[#\d{1,9}\]:?\s*$",
    ),
    form("oops", Dies, No, concat!(r"[^\[]+\[#\d{1,9}\]", flags!())),
];
