//! What a kernel says on its console when something is wrong with it.
//!
//! The console is untrusted: a guest can print anything. A report can only
//! make the guest's own test fail.

use std::borrow::Cow;

/// Lines of one report that are kept: a stack of an oops has about 60.
const MAX_LINES: usize = 120;
/// Bytes of one line that are looked at.
const MAX_LINE: usize = 1024;

/// How reports begin, after the timestamp, and what they are; the first that
/// fits counts. Sources: `kernel/panic.c`, `lib/bug.c`, `kernel/rcu/tree_stall.h`,
/// `kernel/locking/lockdep.c`, `kernel/watchdog.c`, `kernel/hung_task.c`,
/// `mm/kasan/report.c`, `mm/kfence/report.c`, `lib/ubsan.c`, `kernel/kcsan/report.c`,
/// `mm/kmemleak.c`, `arch/x86/kernel/{dumpstack,traps}.c` of Linux 5.10 to 6.12.
const BEGINNINGS: [(&str, &str); 25] = [
    ("Kernel panic - not syncing", "panic"),
    ("BUG: KASAN: ", "kasan"),
    ("BUG: KFENCE: ", "kfence"),
    ("BUG: KCSAN: ", "kcsan"),
    ("BUG: KMSAN: ", "kmsan"),
    ("BUG: workqueue lockup", "workqueue lockup"),
    ("watchdog: BUG: soft lockup", "soft lockup"),
    ("watchdog: Watchdog detected hard LOCKUP", "hard lockup"),
    ("BUG: sleeping function called", "atomic sleep"),
    ("BUG: scheduling while atomic", "atomic sleep"),
    ("BUG: ", "oops"),
    ("Oops: ", "oops"),
    ("kernel BUG at ", "oops"),
    ("general protection fault", "oops"),
    ("invalid opcode: ", "oops"),
    ("stack segment: ", "oops"),
    ("WARNING: possible ", "lockdep"),
    ("WARNING: inconsistent lock state", "lockdep"),
    ("WARNING: bad unlock balance", "lockdep"),
    ("WARNING: suspicious RCU usage", "lockdep"),
    ("WARNING: ", "warning"),
    ("UBSAN: ", "ubsan"),
    ("rcu: INFO: rcu", "rcu stall"),
    ("INFO: rcu", "rcu stall"),
    ("kmemleak: ", "kmemleak"),
];

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelReport {
    /// What: `oops`, `warning`, `rcu stall`, `lockdep`, `kasan`, …
    pub kind: &'static str,
    /// Its first line, without the timestamp.
    pub title: String,
    /// Its lines as they stand on the console.
    pub text: String,
}

/// The reports in a piece of a console, in order. What follows the beginning
/// of a report belongs to it until its end, the next report or a line that is
/// not the kernel's.
pub fn reports(console: &str) -> Vec<KernelReport> {
    let mut reports: Vec<KernelReport> = Vec::new();
    let mut lines_left = 0;
    for line in console.lines() {
        let line = clipped(line);
        let message = message(&line);
        if let Some(kind) = message.and_then(kind) {
            // An oops says `BUG: `, then `Oops: `, in one report.
            let goes_on = lines_left > 0
                && matches!(kind, "oops" | "panic")
                && reports.last().is_some_and(|report| report.kind == "oops");
            if !goes_on {
                reports.push(KernelReport {
                    kind,
                    title: message.unwrap_or_default().trim_end().to_owned(),
                    text: String::new(),
                });
                lines_left = MAX_LINES;
            }
        }
        let Some(message) = message else {
            lines_left = 0;
            continue;
        };
        if lines_left == 0 {
            continue;
        }
        lines_left -= 1;
        if let Some(report) = reports.last_mut() {
            report.text.push_str(line.trim_end());
            report.text.push('\n');
        }
        // kernel/panic.c, print_oops_end_marker.
        if message.starts_with("---[ end ") {
            lines_left = 0;
        }
    }
    reports
}

fn clipped(line: &str) -> Cow<'_, str> {
    match line.char_indices().find(|(at, _)| *at >= MAX_LINE) {
        Some((at, _)) => Cow::Borrowed(&line[..at]),
        None => Cow::Borrowed(line),
    }
}

/// What follows a line's timestamp, `[   12.345678] `, and a caller's id,
/// `[  T123] `, where the kernel prints one; `None` for a line without.
fn message(line: &str) -> Option<&str> {
    let (stamp, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let number = |c: char| c.is_ascii_digit() || c == '.' || c == ' ';
    if !stamp.contains('.') || !stamp.chars().all(number) {
        return None;
    }
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let caller = rest
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "));
    Some(match caller {
        Some((id, message)) if id.trim_start().starts_with(['T', 'C']) => message,
        _ => rest,
    })
}

fn kind(message: &str) -> Option<&'static str> {
    if let Some((_, kind)) = BEGINNINGS
        .iter()
        .find(|(beginning, _)| message.starts_with(beginning))
    {
        return Some(kind);
    }
    let hung = message.starts_with("INFO: task ") && message.contains(" blocked for more than ");
    hung.then_some("hung task")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WARNING: &str = "[    5.1] random: crng init done\n\
        [    9.000123] ------------[ cut here ]------------\n\
        [    9.000200] WARNING: CPU: 0 PID: 71 at kernel/trace/x.c:1 f+0x1/0x2\n\
        [    9.000300] Call Trace:\n\
        [    9.000400]  <TASK>\n\
        [    9.000500] ---[ end trace 0000000000000000 ]---\n\
        [   10.0] something else\n";

    #[test]
    fn a_warning_is_found_with_its_stack_and_ends_at_its_end() {
        let found = reports(WARNING);
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
    fn each_kind_is_told_apart() {
        for (line, expected) in [
            ("BUG: kernel NULL pointer dereference, address: 0", "oops"),
            ("BUG: KASAN: use-after-free in f", "kasan"),
            (
                "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
                "soft lockup",
            ),
            (
                "WARNING: possible circular locking dependency detected",
                "lockdep",
            ),
            (
                "rcu: INFO: rcu_sched self-detected stall on CPU",
                "rcu stall",
            ),
            (
                "INFO: task sh:71 blocked for more than 120 seconds.",
                "hung task",
            ),
            ("UBSAN: array-index-out-of-bounds in f", "ubsan"),
            ("general protection fault, probably for address", "oops"),
            ("Kernel panic - not syncing: sysrq triggered crash", "panic"),
        ] {
            for stamp in ["[   12.345678] ", "[   12.345678][   T71] "] {
                let found = reports(&format!("{stamp}{line}\n"));
                assert_eq!(found.len(), 1, "{stamp}{line}");
                assert_eq!(found[0].kind, expected);
                assert_eq!(found[0].title, line);
            }
        }
    }

    #[test]
    fn an_oops_with_all_its_beginnings_is_one_report() {
        let text = "[ 1.0] BUG: kernel NULL pointer dereference\n[ 1.1] #PF: error\n\
            [ 1.2] Oops: 0002 [#1] PREEMPT SMP\n[ 1.3] RIP: 0010:f\n\
            [ 1.4] Kernel panic - not syncing: Fatal exception\n";
        let found = reports(text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text.lines().count(), 5);
    }

    #[test]
    fn what_a_program_prints_is_no_report_of_the_kernel() {
        assert_eq!(reports("WARNING: this is mine\nBUG: mine too\n"), []);
        assert_eq!(reports("[x] WARNING: CPU\n[1.0] a WARNING: CPU\n"), []);
    }

    #[test]
    fn a_report_without_end_is_bounded() {
        let text = format!(
            "[ 1.0] WARNING: x\n{}",
            "[ 1.1]  f+0x1/0x2\n".repeat(10_000)
        );
        let found = reports(&text);
        assert_eq!(found[0].text.lines().count(), MAX_LINES);
    }

    proptest! {
        #[test]
        fn no_console_panics_it(text in "(\\[ *[0-9.]{0,8}\\] ?|WARNING: |BUG: |\u{1b}|[^\\n]|\\n){0,60}") {
            for report in reports(&text) {
                prop_assert!(!report.title.is_empty());
                prop_assert!(report.text.lines().count() <= MAX_LINES);
            }
        }
    }
}
