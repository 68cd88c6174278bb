#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::reports;
use super::*;

const WARNING: &str = "[    5.100000] random: crng init done\n\
    [    9.000123] ------------[ cut here ]------------\n\
    [    9.000200] WARNING: CPU: 0 PID: 71 at kernel/trace/x.c:1 f+0x1/0x2\n\
    [    9.000300] Call Trace:\n\
    [    9.000400]  <TASK>\n\
    [    9.000500] ---[ end trace 0000000000000000 ]---\n\
    [   10.000000] something else\n";

const DIVIDE: &str = "[   12.000000] divide error: 0000 [#1] PREEMPT SMP NOPTI\n\
    [   12.000100] CPU: 0 PID: 71 Comm: insmod Not tainted 6.1.0 #1\n\
    [   12.000200] RIP: 0010:init_module+0x7/0x1000 [dummy]\n\
    [   12.000300] Call Trace:\n\
    [   12.000400] ---[ end trace 0000000000000000 ]---\n\
    [   12.000500] RIP: 0010:init_module+0x7/0x1000 [dummy]\n\
    [   12.000600] note: insmod[71] exited with preempt_count 1\n";

const BUG: &str = "[   12.000000] ------------[ cut here ]------------\n\
    [   12.000100] kernel BUG at drivers/net/dummy.c:1!\n\
    [   12.000200] invalid opcode: 0000 [#1] PREEMPT SMP NOPTI\n\
    [   12.000300] RIP: 0010:init_module+0x7/0x1000 [dummy]\n\
    [   12.000400] ---[ end trace 0000000000000000 ]---\n";

fn found(console: &str) -> Vec<KernelProblem> {
    reports(console.as_bytes())
}

/// The console of a kernel that prints no time.
fn without_stamps(console: &str) -> String {
    let lines = console.lines().map(|line| &line["[   12.000000] ".len()..]);
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

fn titles(reports: &[KernelProblem]) -> Vec<&str> {
    reports.iter().map(|report| report.title.as_str()).collect()
}

#[test]
fn a_warning_is_found_with_its_stack_and_ends_at_its_end() {
    let found = found(WARNING);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, "warning");
    assert_eq!(
        found[0].title,
        "WARNING: CPU: 0 PID: 71 at kernel/trace/x.c:1 f+0x1/0x2"
    );
    assert!(found[0].text.contains("<TASK>"));
    assert!(!found[0].text.contains("something else"));
}

#[test]
fn an_oops_is_found_whole_with_and_without_timestamps() {
    for (console, title, lines) in [
        (DIVIDE, "divide error: 0000 [#1] PREEMPT SMP NOPTI", 6),
        (BUG, "kernel BUG at drivers/net/dummy.c:1!", 5),
    ] {
        for console in [console.to_owned(), without_stamps(console)] {
            let found = found(&console);
            assert_eq!(titles(&found), [title], "{console}");
            assert_eq!(found[0].kind, "oops");
            // The registers that follow the end are a repetition.
            assert!(found[0].text.lines().count() >= lines - 1, "{found:?}");
        }
    }
}

#[test]
fn the_parts_of_an_oops_and_its_panic_are_one_report() {
    let text = "[    1.000000] BUG: kernel NULL pointer dereference, address: 0\n\
        [    1.100000] #PF: error\n\
        [    1.200000] Oops: 0002 [#1] PREEMPT SMP\n[    1.300000] RIP: 0010:f\n\
        [    1.350000] ---[ end trace 0000000000000000 ]---\n\
        [    1.400000] Kernel panic - not syncing: Fatal exception\n\
        [    1.500000] Kernel Offset: disabled\n";
    let mut scanner = Scanner::default();
    scanner.push(text.as_bytes());
    let found = scanner.take();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, "oops");
    assert_eq!(found[0].text.lines().count(), 7);
    assert_eq!(scanner.panic(), Some("Fatal exception"));
}

#[test]
fn a_message_before_a_warning_says_what_it_is_about() {
    let text = "[    1.000000] ------------[ cut here ]------------\n\
        [    1.000001] refcount_t: underflow; use-after-free.\n\
        [    1.000002] WARNING: CPU: 0 PID: 71 at lib/refcount.c:28 f+0x1/0x2\n\
        [    1.000003] ---[ end trace 0000000000000000 ]---\n\
        [    1.000004] usercopy: Kernel memory exposure attempt detected from SLUB object 'x' (offset 0, size 9)!\n\
        [    1.000005] ------------[ cut here ]------------\n\
        [    1.000006] kernel BUG at mm/usercopy.c:101!\n\
        [    1.000007] invalid opcode: 0000 [#1] SMP\n";
    let found = found(text);
    let kinds: Vec<&str> = found.iter().map(|report| report.kind).collect();
    assert_eq!(kinds, ["refcount", "usercopy"]);
    assert!(found[1].text.contains("invalid opcode"));
}

#[test]
fn cut_here_alone_is_a_report() {
    for line in [
        "[    1.000000] ------------[ cut here ]------------\n",
        "half a line ------------[ cut here ]------------\r\n",
        "[    1.000000] ---[ end trace 0123456789abcdef ]---\n",
    ] {
        assert_eq!(found(line).len(), 1, "{line}");
    }
}

#[test]
fn a_report_behind_what_a_program_has_begun_is_found() {
    for begun in [
        "progress 50%",
        "progress 50%\r",
        "\u{1b}[31mred",
        "[    1.000000] mine: ",
        "\0\0\0",
        "[[[[",
    ] {
        let console = format!("{begun}{DIVIDE}");
        assert_eq!(found(&console).len(), 1, "{begun:?}");
    }
    let long = "x".repeat(1 << 20) + DIVIDE;
    assert_eq!(found(&long).len(), 1);
    let mut binary = vec![0xff; 100_001];
    binary.extend_from_slice(DIVIDE.as_bytes());
    assert_eq!(reports(&binary).len(), 1);
}

#[test]
fn output_of_programs_between_the_lines_is_left_out() {
    let console = DIVIDE.replace('\n', "\nprogram output\n");
    let found = found(&console);
    assert_eq!(found.len(), 1);
    assert!(found[0].text.contains("RIP:"), "{}", found[0].text);
    assert!(!found[0].text.contains("program output"));
}

#[test]
fn a_program_s_output_is_not_a_kernel_report() {
    for console in [
        "WARNING: this is mine\nBUG: mine too\n",
        "[x] WARNING: CPU\n[    1.000000] a WARNING: CPU\n",
        "<12>[    1.000000] BUG: written to /dev/kmsg\n",
        "<12>[    1.000000] Kernel panic - not syncing: fake\n",
    ] {
        assert_eq!(found(console), [], "{console}");
    }
}

#[test]
fn a_report_that_was_taken_is_not_new_and_hides_no_other() {
    let (begin, end) = DIVIDE.split_at(DIVIDE.find("[   12.000300]").unwrap());
    let mut scanner = Scanner::default();
    scanner.push(begin.as_bytes());
    assert!(scanner.in_report());
    assert_eq!(scanner.take().len(), 1);
    scanner.push(end.as_bytes());
    assert_eq!(scanner.take(), [], "the rest is of the same report");
    for next in [DIVIDE.replace("[   12", "[   13"), without_stamps(BUG)] {
        scanner.push(next.as_bytes());
        assert_eq!(scanner.take().len(), 1, "{next}");
    }
}

#[test]
fn a_report_without_end_is_over_when_the_kernel_is_silent() {
    let console = "[    1.000000] INFO: task sh:71 blocked for more than 120 seconds.\n\
        [    1.000100]       Not tainted 6.1.0 #1\n\
        [    9.000000] loop0: detected capacity change from 0 to 8\n";
    let found = found(console);
    assert_eq!(found[0].kind, "hung task");
    assert!(!found[0].text.contains("loop0"));
}

#[test]
fn a_clock_that_begins_anew_is_another_kernels() {
    let mut scanner = Scanner::default();
    scanner.push(DIVIDE.as_bytes());
    scanner.push(WARNING.as_bytes());
    assert!(scanner.restarted());
    let mut scanner = Scanner::default();
    scanner.push(b"[    0.000000] Linux version 6.1\n[    0.500000] up\n");
    assert!(!scanner.restarted());
    scanner.push(b"[    0.000000] Linux version 9.9\n");
    assert!(scanner.restarted());
    let mut scanner = Scanner::default();
    scanner.push(b"[   12.000000] one processor\n[   11.900000] another\n");
    assert!(!scanner.restarted());
}

#[test]
fn reports_and_their_lines_are_bounded() {
    let endless = format!(
        "[    1.000000] WARNING: x\n{}",
        "[    1.100000]  f+0x1/0x2\n".repeat(10_000)
    );
    assert_eq!(found(&endless)[0].text.lines().count(), MAX_LINES);
    let many = WARNING.repeat(10_000);
    let mut scanner = Scanner::default();
    scanner.push(many.as_bytes());
    assert_eq!(scanner.take().len(), MAX_REPORTS);
    scanner.push(DIVIDE.as_bytes());
    assert_eq!(scanner.take().len(), 1, "there is room again");
    let line = format!("[    1.000000] BUG: {}\n", "x".repeat(1 << 20));
    let found = found(&line);
    assert_eq!(found.len(), 1);
    assert!(found[0].text.len() <= MAX_LINE + 20);
}

fn patterns(text: &str) -> Patterns {
    let origin = crate::config::Origin::BuiltIn;
    let catalogue = crate::config::Catalogue::parse(text, origin).unwrap();
    Patterns::for_kernel(&catalogue.kernel_log, "6.1")
}

#[test]
fn patterns_allow_a_report_and_deny_a_line() {
    let mut scanner = Scanner::new(patterns(
        "[[kernel-log]]\nallow = 'at kernel/trace/x\\.c'\nreason = 'known'\n\
         [[kernel-log]]\ndeny = '^mydrv: reset'\nreason = 'never'\n\
         [[kernel-log]]\nallow = 'divide'\nreason = 'other kernels'\nkernels = '5.*'\n",
    ));
    scanner.push(WARNING.as_bytes());
    scanner.push(b"[   11.000000] mydrv: reset\n[   11.000001] mydrv: fine\n");
    scanner.push(DIVIDE.as_bytes());
    let found = scanner.take();
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0].allowed.as_deref(), Some("known"));
    assert_eq!(
        (found[1].kind, found[1].title.as_str()),
        (DENIED, "mydrv: reset")
    );
    assert_eq!(found[1].summary(), "mydrv: reset (denied: never)");
    assert_eq!(found[2].allowed, None);
}

/// Pieces of consoles to combine in any order.
const PIECES: &str = "(\\[ *[0-9.]{0,12}\\] ?|\\[    [0-9]\\.[0-9]{6}\\] |\\[ +T7\\] |<[0-9]{1,3}>|WARNING: |BUG: |\
    : 0000 \\[#1\\]|-----\\[ cut here \\]-----|---\\[ end trace |Kernel panic - not syncing: |====================|\
    \u{1b}|\r|\0|[^\\n]|\\n){0,60}";

proptest! {
    #[test]
    fn no_console_panics_it(text in PIECES) {
        for report in found(&text) {
            prop_assert!(!report.title.is_empty());
            prop_assert!(report.text.lines().count() <= 2 * MAX_LINES);
        }
    }

    #[test]
    fn in_whatever_pieces_a_console_comes_its_reports_are_the_same(
        text in PIECES,
        cuts in proptest::collection::vec(0usize..4000, 0..20),
    ) {
        let whole = format!("{text}\n{BUG}{WARNING}");
        let mut scanner = Scanner::default();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            scanner.push(&whole.as_bytes()[pair[0]..pair[1]]);
        }
        scanner.finish();
        prop_assert_eq!(scanner.take(), found(&whole));
    }

    /// The oops is found whatever comes before it: its first line may look like a program's, whose
    /// level was printed.
    #[test]
    fn nothing_before_it_hides_an_oops(text in PIECES) {
        let console = format!("{text}{}", DIVIDE.replace("[   12", "[ 9012"));
        let found = found(&console);
        prop_assert!(
            found.iter().any(|report| report.text.contains("---[ end trace 0000000000000000 ]---")),
            "{:?}", found
        );
    }
}
