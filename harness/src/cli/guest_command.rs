//! One command in a fresh VM, for `kiln exec` and `kiln shell`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt as _};
use std::path::{Path, PathBuf};
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
use crate::run::cores::Cores;
use crate::run::kept::Door;
use crate::run::trace::{self, Recorded, Tracer};
use crate::scratch::Scratch;
use crate::vm::control::{Control, Error};
use crate::vm::cpu;
use crate::vm::extras::CORES;
use crate::vm::kernel_log::KernelProblem;
use crate::vm::launch::Prepared;
use crate::vm::machine::{VMCORE, Vm};
use crate::vm::relief::{self, RAISE_LIMIT};
use crate::vm::trace::TRACES;
use crate::vm::{args, exec_limit};

/// Prints QEMU's command line.
pub(super) async fn print_command_line(
    context: &Context,
    vm_args: &VmArgs,
    selected: &Selected,
    visible: &[PathBuf],
) -> Result<u8, Failure> {
    let dir = scratch_dir()?;
    let prepared = resolve(context, vm_args, selected, &dir, visible, false).await?;
    let line = args::shell_line(&args::command(&prepared.spec));
    output::print(
        "QEMU's command line",
        &format!("{}\n", line.to_string_lossy()),
    )?;
    Ok(exit_code::OK)
}

/// Resolves a VM of this kernel that shares these directories.
pub(super) async fn resolve(
    context: &Context,
    vm_args: &VmArgs,
    selected: &Selected,
    dir: &Scratch,
    visible: &[PathBuf],
    edited: bool,
) -> Result<Prepared, Failure> {
    vm_args.check_possible()?;
    let kernel = context.provide(selected).await?;
    let logs = vm_args.logs.as_deref().unwrap_or(dir.path());
    let mut launch = vm_args.launch(context, kernel, visible, dir, logs);
    launch.edited = edited;
    prepare(context, launch).await
}

/// A command, what it reads, and the directories that it must see.
pub(super) struct Errand {
    /// The command.
    pub(super) command: Command,
    /// Its stdin.
    pub(super) stdin: input::StdinFd,
    /// The directories.
    pub(super) visible: Vec<PathBuf>,
}

/// The command of these words in the working directory, without a terminal. No `timeout` is zero.
pub(super) fn command_of(
    words: &[OsString],
    context: &Context,
    vm_args: &VmArgs,
    timeout: Duration,
) -> Result<Command, Failure> {
    let command = Command {
        argv: words.iter().map(|word| word.clone().into_vec()).collect(),
        env: vm_args.environment()?,
        cwd: context.cwd.clone().into_os_string().into_vec(),
        terminal: None,
        timeout: (!timeout.is_zero()).then_some(timeout),
        edited: false,
        user: None,
    };
    exec_limit::check(&command.argv, &command.env).map_err(|error| {
        Failure::new(
            exit_code::CANNOT_EXECUTE,
            format!("cannot run the command in the guest: {error}"),
        )
        .hint("put long lists into a file in the working directory, or on stdin")
    })?;
    Ok(command)
}

/// Boots a kernel, runs one command in it with these streams, and stops the VM. Returns the exit
/// code.
pub(super) async fn in_vm(
    context: &Context,
    selected: &Selected,
    vm_args: &VmArgs,
    errand: Errand,
    interrupts: &mut Interrupts,
    streams: &mut Streams,
) -> Result<u8, Failure> {
    let dir = scratch_dir()?;
    let visible = &errand.visible;
    let edited = errand.command.edited;
    let boot = async {
        let prepared = resolve(context, vm_args, selected, &dir, visible, edited).await?;
        for note in remarks(&prepared) {
            streams.remark(&note);
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
    let mut door = Door::open(&mut vm)?;
    let tracer = tokio::select! {
        biased;
        signal = interrupts.next() => {
            vm.kill().await;
            return Ok(input::code_of(signal));
        }
        tracer = record(&mut vm) => tracer?,
    };
    let timeout = errand.command.timeout;
    let program = errand.command.argv.first().cloned().unwrap_or_default();
    let stay = &vm_args.stay;
    let command = errand.command.clone();
    let mut ran = attend_in(&mut vm, errand, interrupts, streams).await?;
    if let (Some(tracer), Ok(Ok(_))) = (&tracer, &ran) {
        tokio::select! {
            biased;
            signal = interrupts.insisted() => ran = Err(signal),
            recorded = tracer.stop(&mut vm.control, "command") => tell_trace(streams, recorded),
        }
    }
    if matches!(&ran, Ok(Ok(end)) if has_failed(end)) {
        stay.dump(&vm, streams).await;
        if let Some(shell) = stay.shell(&command) {
            let errand = Errand {
                command: shell,
                stdin: stay::terminal()?,
                visible: Vec::new(),
            };
            // Its end is the user's; only the loss of the VM counts.
            match attend_in(&mut vm, errand, interrupts, streams).await? {
                Ok(Ok(_)) => {}
                other => ran = other,
            }
        }
        stay.keep("the command failed", &mut vm, interrupts).await;
    }
    // A guest that panicked stands still if gdb is to look at it; others have ended.
    if matches!(&ran, Ok(Err(_))) && vm.spec.gdb.is_some() {
        door = None;
        stay.keep("the VM is lost", &mut vm, interrupts).await;
    }
    let cores = vm.spec.console_log.with_file_name(CORES);
    for core in Cores::new(cores).fresh() {
        streams.note(&format!("kiln: {}", escape::line(&core)));
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
                    outcome.status.into(),
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
            drop(door);
            dir.keep_only(&[VMCORE, CORES, TRACES]);
            code(end, timeout).map_err(|failure| explain(failure, &program, vm_args, context))
        }
        Ok(Err(error)) => {
            let evidence = vm.evidence().await;
            vm.kill().await;
            tell_reports(streams, selected, &evidence.kernel_reports);
            // Keep the dump for the user, and say where it is.
            drop(door);
            dir.keep_only(&[VMCORE, CORES, TRACES]);
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

/// Starts to record a trace, if one is asked for.
async fn record(vm: &mut Vm) -> Result<Option<Tracer>, trace::Error> {
    let tracer = Tracer::prepare(vm).await?;
    if let Some(tracer) = &tracer {
        tracer.start(&mut vm.control).await?;
    }
    Ok(tracer)
}

/// Says where the trace is.
fn tell_trace(streams: &Streams, recorded: Result<Recorded, trace::Error>) {
    match recorded {
        Ok(recorded) => streams.note(&format!("kiln: {}", escape::line(&recorded.to_string()))),
        Err(error) => streams.report(&error.into()),
    }
}

/// Runs the command of an errand in a VM of our own.
async fn attend_in(
    vm: &mut Vm,
    errand: Errand,
    interrupts: &mut Interrupts,
    streams: &mut Streams,
) -> Result<Result<Result<CommandEnd, Error>, Signal>, Failure> {
    let (control, lost) = vm.watched();
    let lost = async { lost.await.into() };
    attend(control, lost, errand, interrupts, streams).await
}

/// What the user should know about a VM before it starts.
pub(super) fn remarks(prepared: &Prepared) -> impl Iterator<Item = String> {
    let note = prepared.accel_note.iter().cloned();
    note.chain(prepared.spec.notes())
}

/// Runs the command of an errand to its end, passing on its streams and signals. The inner error is
/// a signal of a user who does not want to wait for the end.
pub(super) async fn attend(
    control: &mut Control,
    lost: impl Future<Output = Error>,
    errand: Errand,
    interrupts: &mut Interrupts,
    streams: &mut Streams,
) -> Result<Result<Result<CommandEnd, Error>, Signal>, Failure> {
    let Errand { command, stdin, .. } = errand;
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
    let ran = tokio::select! {
        ran = command::run(control, command, input, &mut streams.stdout, &mut streams.stderr) => {
            Ok(ran)
        }
        loss = lost => Ok(Err(loss)),
        // The user insists: end now, whatever the guest does.
        signal = interrupts.insisted() => Err(signal),
    };
    feeder.abort();
    drop(raw);
    Ok(ran)
}

/// Adds why a program was not found, if the guest does not see it.
pub(super) fn explain(
    failure: Failure,
    program: &[u8],
    vm_args: &VmArgs,
    context: &Context,
) -> Failure {
    let program = Path::new(OsStr::from_bytes(program));
    if failure.code != exit_code::NOT_FOUND || !vm_args.hides(program, &context.cwd) {
        return failure;
    }
    failure.hint(
        "the host has it, but the guest does not see it: run kiln in its directory, or share that \
         directory with --rw DIR",
    )
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
        tell_report(streams, selected, report.kind, &report.summary());
    }
}

/// Prints one report of the kernel.
pub(super) fn tell_report(streams: &Streams, selected: &Selected, kind: &str, summary: &str) {
    streams.note(&format!(
        "kiln: kernel {} reported ({kind}): {}",
        selected.name(),
        escape::line(summary)
    ));
}

/// The exit code of a command that ended.
pub(super) fn code(end: CommandEnd, timeout: Option<Duration>) -> Result<u8, Failure> {
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
