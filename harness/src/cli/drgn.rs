//! `kiln drgn`: drgn on the memory of a running VM.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;

use super::debug_image::DebugImageArgs;
use super::input::{self, Interrupts};
use super::scratch_dir::scratch_dir;
use super::vms::find;
use super::{Failure, debugger, dump};
use crate::vm::machine::VMCORE;

/// Open drgn on the memory of a running VM.
#[derive(Debug, Args)]
#[command(
    after_help = "drgn gets a dump of the memory as it is now, which goes when drgn ends; the VM goes on.

Examples:
  kiln drgn 6.1 --fetch-symbols
  kiln drgn 6.1 -- -e 'print(prog[\"UTS_RELEASE\"])'"
)]
pub(super) struct DrgnArgs {
    /// The VM: an id of kiln ps, or the name of its kernel
    vm: String,
    /// Where the debug information is
    #[command(flatten)]
    image: DebugImageArgs,
    /// drgn to use
    #[arg(long, value_name = "PATH", default_value = "drgn")]
    drgn: PathBuf,
    /// Further arguments for drgn
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

impl DrgnArgs {
    /// Runs drgn; its status is ours.
    pub(super) async fn run(&self, config: Option<&Path>) -> Result<u8, Failure> {
        let vm = find(&self.vm)?;
        let vmlinux = self.image.find(&vm.card, config).await?;
        let dir = scratch_dir()?;
        let core = dir.path().join(VMCORE);
        let mut interrupts = Interrupts::listen()?;
        if let Err(signal) = dump::write(&vm, &core, &mut interrupts).await? {
            return Ok(input::code_of(signal));
        }
        let mut drgn = tokio::process::Command::new(&self.drgn);
        drgn.arg("-c").arg(&core);
        if let Some(vmlinux) = vmlinux {
            drgn.arg("-s").arg(vmlinux);
        }
        drgn.args(&self.arguments).stdin(Stdio::inherit());
        debugger::run(drgn, &self.drgn, "pip install drgn", "--drgn PATH").await
    }
}
