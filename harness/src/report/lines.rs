//! The terminal's lines, one for each thing that happens.

use super::class::Class;
use super::text::{MAX_LINE, append};
use super::words::{counted, qmp_status, seconds};
use super::{TerminalStyle, escape};
use crate::run::event::{KernelPlan, TestResult, Verdict};

/// What a run is to do.
pub(super) fn started(kernels: &[KernelPlan]) -> String {
    let names: Vec<_> = kernels.iter().map(|k| escape::line(&k.name)).collect();
    // Shards leave some kernels more than others.
    let most = kernels.iter().map(|kernel| kernel.tests).max().unwrap_or(0);
    format!(
        "{} on {}: {}\n",
        counted(most, "test"),
        counted(kernels.len(), "kernel"),
        names.join(", ")
    )
}

/// `FAIL  6.1  call.str`.
pub(super) fn name(style: TerminalStyle, result: &TestResult) -> String {
    format!(
        "{}  {}  {}",
        style.class(Class::of(result)),
        escape::line(&result.kernel),
        escape::line(&result.id)
    )
}

/// A verdict, with its reason where it needs one.
pub(super) fn verdict(style: TerminalStyle, result: &TestResult) -> String {
    let mut text = format!("{}  ({})", name(style, result), seconds(result.duration_ms));
    if Class::of(result) != Class::Pass
        && let Some(reason) = reason_of(result)
    {
        append(&mut text, format_args!(": {reason}"));
    }
    text.push('\n');
    text
}

/// An attempt that another one follows.
pub(super) fn attempt(style: TerminalStyle, result: &TestResult) -> String {
    let mut text = format!(
        "{} {}  {}  {}  ({})",
        style.mark(&format!("TRY {}", result.attempt)),
        style.verdict(result.verdict),
        escape::line(&result.kernel),
        escape::line(&result.id),
        seconds(result.duration_ms)
    );
    if result.verdict != Verdict::Pass
        && let Some(reason) = reason_of(result)
    {
        append(&mut text, format_args!(": {reason}"));
    }
    text.push('\n');
    text
}

/// A test that takes long.
pub(super) fn slow(style: TerminalStyle, kernel: &str, id: &str, elapsed_ms: u64) -> String {
    format!(
        "{}  {}  {}  (> {})\n",
        style.caution("SLOW"),
        escape::line(kernel),
        escape::line(id),
        seconds(elapsed_ms)
    )
}

/// The kind of a report, with what `kernels.toml` says of it.
pub(super) fn report_kind(kind: &str, allowed: Option<&str>, denied: Option<&str>) -> String {
    match (allowed, denied) {
        (Some(reason), _) => format!("{kind}, allowed: {reason}"),
        (None, Some(reason)) => format!("{kind}: {reason}"),
        (None, None) => kind.to_owned(),
    }
}

/// A kernel said that something is wrong with it.
pub(super) fn kernel_report(
    style: TerminalStyle,
    kernel: &str,
    kind: &str,
    test: Option<&str>,
) -> String {
    let during = test.map_or(String::new(), |test| format!(", in {}", escape::line(test)));
    format!(
        "{}  {}  {}{during}\n",
        style.caution("KERNEL"),
        escape::line(kernel),
        escape::line(kind)
    )
}

/// A line of its own, escaped already, that may say what a guest or another
/// program said. A runner of GitHub's takes one that begins with `::` for a
/// command, so such a line has a bar in front, as quotations have.
pub(super) fn indented(said: &str) -> String {
    let bar = if said.trim_start().starts_with("::") {
        "| "
    } else {
        ""
    };
    format!("      {bar}{said}\n")
}

/// A kernel could not be provided.
pub(super) fn no_kernel(
    style: TerminalStyle,
    kernel: &str,
    reason: &str,
    hints: &[String],
) -> String {
    let mut lines = reason.lines();
    let mut text = format!(
        "{}  {}  {}\n",
        style.mark("NO KERNEL"),
        escape::line(kernel),
        escape::line(lines.next().unwrap_or_default())
    );
    for line in lines {
        text.push_str(&indented(&escape::line(line)));
    }
    for hint in hints {
        append(
            &mut text,
            format_args!("      hint: {}\n", escape::line(hint)),
        );
    }
    text
}

/// Something about a VM.
pub(super) fn vm(style: TerminalStyle, kernel: &str, vm: u32, what: &str) -> String {
    format!(
        "{}  {}  VM {vm}: {}\n",
        style.mark("VM"),
        escape::line(kernel),
        escape::line(what)
    )
}

/// A VM was lost.
pub(super) fn vm_lost(
    style: TerminalStyle,
    kernel: &str,
    vm: u32,
    reason: &str,
    test: Option<&str>,
    status: Option<&str>,
) -> String {
    let mut text = format!(
        "{}  {}  VM {vm} lost: {}\n",
        style.mark("VM"),
        escape::line(kernel),
        escape::line(reason)
    );
    if let Some(test) = test {
        append(
            &mut text,
            format_args!("      it ran {}\n", escape::line(test)),
        );
    }
    if let Some(status) = status {
        append(
            &mut text,
            format_args!("      {}\n", escape::line(&qmp_status(status))),
        );
    }
    text
}

/// Something the user should know.
pub(super) fn warning(style: TerminalStyle, kernel: Option<&str>, message: &str) -> String {
    let on = kernel.map_or(String::new(), |kernel| {
        format!("{}: ", escape::line(kernel))
    });
    format!("{} {on}{}\n", style.mark("warning:"), escape::line(message))
}

/// Why the run ends early.
pub(super) fn stopped(style: TerminalStyle, message: &str) -> String {
    format!("{} {}\n", style.mark("stopped:"), escape::line(message))
}

/// Why a verdict fell, in one bounded line; of a failure that is known, why it
/// is known.
pub(super) fn reason_of(result: &TestResult) -> Option<String> {
    let known = result.known.as_ref();
    let reason = match known.filter(|_| Class::of(result) == Class::XFail) {
        Some(known) => &known.reason,
        None => result.reason.as_ref()?,
    };
    let reason = reason.strip_prefix("flaky: ").unwrap_or(reason);
    Some(escape::clip(&escape::line(reason), MAX_LINE).into_owned())
}
