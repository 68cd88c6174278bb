//! `kiln gdb`: a debugger on the kernel of a running VM.

mod modules;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;

use super::debug_image::DebugImageArgs;
use super::input::Interrupts;
use super::scratch_dir::scratch_dir;
use super::vms::{admin, find};
use super::{Failure, debugger, output};
use crate::exit_code;
use crate::report::escape;
use crate::vm::card::Running;
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
    /// Where the debug information is
    #[command(flatten)]
    image: DebugImageArgs,
    /// gdb to use
    #[arg(long, value_name = "PATH", default_value = "gdb")]
    gdb: PathBuf,
    /// Further arguments for gdb
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

impl GdbArgs {
    /// Runs gdb; its status is ours.
    pub(super) async fn run(&self, config: Option<&Path>) -> Result<u8, Failure> {
        let vm = find(&self.vm)?;
        let vmlinux = self.image.find(&vm.card, config).await?;
        let hold = hold(&vm)?;
        let scratch = scratch_dir()?;
        // While the guest can still answer.
        let modules = modules::script(&vm, scratch.path())
            .await
            .unwrap_or_else(|why| {
                output::note(&format!(
                    "kiln: gdb gets no symbols of modules: {}",
                    escape::line(&why)
                ));
                None
            });
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
        gdb.args(vmlinux)
            .args(["-ex", "set confirm off", "-ex"])
            .arg(format!("target remote {target}"));
        if let Some(script) = modules {
            // It prints three lines for each.
            gdb.arg("-ex")
                .arg(format!("pipe source {} | cat >/dev/null", script.display()));
        }
        gdb.args(&self.arguments).stdin(Stdio::inherit());
        // Ctrl-C is gdb's.
        let _interrupts = Interrupts::listen()?;
        let code = debugger::run(gdb, &self.gdb, "install gdb", "--gdb PATH").await;
        if let Some(qmp) = qmp {
            let _ = human(&qmp, "gdbserver none").await;
            // A gdb that was killed leaves the VM standing.
            let _ = qmp.cont().await;
            let _ = std::fs::remove_file(&own);
        }
        drop(hold);
        code
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
