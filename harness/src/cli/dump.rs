//! `kiln dump`: the memory of a running VM.

use std::path::{Path, PathBuf};

use clap::Args;
use nix::sys::signal::Signal;

use super::input::{self, Interrupts};
use super::vms::find;
use super::{Failure, output};
use crate::exit_code;
use crate::hint::{Hint as _, with_causes};
use crate::vm::card::Running;
use crate::vm::dump;

/// Write the memory of a running VM into a file for crash or drgn.
#[derive(Debug, Args)]
#[command(
    after_help = "The file is a compressed vmcore in kdump's format; the VM stands still meanwhile.

Examples:
  kiln dump 6.1 && crash vmlinux vmcore
  kiln dump 6.1 -o core && drgn -c core"
)]
pub(super) struct DumpArgs {
    /// The VM: an id of kiln ps, or the name of its kernel
    vm: String,
    /// The file, which must not exist
    #[arg(short, long, value_name = "FILE", default_value = "vmcore")]
    output: PathBuf,
}

impl DumpArgs {
    /// Dumps it. Interrupted, it leaves no file, and the VM goes on.
    pub(super) async fn run(&self) -> Result<u8, Failure> {
        let vm = find(&self.vm)?;
        let mut interrupts = Interrupts::listen()?;
        let bytes = match write(&vm, &self.output, &mut interrupts).await? {
            Ok(bytes) => bytes,
            Err(signal) => return Ok(input::code_of(signal)),
        };
        output::note(&format!(
            "kiln: {} ({} MiB)",
            self.output.display(),
            bytes >> 20
        ));
        Ok(exit_code::OK)
    }
}

/// Writes the memory of a running VM, and returns how many bytes that took, or the signal that ended
/// it.
pub(super) async fn write(
    vm: &Running,
    path: &Path,
    interrupts: &mut Interrupts,
) -> Result<Result<u64, Signal>, Failure> {
    let written = tokio::select! {
        biased;
        signal = interrupts.next() => return Ok(Err(signal)),
        written = dump::of_running(&vm.dir, path) => written,
    };
    let bytes = written.map_err(|error| Failure {
        code: exit_code::SETUP_FAILED,
        message: format!("cannot dump VM {}: {}", vm.id, with_causes(&error)),
        hints: error.hints(),
    })?;
    Ok(Ok(bytes))
}
