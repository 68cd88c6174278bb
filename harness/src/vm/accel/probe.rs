//! Boots a kernel under KVM and watches how that ends.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::kernel::KernelImage;
use crate::vm::accelerator::Accelerator;
use crate::vm::extras::Extras;
use crate::vm::means::Means;
use crate::vm::process::{self, QemuProcess};
use crate::vm::qemu::Qemu;
use crate::vm::qmp::{Qmp, VmEvent, VmEvents};
use crate::vm::spec::VmSpec;

/// What the probe boots, and where it stores its result.
#[derive(Debug, Clone, Copy)]
pub struct ProbeInput<'a> {
    /// The QEMU that will run the VMs.
    pub qemu: &'a Qemu,
    /// Any kernel.
    pub kernel: &'a KernelImage,
    /// An initramfs whose init powers off at once (`BootPlan::probe`).
    pub initramfs: &'a Path,
    /// How its guests are reached.
    pub means: &'a Means,
    /// Where `accel.json` is kept.
    pub cache_dir: &'a Path,
}

/// How long a bare boot may take; with a working KVM it is under a second.
const DEADLINE: Duration = Duration::from_secs(10);

/// Time between two queries of QEMU's state: an event from before the QMP connection is lost.
const LOOK: Duration = Duration::from_millis(250);

/// How long QEMU may take to exit after its guest has ended.
const GRACE: Duration = Duration::from_millis(500);

/// Memory of the probe's VM in bytes: room for vmlinux, initramfs and some more.
const MEMORY: u64 = 512 << 20;

/// The result of a boot under KVM.
pub(super) enum ProbeResult {
    /// The guest powered off.
    Works,
    /// KVM failed: QEMU died, stopped the VM for good, or the kernel did not print one message
    /// (seen with named CPU models on a host where `-cpu host` dies of an MSR).
    Broken(String),
    /// The guest did not power off, for whatever reason.
    Unclear(String),
}

/// Boots, and stops everything again.
pub(super) async fn boot(input: &ProbeInput<'_>) -> io::Result<ProbeResult> {
    let dir = tempfile::Builder::new().prefix("kiln-probe-").tempdir()?;
    let spec = VmSpec {
        qemu: input.qemu.path.clone(),
        accelerator: Accelerator::Kvm,
        memory: MEMORY,
        cpus: 1,
        cpu: None,
        kernel: input.kernel.clone(),
        initramfs: input.initramfs.to_owned(),
        virtiofs: Vec::new(),
        nine_p: Vec::new(),
        means: input.means.clone(),
        asked: Vec::new(),
        qmp_socket: dir.path().join("qmp"),
        control_socket: None,
        console_log: dir.path().join("console.log"),
        qemu_log: dir.path().join("qemu.log"),
        counter_khz: None,
        hang_timeout: DEADLINE,
        dump_on_panic: false,
        gdb: None,
        kernel_log: crate::vm::kernel_log::Patterns::default(),
        extras: Extras::default(),
        qemu_sandbox: input.qemu.sandbox,
        // A kernel that runs at all prints to the console.
        kernel_args: vec!["loglevel=8".to_owned()],
        // Held until QMP is connected, so that no event is missed.
        qemu_args: vec!["-S".to_owned()],
        memory_file: None,
        incoming: false,
    };
    let deadline = Instant::now() + DEADLINE;
    let mut qemu = match QemuProcess::start(&spec).await {
        Ok(qemu) => qemu,
        Err(error) => return Err(io::Error::other(error.to_string())),
    };
    let outcome = match qemu.connect_qmp(DEADLINE).await {
        Ok((qmp, events)) => watch(&mut qemu, &qmp, events, deadline).await,
        Err(process::Error::EndedEarly {
            messages, status, ..
        }) => broken(&messages, status),
        Err(error) => ProbeResult::Unclear(error.to_string()),
    };
    let grace = if matches!(outcome, ProbeResult::Works) {
        GRACE
    } else {
        Duration::ZERO
    };
    let _ = qemu.stop(grace).await;
    Ok(outcome)
}

/// Runs the VM until there is a result.
async fn watch(
    qemu: &mut QemuProcess,
    qmp: &Qmp,
    mut events: VmEvents,
    deadline: Instant,
) -> ProbeResult {
    let watched = timeout_at(deadline, async {
        if let Err(error) = qmp.cont().await {
            tracing::debug!("KVM probe: {error}");
        }
        loop {
            tokio::select! {
                // In this order: what QEMU reported takes precedence over its end.
                biased;
                event = events.recv() => match event {
                    Some(VmEvent::Shutdown { guest: true, reason }) if reason == "guest-shutdown" => {
                        return ProbeResult::Works;
                    }
                    Some(VmEvent::Shutdown { reason, .. } | VmEvent::Reset { reason }) => {
                        return ProbeResult::Unclear(format!("the guest ended by {reason}"));
                    }
                    Some(VmEvent::GuestPanicked) => {
                        return ProbeResult::Unclear("the guest panicked".to_owned());
                    }
                    Some(VmEvent::Stopped | VmEvent::Resumed) => {}
                    None => return ended(qemu).await,
                },
                () = sleep(LOOK) => {}
            }
            if let Ok(status) = qmp.status().await
                && status.internal_error
            {
                return ProbeResult::Broken("QEMU stopped the guest with an internal error".to_owned());
            }
        }
    })
    .await;
    match watched {
        Ok(outcome) => outcome,
        Err(_) if qemu.console().position() == 0 => ProbeResult::Broken(format!(
            "a kernel printed nothing within {} s",
            DEADLINE.as_secs()
        )),
        Err(_) => ProbeResult::Unclear(format!(
            "a guest did not power off within {} s",
            DEADLINE.as_secs()
        )),
    }
}

/// QEMU closed QMP without an event from the guest.
async fn ended(qemu: &mut QemuProcess) -> ProbeResult {
    match qemu.wait().await {
        Ok(status) => {
            qemu.drain_messages().await;
            broken(&qemu.messages(), status)
        }
        Err(error) => ProbeResult::Unclear(error.to_string()),
    }
}

/// How QEMU ended, in one line.
fn broken(messages: &str, status: std::process::ExitStatus) -> ProbeResult {
    let said = messages
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>();
    // The first line that is more than a warning is the cause.
    let cause = said
        .iter()
        .find(|line| !line.contains("warning:"))
        .or(said.first());
    ProbeResult::Broken(match cause {
        Some(cause) => format!("QEMU ended with {status}: {cause}"),
        None => format!("QEMU ended with {status}"),
    })
}
