//! One command in a fresh VM, for `kiln exec` and `kiln shell`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use guest_init::message::Status;
use nix::sys::signal::Signal;

use super::Failure;
use super::context::Context;
use super::input::{self, Interrupts};
use super::output;
use super::prepare::prepare;
use super::scratch_dir::scratch_dir;
use super::stay;
use super::streams::Streams;
use super::vm_args::VmArgs;
use crate::config::Selected;
use crate::exit_code;
use crate::report::escape;
use crate::run::command::{self, Command, CommandEnd, Input};
use crate::scratch::Scratch;
use crate::vm::args;
use crate::vm::control;
use crate::vm::cpu::{self, Ended};
use crate::vm::kernel_log::KernelProblem;
use crate::vm::launch::Prepared;
use crate::vm::machine::{VMCORE, Vm};
use crate::vm::relief::{self, RAISE_LIMIT};

/// Prints QEMU's command line.
pub(super) async fn print_command_line(
    context: &Context,
    vm_args: &VmArgs,
    selected: &Selected,
) -> Result<u8, Failure> {
    let dir = scratch_dir()?;
    let prepared = resolve(context, vm_args, selected, &dir, false).await?;
    let line = args::shell_line(&args::command(&prepared.spec));
    output::print(
        "QEMU's command line",
        &format!("{}\n", line.to_string_lossy()),
    )?;
    Ok(exit_code::OK)
}

/// Resolves a VM of this kernel that shares the working directory.
async fn resolve(
    context: &Context,
    vm_args: &VmArgs,
    selected: &Selected,
    dir: &Scratch,
    edited: bool,
) -> Result<Prepared, Failure> {
    vm_args.check_qemu_args()?;
    let kernel = context.provide(selected).await?;
    let visible = std::slice::from_ref(&context.cwd);
    let logs = vm_args.logs.as_deref().unwrap_or(dir.path());
    let mut launch = vm_args.launch(context, kernel, visible, dir, logs);
    launch.edited = edited;
    prepare(context, launch).await
}

/// Boots a kernel, runs one command in it with these streams, and stops the VM. Returns the exit
/// code.
pub(super) async fn in_vm(
    context: &Context,
    selected: &Selected,
    vm_args: &VmArgs,
    command: Command,
    stdin: input::StdinFd,
    interrupts: &mut Interrupts,
    streams: &mut Streams,
) -> Result<u8, Failure> {
    let dir = scratch_dir()?;
    let boot = async {
        let prepared = resolve(context, vm_args, selected, &dir, command.edited).await?;
        if let Some(note) = &prepared.accel_note {
            streams.note(&format!("kiln: {note}"));
        }
        for note in prepared.spec.means.notes() {
            streams.note(&format!("kiln: {note}"));
        }
        Ok::<_, Failure>(prepared.start().await?)
    };
    let mut vm = tokio::select! {
        biased;
        signal = interrupts.next() => return Ok(input::code_of(signal)),
        vm = boot => vm?,
    };
    // The signal may have come during the last step of the boot.
    if interrupts.seen() {
        vm.kill().await;
        return Ok(input::code_of(interrupts.next().await));
    }
    let timeout = command.timeout;
    let program = command.argv.first().cloned().unwrap_or_default();
    let stay = &vm_args.stay;
    let mut ran = attend(&mut vm, command.clone(), stdin, interrupts, streams).await?;
    if matches!(&ran, Ok(Ok(end)) if has_failed(end)) {
        if let Some(shell) = stay.shell(&command) {
            let stdin = stay::terminal()?;
            // Its end is the user's; only the loss of the VM counts.
            match attend(&mut vm, shell, stdin, interrupts, streams).await? {
                Ok(Ok(_)) => {}
                other => ran = other,
            }
        }
        stay.keep("the command failed", &mut vm, interrupts).await;
    }
    // A guest that panicked stands still if gdb is to look at it; others have ended.
    if matches!(&ran, Ok(Err(_))) && vm.spec.gdb.is_some() {
        stay.keep("the VM is lost", &mut vm, interrupts).await;
    }
    match ran {
        Err(signal) => {
            vm.kill().await;
            Ok(input::code_of(signal))
        }
        Ok(Ok(end)) => {
            let spec = &vm.spec;
            if let CommandEnd::Ended(outcome) = &end
                && let Some(note) = cpu::illegal_instruction(
                    match outcome.status {
                        Status::Exited(status) => Ended::Status(status),
                        Status::Signaled(signal) => Ended::Signal(signal),
                    },
                    spec.kernel.arch,
                    spec.accelerator,
                    spec.cpu.as_deref(),
                )
            {
                streams.note(&format!("kiln: the command was {note}"));
            }
            if vm.relief.take_refused() {
                streams.note(&format!("kiln: {}", relief::refusal()));
                streams.note(&format!("  hint: {RAISE_LIMIT}"));
            }
            tell_reports(streams, selected, &vm.stop().await.kernel_reports);
            let hidden = vm_args.hides(Path::new(OsStr::from_bytes(&program)), &context.cwd);
            code(end, timeout).map_err(|failure| match failure.code {
                exit_code::NOT_FOUND if hidden => failure.hint(
                    "the host has it, but the guest does not see it: run kiln in its directory, or \
                     share that directory with --rw DIR",
                ),
                _ => failure,
            })
        }
        Ok(Err(error)) => {
            let evidence = vm.evidence().await;
            vm.kill().await;
            tell_reports(streams, selected, &evidence.kernel_reports);
            // Keep the dump for the user, and say where it is.
            if vm_args.logs.is_none() && dir.path().join(VMCORE).exists() {
                dir.keep();
            }
            Err(Failure::new(
                exit_code::VM_LOST,
                format!(
                    "lost the VM of kernel {}: {}\n{evidence}",
                    selected.name(),
                    evidence.reason(&error)
                ),
            ))
        }
    }
}

/// Runs one command in the VM with these streams; the outer error of the result is the signal with
/// which the user insisted on the end.
async fn attend(
    vm: &mut Vm,
    command: Command,
    stdin: input::StdinFd,
    interrupts: &mut Interrupts,
    streams: &mut Streams,
) -> Result<Result<Result<CommandEnd, control::Error>, Signal>, Failure> {
    let terminal = command.terminal.is_some();
    // From here on Ctrl-C goes to the guest. Restored when dropped.
    let raw = terminal.then(input::RawTerminal::enter).transpose()?;
    let (stdin_sender, stdin_chunks) = tokio::sync::mpsc::channel(4);
    let (notice_sender, notices) = tokio::sync::mpsc::unbounded_channel();
    let input = Input {
        stdin: stdin_chunks,
        notices,
    };
    let feeder = tokio::spawn(input::feed(
        stdin,
        interrupts.subscribe(),
        stdin_sender,
        notice_sender,
        terminal,
    ));
    let (control, lost) = vm.watched();
    let ran = tokio::select! {
        ran = command::run(control, command, input, &mut streams.stdout, &mut streams.stderr) => {
            Ok(ran)
        }
        loss = lost => Ok(Err(loss.into())),
        // The user insists: end now, whatever the guest does.
        signal = interrupts.insisted() => Err(signal),
    };
    feeder.abort();
    drop(raw);
    Ok(ran)
}

fn has_failed(end: &CommandEnd) -> bool {
    match end {
        CommandEnd::Ended(outcome) => {
            outcome.deadline_passed || outcome.status != Status::Exited(0)
        }
        CommandEnd::NotStarted { .. } => true,
        CommandEnd::OutputFailed(_) => false,
    }
}

/// Prints what the kernel reported; the command's status does not change.
fn tell_reports(streams: &Streams, selected: &Selected, reports: &[KernelProblem]) {
    for report in reports {
        streams.note(&format!(
            "kiln: kernel {} reported ({}): {}",
            selected.name(),
            report.kind,
            escape::line(&report.summary())
        ));
    }
}

fn code(end: CommandEnd, timeout: Option<Duration>) -> Result<u8, Failure> {
    match end {
        CommandEnd::Ended(outcome) => {
            if outcome.deadline_passed {
                return Err(Failure::new(
                    exit_code::TIMED_OUT,
                    format!(
                        "the command ran longer than {} s and was stopped",
                        timeout.unwrap_or_default().as_secs_f64()
                    ),
                )
                .hint("--timeout sets the limit"));
            }
            Ok(match outcome.status {
                Status::Exited(status) => u8::try_from(status).unwrap_or(u8::MAX),
                Status::Signaled(signal) => {
                    exit_code::SIGNAL_BASE.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX))
                }
            })
        }
        CommandEnd::NotStarted { errno, message } => {
            let code = match errno {
                nix::libc::ENOENT => exit_code::NOT_FOUND,
                nix::libc::EACCES | nix::libc::ENOEXEC | nix::libc::E2BIG => {
                    exit_code::CANNOT_EXECUTE
                }
                _ => exit_code::OWN_FAILURE,
            };
            Err(Failure::new(
                code,
                format!("cannot run the command in the guest: {message}"),
            ))
        }
        // What any program in a pipeline does when SIGPIPE ends it.
        CommandEnd::OutputFailed(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Ok(exit_code::SIGNAL_BASE + 13)
        }
        CommandEnd::OutputFailed(error) => Err(Failure::new(
            exit_code::OWN_FAILURE,
            format!("cannot write the command's output: {error}"),
        )),
    }
}
