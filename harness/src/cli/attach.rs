//! A shell in a VM that another kiln runs, or that this one keeps for it.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::guest_command::{Errand, attend, code};
use super::input::{self, Interrupts, StdinSource, window_size};
use super::streams::Streams;
use super::{Failure, vms};
use crate::exit_code;
use crate::run::command::{Command, Environment};
use crate::run::kept::{self, Attached};
use crate::vm::card::{ATTACH_SOCKET, Running};
use crate::vm::control::Error;

/// What every root has.
const SHELL: &str = "/bin/sh";

/// Opens a shell in the running VM of this name; its status is ours.
pub(super) async fn to_named(
    name: &str,
    shell: Option<&Path>,
    env: Environment,
) -> Result<u8, Failure> {
    let vm = vms::find(name)?;
    let mut interrupts = Interrupts::listen()?;
    to(&vm, shell, env, &mut interrupts).await
}

/// Opens a shell in a running VM.
pub(super) async fn to(
    vm: &Running,
    shell: Option<&Path>,
    env: Environment,
    interrupts: &mut Interrupts,
) -> Result<u8, Failure> {
    let connected = kept::connect(&vm.dir.join(ATTACH_SOCKET)).await;
    let Attached { mut control, last } = connected.map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot attach to VM {}: {error}", vm.id),
        )
        .hint("it may be ending; `kiln ps` lists those that run")
    })?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let shell = shell.map_or_else(|| PathBuf::from(SHELL), Path::to_owned);
    let mut argv = vec![shell.into_os_string().into_vec()];
    argv.extend(terminal.then(|| b"-i".to_vec()));
    let errand = Errand {
        command: Command {
            argv,
            env,
            cwd: OsString::from(vm.card.cwd.clone()).into_vec(),
            terminal: terminal.then(window_size),
            timeout: None,
            // Its files are those of another command.
            edited: false,
        },
        stdin: StdinSource::new(false)?.open()?,
        visible: Vec::new(),
    };
    let loss = async { Error::Elsewhere(last.lost().await) };
    let mut streams = Streams::direct();
    match attend(&mut control, loss, errand, interrupts, &mut streams).await? {
        Ok(Ok(end)) => code(end, None),
        Ok(Err(_)) => Err(Failure::new(
            exit_code::VM_LOST,
            format!("VM {} has ended", vm.id),
        )),
        Err(signal) => Ok(input::code_of(signal)),
    }
}
