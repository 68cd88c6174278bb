//! `kiln gdb`: a debugger on the kernel of a running VM.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use clap::Args;

use super::input::Interrupts;
use super::vms::{admin, find};
use super::{Failure, output};
use crate::child::Supervised;
use crate::exit_code;
use crate::vm::card::{Card, Running};
use crate::vm::hold::Hold;
use crate::vm::qmp::Qmp;

/// Open gdb on the kernel of a running VM.
#[derive(Debug, Args)]
#[command(
    after_help = "The VM stands still while gdb is attached, and goes on afterwards. --gdb of kiln exec, shell and
run turns off the randomization of the kernel's addresses (nokaslr), without which symbols have
other ones.

Examples:
  kiln gdb 6.1 --vmlinux ../linux/vmlinux
  kiln gdb 8sJ2xa -- -batch -ex bt"
)]
pub(super) struct GdbArgs {
    /// The VM: an id of kiln ps, or the name of its kernel
    vm: String,
    /// The kernel with debug information [default: vmlinux of the build tree that the kernel is of]
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,
    /// gdb to use
    #[arg(long, value_name = "PATH", default_value = "gdb")]
    gdb: PathBuf,
    /// Further arguments for gdb
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

impl GdbArgs {
    /// Runs gdb; its status is ours.
    pub(super) async fn run(&self) -> Result<u8, Failure> {
        let vm = find(&self.vm)?;
        let hold = hold(&vm)?;
        let own = vm.dir.join("stub.sock");
        let qmp = if vm.card.gdb.is_some() {
            None
        } else {
            let qmp = admin(&vm).await?;
            let listen = format!("gdbserver unix:{},server=on,wait=off", own.display());
            human(&qmp, &listen).await?;
            output::note(
                "kiln: this VM was started without --gdb: its kernel's addresses may not be those of the symbols",
            );
            Some(qmp)
        };
        let target = vm.card.gdb.clone().unwrap_or(own.display().to_string());
        let mut gdb = tokio::process::Command::new(&self.gdb);
        match self.vmlinux.clone().or_else(|| vmlinux(&vm.card)) {
            Some(vmlinux) => drop(gdb.arg(vmlinux)),
            None => output::note(&format!(
                "kiln: nothing says where the debug information of {} is: name it with --vmlinux FILE",
                vm.card.release
            )),
        }
        gdb.args(["-ex", "set confirm off", "-ex"])
            .arg(format!("target remote {target}"))
            .args(&self.arguments)
            .stdin(Stdio::inherit());
        // Ctrl-C is gdb's; it has the terminal, so it stays in our process group.
        let _interrupts = Interrupts::listen()?;
        let status = Supervised::in_our_group(gdb).await.map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot run {}: {error}", self.gdb.display()),
            )
            .hint("install gdb, or name it with --gdb PATH")
        });
        if let Some(qmp) = qmp {
            let _ = human(&qmp, "gdbserver none").await;
            // A gdb that was killed leaves the VM standing.
            let _ = qmp.cont().await;
            let _ = std::fs::remove_file(&own);
        }
        drop(hold);
        let status = status?;
        Ok(status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(exit_code::OWN_FAILURE))
    }
}

/// Runs a monitor command that prints nothing if all goes well.
async fn human(qmp: &Qmp, command: &str) -> Result<(), Failure> {
    let said = qmp.human(command).await?;
    // It says so when it has stopped to listen.
    if said.trim().is_empty() || said.contains("Waiting for gdb") || said.contains("Disabled") {
        return Ok(());
    }
    Err(Failure::new(
        exit_code::SETUP_FAILED,
        format!("QEMU cannot open gdb's stub: {}", said.trim()),
    ))
}

/// `vmlinux` of the build tree that the kernel was taken from.
fn vmlinux(card: &Card) -> Option<PathBuf> {
    let path = card.cwd.join(&card.kernel);
    let above = path.ancestors().take(4);
    let mut places = above.map(|dir| dir.join("vmlinux"));
    places.find(|vmlinux| vmlinux.is_file())
}

/// Takes hold of a VM, so that its kiln does not take it for hung while it is stopped.
fn hold(vm: &Running) -> Result<Hold, Failure> {
    let hold = Hold::take(&vm.dir).map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot take hold of VM {}: {error}", vm.id),
        )
    })?;
    hold.ok_or_else(|| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("somebody else debugs or dumps VM {}", vm.id),
        )
        .hint("wait until they have ended")
    })
}
