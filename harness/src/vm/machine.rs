//! A running VM and its end.
//!
//! ```text
//! Launch ──prepare──▶ Prepared ──start──▶ Vm ──stop──▶ (all reaped)
//!                         │                 │
//!                         └─ Error::Boot ◀──┴── lost: Evidence
//! ```

use std::fmt;
use std::time::Duration;

use guest_init::console;
use guest_init::message::{Hello, Request};

use super::console::Console;
use super::control::{self, Control};
use super::dump;
use super::health::{self, Loss};
use super::kernel_log::{self, KernelProblem};
use super::process::QemuProcess;
use super::qmp::{Qmp, VmEvents};
use super::relief::Relief;
use super::spec::VmSpec;
use crate::guest::share::Share;
use crate::hint::with_causes;

/// Name of a memory dump, as kdump's tools call it.
pub const VMCORE: &str = "vmcore";
/// Lines of the console to show as evidence if nothing stands out.
const CONSOLE_LINES: usize = 20;
/// Lines to search for the kernel's last messages: the stack and registers of an oops have about
/// 60, and a panic with those of other processors may follow.
const LAST_LINES: usize = 1000;
/// Lines of that to show, half from the beginning and half from the end.
const SHOWN_LINES: usize = 400;
/// How long QEMU may take to end once its QMP connection broke.
const ENDING: Duration = Duration::from_secs(1);
/// How long a guest may take to power off before it is killed.
const POWER_OFF: Duration = Duration::from_secs(10);

/// Prefix of QMP's run state in [`Evidence::status`].
pub const QMP_STATUS: &str = "QMP status: ";

/// What the reason for the loss of a VM begins with if its kernel panicked.
const PANICKED: &str = "the kernel panicked: ";

/// Whether a VM that was lost for this reason had a kernel that panicked.
pub fn is_panic(reason: &str) -> bool {
    reason.starts_with(PANICKED)
}

/// What is known about a VM that was lost or did not boot. Guest text is unescaped: escape it to
/// show it.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The console's last lines.
    pub console: String,
    /// QMP's `RunState`, or how QEMU ended.
    pub status: String,
    /// QEMU's own messages.
    pub messages: String,
    /// Where the guest's memory was written, or why it was not.
    pub dump: Option<String>,
    /// Kernel reports that nobody has taken yet.
    pub kernel_reports: Vec<KernelProblem>,
    /// The kernel's panic message.
    pub panic: Option<String>,
    /// The guest had started another kernel (kexec).
    pub restarted: bool,
    /// How the VM ended, if QEMU reported it and nobody has seen that yet.
    pub ended: Option<String>,
}

impl Evidence {
    /// Collects the evidence.
    pub(super) async fn gather(qemu: &mut QemuProcess, qmp: &Qmp, events: &mut VmEvents) -> Self {
        let (status, ended) = match qmp.status().await {
            Ok(status) => (format!("{QMP_STATUS}{}", status.state), false),
            Err(error) => match tokio::time::timeout(ENDING, qemu.wait()).await {
                Ok(Ok(status)) => (format!("QEMU ended ({status})"), true),
                _ => (format!("QMP status unknown: {error}"), true),
            },
        };
        let console = qemu.console();
        if ended {
            console.drained().await;
        } else {
            // QEMU may be ending, with the guest's output still in the pipe, or the guest may be
            // printing an oops.
            console.settled().await;
            console.whole_report().await;
        }
        Self {
            console: telling(&console.tail(LAST_LINES)),
            status,
            messages: qemu.messages(),
            dump: None,
            kernel_reports: console.take_reports(),
            panic: console.panic(),
            restarted: console.restarted(),
            ended: events
                .try_recv()
                .ok()
                .map(|event| Loss::from(event).to_string()),
        }
    }

    /// What ended the VM, if the console or QEMU know more than that the port closed.
    pub fn cause(&self) -> Option<String> {
        let panic = self.panic.as_ref().map(|why| format!("{PANICKED}{why}"));
        panic.or_else(|| self.ended.clone())
    }

    /// Why the guest did not boot: what the kernel or guest-init said of it, or else how QEMU says
    /// that the VM ended, or `seen`.
    pub(super) fn why_no_boot(&self, seen: String) -> String {
        match console::failure(&self.console) {
            Some(said) if self.panic.is_none() => format!("guest-init {said}"),
            _ => self.cause().unwrap_or(seen),
        }
    }

    /// Why this VM is lost, given the `error` that showed it.
    pub fn reason(&self, error: &control::Error) -> String {
        let cause = match error {
            // What is certain.
            control::Error::Lost(Loss::Share(_) | Loss::Shutdown { .. } | Loss::Restarted)
            | control::Error::Garbage(_) => None,
            control::Error::Lost(_) => self.cause().filter(|_| self.panic.is_some()),
            _ => self.cause(),
        };
        let reason = cause.unwrap_or_else(|| with_causes(error));
        if self.restarted && !matches!(error, control::Error::Lost(Loss::Restarted)) {
            return format!("{reason}, after {}", Loss::Restarted);
        }
        reason
    }
}

/// The end of a console, from the first of the kernel's last messages on.
fn telling(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    let usual = lines.len().saturating_sub(CONSOLE_LINES);
    let from = lines
        .iter()
        .position(|line| kernel_log::is_telling(line))
        .map_or(usual, |at| at.min(usual));
    let shown = &lines[from..];
    let left_out = shown.len().saturating_sub(SHOWN_LINES);
    if left_out == 0 {
        return shown.join("\n");
    }
    let (first, last) = (
        &shown[..SHOWN_LINES / 2],
        &shown[shown.len() - SHOWN_LINES / 2..],
    );
    let note = format!("[kiln: {left_out} lines left out]");
    [&first.join("\n"), note.as_str(), &last.join("\n")].join("\n")
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.status)?;
        if let Some(dump) = &self.dump {
            write!(f, "\n  {dump}")?;
        }
        if !self.messages.trim().is_empty() {
            write!(f, "\n  QEMU said:")?;
            for line in self.messages.trim().lines() {
                write!(f, "\n    {line}")?;
            }
        }
        if self.console.trim().is_empty() {
            return write!(f, "\n  the console is empty");
        }
        write!(f, "\n  the console's last lines:")?;
        for line in self.console.lines() {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// A VM whose guest has said hello. Dropping it kills it.
pub struct Vm {
    /// What it was started from.
    pub spec: VmSpec,
    /// The guest's first message.
    pub hello: Hello,
    /// Its control port.
    pub control: Control,
    /// The use of file descriptors by its shares.
    pub relief: Relief,
    /// Whether it was saved after an earlier boot, and restored.
    pub restored: bool,
    pub(super) qmp: Qmp,
    pub(super) events: VmEvents,
    pub(super) qemu: QemuProcess,
    pub(super) shares: Vec<Share>,
}

impl Vm {
    /// What is known about it if it is lost.
    pub async fn evidence(&mut self) -> Evidence {
        let mut evidence = Evidence::gather(&mut self.qemu, &self.qmp, &mut self.events).await;
        if self.spec.dump_on_panic {
            evidence.dump = Some(self.dump().await);
        }
        evidence
    }

    /// Writes the guest's memory beside the console's log; returns where, or why not.
    async fn dump(&self) -> String {
        let path = self.spec.console_log.with_file_name(VMCORE);
        let release = &self.spec.kernel.release;
        let written = dump::write(&self.qmp, self.spec.dir(), &path, release).await;
        dump::told(&path, &written)
    }

    /// QEMU's process.
    pub fn pid(&self) -> nix::unistd::Pid {
        self.qemu.pid()
    }

    /// Waits until QEMU has ended.
    pub async fn ended(&mut self) {
        let _ = self.qemu.wait().await;
    }

    /// What the guest's kernel has written to the console.
    pub fn console(&self) -> &Console {
        self.qemu.console()
    }

    /// The control port, and a future that ends when the VM is lost: it ends or stops, its guest
    /// sends nothing for too long, or one of its shares dies.
    pub fn watched(&mut self) -> (&mut Control, impl Future<Output = Loss>) {
        let (control, _, lost) = self.parts();
        (control, lost)
    }

    /// The same, and the console.
    pub fn parts(&mut self) -> (&mut Control, &Console, impl Future<Output = Loss>) {
        let lost = health::lost(
            &mut self.shares,
            &mut self.events,
            self.control.heard(),
            self.spec.hang_timeout,
            self.spec.held(),
        );
        (&mut self.control, self.qemu.console(), lost)
    }

    /// Powers the guest off and stops everything. Kills what does not end by itself; everything is
    /// reaped when this returns. Returns the kernel reports that nobody has taken yet, including
    /// those at shutdown.
    pub async fn stop(mut self) -> Stopped {
        let asked = self.control.send(&Request::PowerOff).await.is_ok();
        if asked && (self.spec.dump_on_panic || self.spec.gdb.is_some()) {
            // This QEMU does not exit when its guest powers off.
            let _ = tokio::time::timeout(POWER_OFF, self.events.recv()).await;
            let _ = self.qmp.quit().await;
        }
        self.take_down(if asked { POWER_OFF } else { Duration::ZERO })
            .await
    }

    /// Stops everything at once, without the guest's help.
    pub async fn kill(self) {
        self.take_down(Duration::ZERO).await;
    }

    async fn take_down(self, grace: Duration) -> Stopped {
        take_down(self.qemu, self.shares, grace).await
    }
}

/// Gives QEMU `grace` to end, then kills it; its shares end with it.
pub(super) async fn take_down(qemu: QemuProcess, shares: Vec<Share>, grace: Duration) -> Stopped {
    let reports = qemu.console().reports();
    let mut killed = false;
    match qemu.stop(grace).await {
        Ok(status) => killed = status.code().is_none(),
        Err(error) => tracing::warn!(%error, "while stopping QEMU"),
    }
    // QEMU has ended, and the guest's writes are complete: there is no point in letting a share
    // free its memory properly.
    let stopping = shares.into_iter().map(|share| share.stop(Duration::ZERO));
    futures::future::join_all(stopping).await;
    Stopped {
        kernel_reports: reports.take(),
        killed,
    }
}

/// A VM that has been stopped.
#[derive(Debug)]
pub struct Stopped {
    /// What the kernel reported since the last call.
    pub kernel_reports: Vec<KernelProblem>,
    /// The guest did not power off within [`POWER_OFF`], or was not asked to.
    pub killed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(lines: usize, panic_at: Option<usize>) -> String {
        let line = |at| match panic_at {
            Some(panic) if at == panic => "[ 2.4] Kernel panic - not syncing: why".to_owned(),
            _ => format!("line {at}"),
        };
        (0..lines).map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn evidence_shows_a_panic_from_its_first_line_on() {
        let shown = telling(&console(70, Some(30)));
        assert!(shown.starts_with("[ 2.4] Kernel panic"), "{shown}");
        assert!(shown.ends_with("line 69"), "{shown}");
    }

    #[test]
    fn what_guest_init_says_of_a_failed_boot_is_the_reason_but_for_a_panic() {
        let mut evidence = Evidence {
            console: "kiln-init: a: no such device\n\
                      [ 1.0] kiln-init: failed to mount a share: s: Invalid argument\r\n\
                      [ 1.1] reboot: Power down"
                .to_owned(),
            ended: Some("the guest powered itself off".to_owned()),
            ..Evidence::default()
        };
        assert_eq!(
            evidence.why_no_boot("seen".to_owned()),
            "guest-init failed to mount a share: s: Invalid argument"
        );
        evidence.panic = Some("why".to_owned());
        let why = evidence.why_no_boot("seen".to_owned());
        assert_eq!(why, "the kernel panicked: why");
        let mut evidence = Evidence {
            console: "kiln-init: a: no such device".to_owned(),
            ..Evidence::default()
        };
        assert_eq!(evidence.why_no_boot("seen".to_owned()), "seen");
        evidence.ended = Some("the guest rebooted".to_owned());
        let why = evidence.why_no_boot("seen".to_owned());
        assert_eq!(why, "the guest rebooted");
    }

    #[test]
    fn evidence_never_shows_less_than_usual() {
        let shown = telling(&console(70, Some(68)));
        assert_eq!(shown.lines().count(), CONSOLE_LINES);
        assert_eq!(telling(&console(70, None)).lines().count(), CONSOLE_LINES);
        assert_eq!(telling(&console(3, None)).lines().count(), 3);
        assert_eq!(telling(""), "");
    }
}
