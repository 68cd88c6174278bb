//! The process that keeps a VM for `kiln exec --reuse`: started by the first client, in a session of
//! its own, until the VM can no longer be used.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use nix::unistd::{dup2_stderr, dup2_stdout, setsid};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use crate::cli::Failure;
use crate::cli::context::Context;
use crate::cli::guest_command::{remarks, resolve};
use crate::cli::input::{self, Interrupts};
use crate::cli::scratch_dir::scratch_dir;
use crate::cli::vm_args::VmArgs;
use crate::config::Selected;
use crate::exit_code;
use crate::run::kept;
use crate::scratch::Scratch;
use crate::vm::extras::CORES;
use crate::vm::machine::{VMCORE, Vm};

/// What the first client tells the keeper besides its own arguments.
#[derive(Debug, Clone, Args)]
pub(super) struct KeepArgs {
    /// Where to listen
    #[arg(long, hide = true, value_name = "SOCKET", requires_all = ["keep_kernel", "reuse"])]
    keep: Option<PathBuf>,
    /// Which of the selected kernels
    #[arg(long, hide = true, value_name = "NAME", requires = "keep")]
    keep_kernel: Option<String>,
    /// What the guest must see
    #[arg(long, hide = true, value_name = "DIR", requires = "keep")]
    keep_visible: Vec<PathBuf>,
}

impl KeepArgs {
    /// What to keep, if that is what this process is for.
    pub(super) fn asked(&self) -> Option<Asked> {
        Some(Asked {
            socket: self.keep.clone()?,
            kernel: self.keep_kernel.clone()?,
            visible: self.keep_visible.clone(),
        })
    }
}

/// What to keep.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Where to listen.
    pub(super) socket: PathBuf,
    /// The kernel's name.
    pub(super) kernel: String,
    /// What the guest must see.
    pub(super) visible: Vec<PathBuf>,
}

impl Asked {
    /// As arguments.
    pub(super) fn words(&self) -> impl Iterator<Item = std::ffi::OsString> {
        let visible = self.visible.iter();
        let visible = visible.flat_map(|dir| ["--keep-visible".into(), dir.clone().into()]);
        [
            "--keep".into(),
            self.socket.clone().into(),
            "--keep-kernel".into(),
            self.kernel.clone().into(),
        ]
        .into_iter()
        .chain(visible)
    }
}

/// What the keeper writes to its stdout, as one line of JSON: how the boot ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Booted {
    /// It serves.
    Ready {
        /// What the user should know about the VM.
        remarks: Vec<String>,
    },
    /// It does not.
    Failed {
        /// One of [`exit_code`].
        code: u8,
        /// What failed.
        message: String,
        /// What to do.
        hints: Vec<String>,
    },
}

/// Boots the VM, tells the client, and keeps the VM.
pub(super) async fn run(
    context: &Context,
    selected: &[Selected],
    vm_args: &mut VmArgs,
    asked: &Asked,
    idle: Duration,
) -> Result<u8, Failure> {
    // Ctrl-C in the client's terminal is for its command only. Fails if we lead a group already.
    let _ = setsid();
    let mut interrupts = Interrupts::listen()?;
    let dir = scratch_dir()?;
    let boot = boot(context, selected, vm_args, asked, &dir);
    let booted = tokio::select! {
        biased;
        // The client does not want to wait, and knows why.
        signal = interrupts.next() => return Ok(input::code_of(signal)),
        booted = boot => booted,
    };
    let (vm, listener) = match booted {
        Ok((vm, listener, remarks)) => {
            tell(&Booted::Ready { remarks })?;
            (vm, listener)
        }
        Err(failure) => {
            let Failure {
                code,
                message,
                hints,
            } = failure.into_own_failure();
            tell(&Booted::Failed {
                code,
                message,
                hints,
            })?;
            return Ok(code);
        }
    };
    detach().map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot leave the client's terminal: {error}"),
        )
    })?;
    let own = identity(&asked.socket);
    let retire = || {
        // A later keeper may have taken the place of a socket that has been removed.
        if own.is_some() && identity(&asked.socket) == own {
            kept::remove(&asked.socket);
        }
    };
    let end = kept::keep(vm, listener, idle, interrupts.next(), retire).await;
    tracing::info!(?end, "the VM has ended");
    dir.keep_only(&[VMCORE, CORES]);
    Ok(exit_code::OK)
}

async fn boot(
    context: &Context,
    selected: &[Selected],
    vm_args: &mut VmArgs,
    asked: &Asked,
    dir: &Scratch,
) -> Result<(Vm, UnixListener, Vec<String>), Failure> {
    let kernel = selected.iter().find(|kernel| kernel.name() == asked.kernel);
    let kernel = kernel.ok_or_else(|| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("kernel {} is no longer selected", asked.kernel),
        )
    })?;
    vm_args.root.resolve(context).await?;
    let prepared = resolve(context, vm_args, kernel, dir, &asked.visible, true).await?;
    let remarks = remarks(&prepared).collect();
    let vm = prepared.start().await?;
    let listener = kept::listen(&asked.socket)?;
    if let Err(error) = kept::link(&asked.socket, dir.path()) {
        tracing::warn!("`kiln shell --attach` will not reach this VM: {error}");
    }
    Ok((vm, listener, remarks))
}

fn tell(booted: &Booted) -> Result<(), Failure> {
    let written = serde_json::to_string(booted)
        .map_err(io::Error::other)
        .and_then(|line| {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush())
        });
    written.map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot tell the client that the VM is up: {error}"),
        )
    })
}

/// Leaves the client's streams and directory: somebody may wait for the end of the streams, or
/// unmount the directory.
fn detach() -> io::Result<()> {
    let null = fs::File::options().write(true).open("/dev/null")?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    std::env::set_current_dir("/")
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}
