//! `kiln shell`: an interactive shell in a kernel.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::attach::Shell;
use super::context::Context;
use super::guest_command::Errand;
use super::input::{self, Interrupts, StdinSource, window_size};
use super::streams::Streams;
use super::vm_args::VmArgs;
use super::{Failure, attach, guest_command, output};
use crate::guest::root::Root;
use crate::run::command::Command;

/// Open an interactive root shell in a kernel.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kiln shell -k 6.1
  kiln shell -k ../linux --root dir:/srv/rootfs
  kiln shell --attach 6.1
  echo 'cat /proc/version' | kiln shell -k 5.10")]
pub(super) struct ShellArgs {
    /// Kernel: a name of kernels.toml, POOL:VERSION such as debian:6.18, host,
    /// or a path: a build tree, an image, or packages separated by commas
    #[arg(
        short,
        long = "kernel",
        value_name = "KERNEL",
        required_unless_present = "attach"
    )]
    pub(super) kernel: Option<String>,
    /// Open the shell in a VM that runs: an id of kiln ps, or the name of its kernel
    #[arg(long, value_name = "VM", conflicts_with = "kernel")]
    attach: Option<String>,
    /// Run the shell as this user of the guest, by name or number
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Shell to run in the guest
    #[arg(long, value_name = "PATH")]
    pub(super) shell: Option<PathBuf>,
    /// How VMs are made
    #[command(flatten)]
    pub(super) vm: VmArgs,
}

impl ShellArgs {
    /// Runs the shell until it ends; its status is ours.
    pub(super) async fn run(mut self, config: Option<PathBuf>) -> Result<u8, Failure> {
        if let Some(vm) = &self.attach {
            let shell = Shell {
                path: self.shell.clone(),
                user: self.user.clone(),
                env: self.vm.environment()?,
            };
            return attach::to_named(vm, shell).await;
        }
        let context = Context::load(config.as_deref())?;
        let kernel = self.kernel.clone().unwrap_or_default();
        let selected = context.select(std::slice::from_ref(&kernel)).await?;
        let [selected] = selected.as_slice() else {
            return Err(Failure::new(
                crate::exit_code::USAGE,
                format!("`{kernel}` selects several kernels; a shell runs in one"),
            ));
        };
        let mut interrupts = Interrupts::listen()?;
        // May build packages for hours.
        tokio::select! {
            resolved = self.vm.root.resolve(&context) => resolved?,
            signal = interrupts.next() => return Ok(input::code_of(signal)),
        }
        if self.vm.dry_run {
            return guest_command::print_command_line(
                &context,
                &self.vm,
                selected,
                std::slice::from_ref(&context.cwd),
            )
            .await;
        }
        if let Some(note) = self.vm.passed().note() {
            output::note(&format!("kiln: {note}"));
        }
        let interactive = input::on_terminal();
        let shell = self
            .shell
            .clone()
            .unwrap_or_else(|| default_shell(&self.vm.root.root()));
        let mut argv = vec![shell.into_os_string().into_vec()];
        if interactive {
            argv.push(b"-i".to_vec());
        }
        let command = Command {
            argv,
            env: self.vm.environment()?,
            cwd: context.cwd.clone().into_os_string().into_vec(),
            terminal: interactive.then(window_size),
            timeout: None,
            edited: true,
            user: self.user.clone(),
        };
        let mut stdin = StdinSource::new(false)?;
        if interactive {
            output::note("kiln: booting; Ctrl-] three times ends the VM whatever it does");
        }
        guest_command::in_vm(
            &context,
            selected,
            &self.vm,
            Errand {
                command,
                stdin: stdin.open()?,
                visible: vec![context.cwd.clone()],
            },
            &mut interrupts,
            &mut Streams::direct(),
        )
        .await
    }
}

/// bash if the root has it, else the system's shell.
fn default_shell(root: &Root) -> PathBuf {
    let bash = Path::new("bin/bash");
    let has_bash = match root {
        Root::Host => Path::new("/").join(bash).exists(),
        Root::Dir(dir) => dir.join(bash).exists(),
        Root::Nix(_) => false,
    };
    PathBuf::from(if has_bash { "/bin/bash" } else { "/bin/sh" })
}
