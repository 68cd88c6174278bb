//! The terminal's lines, one for each event.

use super::class::Class;
use super::text::{MAX_LINE, append};
use super::words::{counted, qmp_status, report_kind, seconds};
use super::{TerminalStyle, escape};
use crate::run::event::{
    KernelFailed, KernelReport, RunStarted, RunStopped, SpeedMeasured, TestResult, TestSlow,
    Verdict, VmLost, VmStarted, Warning,
};

/// What a run will do.
pub(super) fn started(start: &RunStarted) -> String {
    let kernels = &start.kernels;
    let names: Vec<_> = kernels.iter().map(|k| escape::line(&k.name)).collect();
    // With shards, some kernels have more tests than others.
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

/// How long it took; at a limit also in the time in which limits count.
pub(super) fn took(result: &TestResult) -> String {
    let at_limit = result.verdict == Verdict::Timeout;
    both_times(result.duration_ms, result.guest_ms.filter(|_| at_limit))
}

fn both_times(host_ms: u64, guest_ms: Option<u64>) -> String {
    match guest_ms {
        None => seconds(host_ms),
        Some(guest_ms) => format!(
            "{}, {} of the guest's time",
            seconds(host_ms),
            seconds(guest_ms)
        ),
    }
}

/// A verdict, with its reason if it needs one.
pub(super) fn verdict(style: TerminalStyle, result: &TestResult) -> String {
    let mut text = format!("{}  ({})", name(style, result), took(result));
    if Class::of(result) != Class::Pass
        && let Some(reason) = reason_of(result)
    {
        append(&mut text, format_args!(": {reason}"));
    }
    text.push('\n');
    text
}

/// An attempt that another attempt follows.
pub(super) fn attempt(style: TerminalStyle, result: &TestResult) -> String {
    let mut text = format!(
        "{} {}  {}  {}  ({})",
        style.mark(&format!("TRY {}", result.attempt)),
        style.verdict(result.verdict),
        escape::line(&result.kernel),
        escape::line(&result.id),
        took(result)
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
pub(super) fn slow(style: TerminalStyle, slow: &TestSlow) -> String {
    format!(
        "{}  {}  {}  (> {})\n",
        style.caution("SLOW"),
        escape::line(&slow.kernel),
        escape::line(&slow.id),
        both_times(slow.elapsed_ms, slow.guest_ms)
    )
}

/// A kernel report.
pub(super) fn kernel_report(style: TerminalStyle, report: &KernelReport) -> String {
    let during = report
        .test
        .as_ref()
        .map_or(String::new(), |test| format!(", in {}", escape::line(test)));
    format!(
        "{}  {}  {}{during}\n",
        style.caution("KERNEL"),
        escape::line(&report.kernel),
        escape::line(&report_kind(report))
    )
}

/// A separate, already escaped line that may quote a guest or another program. GitHub's runner
/// takes one that begins with `::` for a command, so such a line gets a bar in front, like
/// quotations.
pub(super) fn indented(said: &str) -> String {
    let bar = if said.trim_start().starts_with("::") {
        "| "
    } else {
        ""
    };
    format!("      {bar}{said}\n")
}

/// A kernel could not be provided.
pub(super) fn no_kernel(style: TerminalStyle, failed: &KernelFailed) -> String {
    let mut lines = failed.reason.lines();
    let mut text = format!(
        "{}  {}  {}\n",
        style.mark("NO KERNEL"),
        escape::line(&failed.kernel),
        escape::line(lines.next().unwrap_or_default())
    );
    for line in lines {
        text.push_str(&indented(&escape::line(line)));
    }
    for hint in &failed.hints {
        append(
            &mut text,
            format_args!("      hint: {}\n", escape::line(hint)),
        );
    }
    text
}

/// A VM's guest said hello.
pub(super) fn vm_started(style: TerminalStyle, up: &VmStarted) -> String {
    let took = seconds(up.boot_ms);
    // The rest is the distribution's version, which would fill a line.
    let qemu = up.qemu.split_whitespace().next().unwrap_or_default();
    let aslr = if up.addr_no_randomize {
        ", no ASLR"
    } else {
        ""
    };
    let (release, accelerator) = (&up.release, &up.accelerator);
    let unusual: String = [
        (up.machine == "q35", ", q35"),
        (up.transport == "pci", ", PCI"),
        (up.share == "9p", ", 9p"),
        (up.no_overlay, ", no overlayfs"),
        (up.restored, ", from a snapshot"),
    ]
    .into_iter()
    .filter_map(|(is_so, word)| is_so.then_some(word))
    .collect();
    let what = format!("{release} up in {took} ({accelerator}, QEMU {qemu}{aslr}{unusual})");
    vm(style, &up.kernel, up.vm, &what)
}

/// How much slower than the reference a VM is.
pub(super) fn speed(style: TerminalStyle, speed: &SpeedMeasured) -> String {
    let what = format!(
        "time limits are multiplied by {:.1} while the guest computes",
        speed.factor
    );
    vm(style, &speed.kernel, speed.vm, &what)
}

/// Something about a VM.
fn vm(style: TerminalStyle, kernel: &str, vm: u32, what: &str) -> String {
    format!(
        "{}  {}  VM {vm}: {}\n",
        style.mark("VM"),
        escape::line(kernel),
        escape::line(what)
    )
}

/// A VM was lost.
pub(super) fn vm_lost(style: TerminalStyle, lost: &VmLost) -> String {
    let mut text = format!(
        "{}  {}  VM {} lost: {}\n",
        style.mark("VM"),
        escape::line(&lost.kernel),
        lost.vm,
        escape::line(&lost.reason)
    );
    if let Some(test) = &lost.test {
        append(
            &mut text,
            format_args!("      it ran {}\n", escape::line(test)),
        );
    }
    if let Some(status) = &lost.qmp_status {
        append(
            &mut text,
            format_args!("      {}\n", escape::line(&qmp_status(status))),
        );
    }
    text
}

/// Something the user should know.
pub(super) fn warning(style: TerminalStyle, warning: &Warning) -> String {
    let on = warning.kernel.as_ref().map_or(String::new(), |kernel| {
        format!("{}: ", escape::line(kernel))
    });
    format!(
        "{} {on}{}\n",
        style.mark("warning:"),
        escape::line(&warning.message)
    )
}

/// Why the run ends early.
pub(super) fn stopped(style: TerminalStyle, stopped: &RunStopped) -> String {
    format!(
        "{} {}\n",
        style.mark("stopped:"),
        escape::line(&stopped.message)
    )
}

/// The reason of a verdict, in one line of limited length; for a known failure, the reason why it
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
