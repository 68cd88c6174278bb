//! `kiln exec`: runs a command in each kernel.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use guest_init::message::Status;

use super::Failure;
use super::context::Context;
use super::input::{self, Interrupts};
use super::output;
use super::scratch_dir::scratch_dir;
use super::vm_args::VmArgs;
use crate::config::Selected;
use crate::exit_code;
use crate::report::escape;
use crate::run::command::{self, Command, CommandEnd, Input};
use crate::scratch::Scratch;
use crate::vm::args;
use crate::vm::cpu::{self, Ended};
use crate::vm::exec_limit;
use crate::vm::kernel_log::KernelProblem;
use crate::vm::launch::Prepared;
use crate::vm::machine::VMCORE;
use crate::vm::relief::{self, RAISE_LIMIT};

/// Default limit of one command: long enough for a build, short enough that a
/// hung CI job ends.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// Run a command as root in each kernel.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kiln exec -k 6.1 -- uname -r
  kiln exec -k @quick -- ./my-bpf-test --verbose
  kiln exec -k debian:6.18 -k 'debian:>=7.1' -- uname -r
  echo 'hello' | kiln exec -k 5.10 -k '7.*' -- cat")]
pub(super) struct ExecArgs {
    /// Kernel: a name or glob of kernels.toml, @group, POOL:VERSION such as
    /// debian:6.18, host, or a path: a build tree, an image, or packages
    /// separated by commas
    #[arg(short, long = "kernel", value_name = "KERNEL", required = true)]
    pub(super) kernels: Vec<String>,
    /// End the command after this time, such as 30s or 10m; 0 is never
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse, default_value = "1h")]
    pub(super) timeout: Duration,
    /// Command and arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
    /// How VMs are made
    #[command(flatten)]
    pub(super) vm: VmArgs,
}

impl ExecArgs {
    /// Runs the command in one kernel after another; the first status that is not 0 becomes ours.
    pub(super) async fn run(mut self, config: Option<PathBuf>) -> Result<u8, Failure> {
        let context = Context::load(config.as_deref())?;
        let selected = context.select(&self.kernels).await?;
        let mut interrupts = Interrupts::listen()?;
        // May build packages for hours.
        tokio::select! {
            resolved = self.vm.root.resolve(&context) => resolved?,
            signal = interrupts.next() => return Ok(input::code_of(signal)),
        }
        let several = selected.len() > 1;
        let replay = several && !self.vm.dry_run;
        // Reads to the end of stdin, which may never come.
        let mut stdin = tokio::select! {
            stdin = input::StdinSource::read(replay) => stdin?,
            signal = interrupts.next() => return Ok(input::code_of(signal)),
        };
        if several {
            tokio::select! {
                () = context.fetch(&selected) => {}
                signal = interrupts.next() => return Ok(input::code_of(signal)),
            }
        }
        let mut code = exit_code::OK;
        for (index, kernel) in selected.iter().enumerate() {
            if several {
                output::note(&format!("== {}", kernel.name()));
            }
            let ran = if self.vm.dry_run {
                print_command_line(&context, &self.vm, kernel).await
            } else {
                self.one(&context, kernel, &mut stdin, &mut interrupts)
                    .await
            };
            let status = match ran {
                Ok(status) => status,
                // The command's result here does not matter for the next kernel.
                Err(failure) if several && is_of_the_command(&failure) => {
                    let failure = failure.into_own_failure();
                    failure.report();
                    failure.code
                }
                Err(failure) => return Err(failure),
            };
            if code == exit_code::OK {
                code = status;
            }
            if interrupts.seen() {
                if code == exit_code::OK && index + 1 < selected.len() {
                    code = exit_code::INTERRUPTED;
                }
                break;
            }
        }
        Ok(code)
    }

    async fn one(
        &self,
        context: &Context,
        selected: &Selected,
        stdin: &mut input::StdinSource,
        interrupts: &mut Interrupts,
    ) -> Result<u8, Failure> {
        let command = Command {
            argv: self
                .command
                .iter()
                .map(|word| word.clone().into_vec())
                .collect(),
            env: self.vm.environment()?,
            cwd: context.cwd.clone().into_os_string().into_vec(),
            terminal: None,
            timeout: (!self.timeout.is_zero()).then_some(self.timeout),
            edited: false,
        };
        exec_limit::check(&command.argv, &command.env).map_err(|error| {
            Failure::new(
                exit_code::CANNOT_EXECUTE,
                format!("cannot run the command in the guest: {error}"),
            )
            .hint("put long lists into a file in the working directory, or on stdin")
        })?;
        in_vm(context, selected, &self.vm, command, stdin, interrupts).await
    }
}

/// Whether the command failed in its VM, rather than something that all kernels need.
fn is_of_the_command(failure: &Failure) -> bool {
    matches!(
        failure.code,
        exit_code::VM_LOST
            | exit_code::TIMED_OUT
            | exit_code::NOT_FOUND
            | exit_code::CANNOT_EXECUTE
    )
}

/// Prints QEMU's command line.
pub(super) async fn print_command_line(
    context: &Context,
    vm_args: &VmArgs,
    selected: &Selected,
) -> Result<u8, Failure> {
    let dir = scratch_dir()?;
    let prepared = prepare(context, vm_args, selected, &dir, false).await?;
    let line = args::shell_line(&args::command(&prepared.spec));
    output::print(
        "QEMU's command line",
        &format!("{}\n", line.to_string_lossy()),
    )?;
    Ok(exit_code::OK)
}

/// Resolves a VM of this kernel that shares the working directory.
async fn prepare(
    context: &Context,
    vm_args: &VmArgs,
    selected: &Selected,
    dir: &Scratch,
    edited: bool,
) -> Result<Prepared, Failure> {
    let kernel = context.provide(selected).await?;
    let visible = std::slice::from_ref(&context.cwd);
    let mut launch = vm_args.launch(context, kernel, visible, dir, dir.path());
    launch.edited = edited;
    Ok(launch.prepare().await?)
}

/// Boots a kernel, runs one command in it with our streams, and stops the VM. Returns the exit
/// code.
pub(super) async fn in_vm(
    context: &Context,
    selected: &Selected,
    vm_args: &VmArgs,
    command: Command,
    stdin: &mut input::StdinSource,
    interrupts: &mut Interrupts,
) -> Result<u8, Failure> {
    let dir = scratch_dir()?;
    let boot = async {
        let prepared = prepare(context, vm_args, selected, &dir, command.edited).await?;
        if let Some(note) = &prepared.accel_note {
            output::note(&format!("kiln: {note}"));
        }
        for note in prepared.spec.means.notes() {
            output::note(&format!("kiln: {note}"));
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
    let terminal = command.terminal.is_some();
    let program = command.argv.first().cloned().unwrap_or_default();
    // From here on Ctrl-C goes to the guest. Restored when dropped.
    let raw = terminal.then(input::RawTerminal::enter).transpose()?;
    let (stdin_sender, stdin_chunks) = tokio::sync::mpsc::channel(4);
    let (notice_sender, notices) = tokio::sync::mpsc::unbounded_channel();
    let input = Input {
        stdin: stdin_chunks,
        notices,
    };
    let feeder = tokio::spawn(input::feed(
        stdin.open()?,
        interrupts.subscribe(),
        stdin_sender,
        notice_sender,
        terminal,
    ));
    let mut stdout = tokio::io::stdout();
    let mut stderr = tokio::io::stderr();
    let (control, lost) = vm.watched();
    let ran = tokio::select! {
        ran = command::run(control, command, input, &mut stdout, &mut stderr) => {
            Ok(ran)
        }
        loss = lost => Ok(Err(loss.into())),
        // The user insists: end now, whatever the guest does.
        signal = interrupts.insisted() => Err(signal),
    };
    feeder.abort();
    drop(raw);
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
                output::note(&format!("kiln: the command was {note}"));
            }
            if vm.relief.take_refused() {
                output::note(&format!("kiln: {}", relief::refusal()));
                output::note(&format!("  hint: {RAISE_LIMIT}"));
            }
            tell_reports(selected, &vm.stop().await.kernel_reports);
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
            tell_reports(selected, &evidence.kernel_reports);
            // Keep the dump for the user, and say where it is.
            if dir.path().join(VMCORE).exists() {
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

/// Prints what the kernel reported; the command's status does not change.
fn tell_reports(selected: &Selected, reports: &[KernelProblem]) {
    for report in reports {
        output::note(&format!(
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
                        timeout.unwrap_or(TIMEOUT).as_secs_f64()
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
