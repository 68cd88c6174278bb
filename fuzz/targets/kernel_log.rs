//! A guest's console, whole and in pieces.
#![no_main]

use kiln::internals::fuzz::{KernelProblem, scan_console};
use libfuzzer_sys::fuzz_target;

/// The line of an oops, which nothing before it may hide.
const OOPS: &[u8] = b"\n[98765.000000] divide error: 0000 [#1] PREEMPT SMP NOPTI\n";

fuzz_target!(|input: &[u8]| {
    let Some((first, console)) = input.split_first() else {
        return;
    };
    let scanned = scan_console(console, usize::from(*first).max(1), OOPS);
    assert_eq!(scanned.in_pieces, scanned.whole, "pieces make a difference");
    for report in &scanned.whole {
        assert!(!report.title.is_empty(), "a report without a title");
        assert!(!report.title.contains('\n'));
        assert!(report.text.lines().count() <= 400, "a report without end");
    }
    let found = scanned.after;
    let is_oops = |report: &KernelProblem| report.title.contains("divide error");
    assert!(found.iter().any(is_oops), "an oops vanished: {found:?}");
});
