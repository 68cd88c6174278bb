//! Counts, times and kinds in words.

use crate::run::event::KernelReport;

/// `1 test`, `2 tests`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Tenths of seconds, as integers to avoid floating point.
pub(super) fn seconds(ms: u64) -> String {
    let tenths = ms.saturating_add(50) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

/// The same for times that may be long.
pub(super) fn minutes(ms: u64) -> String {
    let whole = ms / 1000;
    if whole < 60 {
        seconds(ms)
    } else {
        format!("{} min {} s", whole / 60, whole % 60)
    }
}

/// QMP's state of a lost VM, or why it is unknown.
pub(super) fn qmp_status(status: &str) -> String {
    // The text says itself what it is about.
    if status.starts_with("QEMU ") || status.starts_with("QMP ") {
        status.to_owned()
    } else {
        format!("QMP status: {status}")
    }
}

/// The kind of a kernel report, and what `kernels.toml` says about it.
pub(super) fn report_kind(report: &KernelReport) -> String {
    let KernelReport {
        kind,
        allowed,
        denied,
        ..
    } = report;
    match (allowed, denied) {
        (Some(reason), _) => format!("{kind}, allowed: {reason}"),
        (None, Some(reason)) => format!("{kind}: {reason}"),
        (None, None) => kind.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_named_and_an_end_names_itself() {
        assert_eq!(qmp_status("running"), "QMP status: running");
        assert_eq!(
            qmp_status("QEMU ended (signal: 9)"),
            "QEMU ended (signal: 9)"
        );
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(3_149), "3.1 s");
        assert_eq!(seconds(999), "1.0 s");
        assert_eq!(minutes(59_900), "59.9 s");
        assert_eq!(minutes(483_000), "8 min 3 s");
    }
}
