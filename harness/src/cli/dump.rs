//! `kiln dump`: the memory of a running VM.

use std::path::PathBuf;

use clap::Args;

use super::input::{self, Interrupts};
use super::vms::find;
use super::{Failure, output};
use crate::exit_code;
use crate::hint::{Hint as _, with_causes};
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
        let written = tokio::select! {
            biased;
            signal = interrupts.next() => return Ok(input::code_of(signal)),
            written = dump::of_running(&vm.dir, &self.output) => written,
        };
        let bytes = written.map_err(|error| Failure {
            code: exit_code::SETUP_FAILED,
            message: format!("cannot dump VM {}: {}", vm.id, with_causes(&error)),
            hints: error.hints(),
        })?;
        output::note(&format!(
            "kiln: {} ({} MiB)",
            self.output.display(),
            bytes >> 20
        ));
        Ok(exit_code::OK)
    }
}
