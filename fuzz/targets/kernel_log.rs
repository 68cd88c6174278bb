//! A guest's console, whole and in pieces.
#![no_main]

use kiln::vm::kernel_log::{Scanner, reports};
use libfuzzer_sys::fuzz_target;

/// The line of an oops, which nothing before it may hide.
const OOPS: &[u8] = b"\n[98765.000000] divide error: 0000 [#1] PREEMPT SMP NOPTI\n";

fuzz_target!(|input: &[u8]| {
    let Some((first, console)) = input.split_first() else {
        return;
    };
    let whole = reports(console);
    let mut scanner = Scanner::default();
    for piece in console.chunks(usize::from(*first).max(1)) {
        scanner.push(piece);
    }
    scanner.finish();
    assert_eq!(scanner.take(), whole, "pieces make a difference");
    for report in &whole {
        assert!(!report.title.is_empty(), "a report without a title");
        assert!(!report.title.contains('\n'));
        assert!(report.text.lines().count() <= 400, "a report without end");
    }
    scanner.push(OOPS);
    let found = scanner.take();
    let told = |report: &kiln::vm::kernel_log::KernelReport| report.title.contains("divide error");
    assert!(found.iter().any(told), "an oops vanished: {found:?}");
});
