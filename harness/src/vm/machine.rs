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

use super::control::Control;
use super::process::QemuProcess;
use super::qmp::Qmp;
use super::spec::VmSpec;
use crate::guest::share::Share;

/// Lines of the console that evidence shows.
const CONSOLE_LINES: usize = 20;
/// How long a guest may take to power off before it is killed.
const POWER_OFF: Duration = Duration::from_secs(10);
/// How long a share may take to notice that QEMU has gone.
const SHARE_GRACE: Duration = Duration::from_secs(2);

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
}

impl Evidence {
    /// Asks everybody who may know.
    pub(super) async fn gather(qemu: &mut QemuProcess, qmp: &Qmp) -> Self {
        let (status, ended) = match (qemu.try_wait(), qmp.status().await) {
            (Ok(Some(status)), _) => (format!("QEMU ended ({status})"), true),
            (_, Ok(status)) => (format!("QMP status: {}", status.state), false),
            (_, Err(error)) => (format!("QMP status unknown: {error}"), true),
        };
        if ended {
            qemu.console().drained().await;
        }
        Self {
            console: qemu.console().tail(CONSOLE_LINES),
            status,
            messages: qemu.messages(),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.status)?;
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
    pub(super) qmp: Qmp,
    pub(super) qemu: QemuProcess,
    pub(super) shares: Vec<Share>,
}

impl Vm {
    /// What is known about it, for when it is lost.
    pub async fn evidence(&mut self) -> Evidence {
        Evidence::gather(&mut self.qemu, &self.qmp).await
    }

    /// Powers the guest off and takes everything down. Whatever does not end
    /// by itself is killed; all is reaped when this returns.
    pub async fn stop(self) {
        let asked = self.control.send(&Request::PowerOff).await.is_ok();
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
        for share in self.shares {
            share.stop(SHARE_GRACE).await;
        }
    }
}
