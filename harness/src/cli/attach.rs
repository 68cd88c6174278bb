//! A shell or another program in a VM that another kiln runs, or that this one keeps for it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use super::guest_command::{Errand, attend, code};
use super::input::{self, Interrupts, StdinFd, StdinSource, window_size};
use super::streams::Streams;
use super::{Failure, vms};
use crate::exit_code;
use crate::run::command::{Command, Environment};
use crate::run::kept::{self, Attached};
use crate::vm::card::{ATTACH_SOCKET, Running};
use crate::vm::control::Error;

/// What every root has.
const SHELL: &str = "/bin/sh";

/// What to do with a guest that runs nothing.
const STANDS_STILL: &str = "if its kernel stands still, kiln gdb and kiln dump reach it";

/// Which shell, and for whom.
#[derive(Debug, Default)]
pub(super) struct Shell {
    /// The program; the guest's `/bin/sh` if not given.
    pub(super) path: Option<PathBuf>,
    /// The user; root if not given.
    pub(super) user: Option<String>,
    /// Its environment.
    pub(super) env: Environment,
}

/// Opens a shell in the running VM of this name; its status is ours.
pub(super) async fn to_named(name: &str, shell: Shell) -> Result<u8, Failure> {
    let vm = vms::find(name)?;
    let mut interrupts = Interrupts::listen()?;
    to(&vm, shell, &mut interrupts).await
}

/// Opens a shell in a running VM.
pub(super) async fn to(
    vm: &Running,
    shell: Shell,
    interrupts: &mut Interrupts,
) -> Result<u8, Failure> {
    let path = shell.path.unwrap_or_else(|| SHELL.into());
    let terminal = input::on_terminal();
    let mut argv = vec![path.into_os_string().into_vec()];
    argv.extend(terminal.then(|| b"-i".to_vec()));
    let program = Program {
        argv,
        terminal,
        env: shell.env,
        user: shell.user,
    };
    run(vm, program, StdinSource::new(false)?.open()?, interrupts).await
}

/// A program for a running VM.
pub(super) struct Program {
    /// Its words.
    pub(super) argv: Vec<Vec<u8>>,
    /// Whether it has our terminal.
    pub(super) terminal: bool,
    /// Its environment.
    pub(super) env: Environment,
    /// The user; root if not given.
    pub(super) user: Option<String>,
}

/// Runs a program in a running VM; its status is ours.
pub(super) async fn run(
    vm: &Running,
    program: Program,
    stdin: StdinFd,
    interrupts: &mut Interrupts,
) -> Result<u8, Failure> {
    let connected = kept::connect(&vm.dir.join(ATTACH_SOCKET)).await;
    let Attached { mut control, last } = connected.map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot attach to VM {}: {error}", vm.id),
        )
        .hint(STANDS_STILL)
    })?;
    let errand = Errand {
        command: Command {
            argv: program.argv,
            env: program.env,
            cwd: OsString::from(vm.card.cwd.clone()).into_vec(),
            terminal: program.terminal.then(window_size),
            timeout: None,
            // Its files are those of another command.
            edited: false,
            user: program.user,
        },
        stdin,
        visible: Vec::new(),
    };
    let loss = async { Error::Elsewhere(last.lost().await) };
    let mut streams = Streams::direct();
    match attend(&mut control, loss, errand, interrupts, &mut streams).await? {
        Ok(Ok(end)) => code(end, None),
        Ok(Err(error @ Error::Deadline { .. })) => Err(Failure::new(
            exit_code::VM_LOST,
            format!("VM {} does not answer: {error}", vm.id),
        )
        .hint(STANDS_STILL)),
        Ok(Err(_)) => Err(Failure::new(
            exit_code::VM_LOST,
            format!("VM {} has ended", vm.id),
        )),
        Err(signal) => Ok(input::code_of(signal)),
    }
}
