//! Reports that a kernel does not print, but for which it sets taint flags.
//!
//! A console whose log level was lowered (`dmesg -n 1`, `quiet`) shows no
//! warning. Flags: Documentation/admin-guide/tainted-kernels.rst.

use std::fmt::Write as _;

use super::problem::KernelProblem;

/// Kind of a report that only the flags show.
pub(super) const TAINT: &str = "taint";

/// The flags that say that something went wrong: bit, letter, what.
const FLAGS: [(u32, char, &str); 5] = [
    (4, 'M', "the processor reported a machine check"),
    (5, 'B', "bad memory was found"),
    (7, 'D', "the kernel died in an oops or a BUG"),
    (9, 'W', "the kernel gave a warning"),
    (14, 'L', "a soft lockup was found"),
];

/// The flags of a kernel that are known and explained.
#[derive(Debug, Default)]
pub struct Taint {
    seen: u64,
}

impl Taint {
    /// A report, if the kernel has set [`FLAGS`] that neither these reports nor earlier ones
    /// explain.
    pub fn report(&mut self, flags: u64, reports: &[KernelProblem]) -> Option<KernelProblem> {
        for report in reports {
            self.seen |= explained_by(report.kind);
        }
        let unexplained = flags & !self.seen;
        self.seen |= flags;
        let new: Vec<_> = FLAGS
            .into_iter()
            .filter(|(bit, ..)| unexplained >> bit & 1 == 1)
            .collect();
        let (_, letter, what) = *new.first()?;
        let mut text = String::new();
        for (_, letter, what) in &new {
            let _ = writeln!(text, "{letter}: {what}");
        }
        Some(KernelProblem {
            kind: TAINT,
            title: format!("{what} (taint flag {letter}), but the console does not show it"),
            text,
            allowed: None,
            denied: None,
        })
    }
}

/// The flags that a report of this kind may have set, or may set soon.
fn explained_by(kind: &str) -> u64 {
    let bits: &[u32] = match kind {
        "oops" | "panic" => &[5, 7, 9],
        "soft lockup" => &[9, 14],
        "machine check" => &[4],
        _ => &[5, 9],
    };
    bits.iter().fold(0, |flags, bit| flags | 1 << bit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn oops() -> KernelProblem {
        let console = b"[    1.000000] divide error: 0000 [#1] SMP\n";
        super::super::reports(console).remove(0)
    }

    #[test]
    fn a_flag_without_a_report_is_one_once() {
        let mut taint = Taint::default();
        // An unsigned module, out of tree.
        assert_eq!(taint.report(1 << 12 | 1 << 13, &[]), None);
        let report = taint.report(1 << 9 | 1 << 12, &[]).unwrap();
        assert_eq!(report.kind, TAINT);
        assert!(
            report.title.contains("warning (taint flag W)"),
            "{report:?}"
        );
        assert_eq!(taint.report(1 << 9, &[]), None);
    }

    #[test]
    fn a_flag_that_a_report_explains_is_not_a_report() {
        let mut taint = Taint::default();
        assert_eq!(taint.report(0, &[oops()]), None);
        assert_eq!(taint.report(1 << 7, &[]), None, "it comes a little later");
        assert!(taint.report(1 << 14, &[]).is_some());
    }
}
