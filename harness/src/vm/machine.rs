//! A running VM and its end.
//!
//! ```text
//! Launch ──prepare──▶ Prepared ──start──▶ Vm ──stop──▶ (all reaped)
//!                         │                 │
//!                         └─ Error::Boot ◀──┴── lost: Evidence
//! ```

use std::fmt;
use std::time::Duration;

use guest_init::message::{Hello, Request};

use super::console::Console;
use super::control::Control;
use super::health::{self, Loss};
use super::process::QemuProcess;
use super::qmp::{Qmp, VmEvents};
use super::relief::Relief;
use super::spec::VmSpec;
use crate::guest::share::Share;

/// Name of a memory dump, as kdump's tools call it.
pub const VMCORE: &str = "vmcore";
/// Lines of the console that evidence shows, where nothing stands out.
const CONSOLE_LINES: usize = 20;
/// Lines that it shows at most, where the kernel said why it died: the stack
/// and the registers that follow have about 40.
const OOPS_LINES: usize = 80;
/// How a kernel begins its last words (Linux, kernel/panic.c and
/// arch/x86/kernel/dumpstack.c).
const LAST_WORDS: [&str; 3] = ["Kernel panic - not syncing", "Oops: ", "BUG: "];
/// How long QEMU may take to end once its QMP connection broke.
const ENDING: Duration = Duration::from_secs(1);
/// How long a guest may take to power off before it is killed.
const POWER_OFF: Duration = Duration::from_secs(10);

/// What stands before QMP's run state in [`Evidence::status`].
pub const QMP_STATUS: &str = "QMP status: ";

/// What is known about a VM that was lost or did not come up. Guest text is
/// in it as it came: whoever shows it escapes it.
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
}

impl Evidence {
    /// Asks everybody who may know.
    pub(super) async fn gather(qemu: &mut QemuProcess, qmp: &Qmp) -> Self {
        let (status, ended) = match qmp.status().await {
            Ok(status) => (format!("{QMP_STATUS}{}", status.state), false),
            Err(error) => match tokio::time::timeout(ENDING, qemu.wait()).await {
                Ok(Ok(status)) => (format!("QEMU ended ({status})"), true),
                _ => (format!("QMP status unknown: {error}"), true),
            },
        };
        if ended {
            qemu.console().drained().await;
        }
        Self {
            console: telling(&qemu.console().tail(OOPS_LINES)),
            status,
            messages: qemu.messages(),
            dump: None,
        }
    }
}

/// The end of a console, from the first of the kernel's last words on.
fn telling(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    let usual = lines.len().saturating_sub(CONSOLE_LINES);
    let from = lines
        .iter()
        .position(|line| LAST_WORDS.iter().any(|words| line.contains(words)))
        .map_or(usual, |at| at.min(usual));
    lines[from..].join("\n")
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
    /// How the descriptors of its shares are.
    pub relief: Relief,
    pub(super) qmp: Qmp,
    pub(super) events: VmEvents,
    pub(super) qemu: QemuProcess,
    pub(super) shares: Vec<Share>,
}

impl Vm {
    /// What is known about it, for when it is lost.
    pub async fn evidence(&mut self) -> Evidence {
        let mut evidence = Evidence::gather(&mut self.qemu, &self.qmp).await;
        if self.spec.dump_on_panic {
            evidence.dump = Some(self.dump().await);
        }
        evidence
    }

    /// Writes the guest's memory beside the console's log; says where, or why
    /// not.
    async fn dump(&self) -> String {
        let path = self.spec.console_log.with_file_name(VMCORE);
        match self.qmp.dump(&path).await {
            Ok(()) => format!("the guest's memory is in {}", path.display()),
            Err(error) => format!("the guest's memory could not be dumped: {error}"),
        }
    }

    /// QEMU's process.
    pub fn pid(&self) -> nix::unistd::Pid {
        self.qemu.pid()
    }

    /// What the guest's kernel has written to the console.
    pub fn console(&self) -> &Console {
        self.qemu.console()
    }

    /// The control port, and a future that ends when the VM is lost: it ends
    /// or stops, its guest says nothing for too long or a share dies under it.
    pub fn watched(&mut self) -> (&mut Control, impl Future<Output = Loss>) {
        let lost = health::lost(
            &mut self.shares,
            &mut self.events,
            self.control.heard(),
            self.spec.hang_timeout,
        );
        (&mut self.control, lost)
    }

    /// Powers the guest off and takes everything down. Whatever does not end
    /// by itself is killed; all is reaped when this returns.
    pub async fn stop(mut self) {
        let asked = self.control.send(&Request::PowerOff).await.is_ok();
        if asked && self.spec.dump_on_panic {
            // This QEMU stays when its guest has powered off.
            let _ = tokio::time::timeout(POWER_OFF, self.events.recv()).await;
            let _ = self.qmp.quit().await;
        }
        self.take_down(if asked { POWER_OFF } else { Duration::ZERO })
            .await;
    }

    /// Takes everything down at once, without the guest's help.
    pub async fn kill(self) {
        self.take_down(Duration::ZERO).await;
    }

    async fn take_down(self, grace: Duration) {
        if let Err(error) = self.qemu.stop(grace).await {
            tracing::warn!(%error, "while QEMU was taken down");
        }
        // QEMU has gone, and what the guest has written is written: nothing is
        // gained by letting a share give its memory back in good order.
        let stopping = self
            .shares
            .into_iter()
            .map(|share| share.stop(Duration::ZERO));
        futures::future::join_all(stopping).await;
    }
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
    fn evidence_never_shows_less_than_usual() {
        let shown = telling(&console(70, Some(68)));
        assert_eq!(shown.lines().count(), CONSOLE_LINES);
        assert_eq!(telling(&console(70, None)).lines().count(), CONSOLE_LINES);
        assert_eq!(telling(&console(3, None)).lines().count(), 3);
        assert_eq!(telling(""), "");
    }
}
