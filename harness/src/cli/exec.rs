//! `kiln exec`: runs a command in each kernel.

mod lanes;
mod spool;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::Failure;
use super::context::Context;
use super::guest_command::{in_vm, print_command_line};
use super::input::{self, Interrupts, StdinSource};
use super::output;
use super::stay::StayArgs;
use super::streams::Streams;
use super::vm_args::VmArgs;
use crate::config::Selected;
use crate::exit_code;
use crate::run::capacity::Jobs;
use crate::run::command::Command;
use crate::vm::exec_limit;
use lanes::{Lanes, Layout};

/// Run a command as root in each kernel.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kiln exec -k 6.1 -- uname -r
  kiln exec -k @quick -- ./my-bpf-test --verbose
  kiln exec -k debian:6.18 -k 'debian:>=7.1' -- uname -r
  kiln exec -j 4 -k debian:series -- ./my-bpf-test
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
    /// Number of VMs at the same time, or fewer if memory is short. Output stays together by
    /// kernel; a terminal's input goes to no command
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Print lines as they come, each with the kernel's name before it
    #[arg(long)]
    prefix: bool,
    /// End all once the command has failed in one kernel
    #[arg(long)]
    fail_fast: bool,
    /// What happens to the VM of a command that failed
    #[command(flatten)]
    stay: StayArgs,
    /// Command and arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
    /// How VMs are made
    #[command(flatten)]
    pub(super) vm: VmArgs,
}

impl ExecArgs {
    /// Runs the command in each kernel; the first status that is not 0, in the order of the
    /// kernels, becomes ours.
    pub(super) async fn run(mut self, config: Option<PathBuf>) -> Result<u8, Failure> {
        self.stay.check()?;
        self.vm.stay = self.stay.clone();
        let context = Context::load(config.as_deref())?;
        let selected = context.select(&self.kernels).await?;
        let mut interrupts = Interrupts::listen()?;
        // May build packages for hours.
        tokio::select! {
            resolved = self.vm.root.resolve(&context) => resolved?,
            signal = interrupts.next() => return Ok(input::code_of(signal)),
        }
        if self.vm.dry_run {
            return self.dry_run(&context, &selected).await;
        }
        let several = selected.len() > 1;
        // Reads to the end of stdin, which may never come.
        let mut stdin = tokio::select! {
            stdin = StdinSource::read(several) => stdin?,
            signal = interrupts.next() => return Ok(input::code_of(signal)),
        };
        if several {
            tokio::select! {
                () = context.fetch(&selected) => {}
                signal = interrupts.next() => return Ok(input::code_of(signal)),
            }
        }
        let memory = |kernel: &Selected| self.vm.settings(&context, kernel.name()).memory();
        let jobs = Jobs::bounded(
            usize::from(self.jobs).min(selected.len()),
            selected.iter().map(memory).max().unwrap_or_default(),
        );
        if let Some(note) = jobs.note {
            output::note(&format!("kiln: {note}"));
        }
        if jobs.count > 1 || self.prefix {
            return self
                .in_lanes(&context, &selected, jobs.count, &mut stdin, &interrupts)
                .await;
        }
        let mut streams = Streams::direct();
        let mut statuses = Statuses::of(selected.len());
        for (index, kernel) in selected.iter().enumerate() {
            if several {
                output::note(&heading(kernel));
            }
            let stdin = stdin.open()?;
            let ran = self
                .one(&context, kernel, stdin, &mut interrupts, &mut streams)
                .await;
            statuses.set(index, of_one(ran, several, &streams)?);
            if interrupts.seen() {
                break;
            }
            if self.fail_fast && statuses.failed() {
                statuses.tell_unfinished(&selected);
                break;
            }
        }
        Ok(statuses.code(interrupts.seen()))
    }

    /// Runs the command in several kernels at once.
    async fn in_lanes(
        &self,
        context: &Context,
        selected: &[Selected],
        jobs: usize,
        stdin: &mut StdinSource,
        interrupts: &Interrupts,
    ) -> Result<u8, Failure> {
        let widest = selected.iter().map(|kernel| kernel.name().chars().count());
        let mut lanes = Lanes::new(if self.prefix {
            Layout::Prefixed(widest.max().unwrap_or_default())
        } else {
            Layout::Grouped
        });
        let several = selected.len() > 1;
        let mut waiting = selected.iter().enumerate();
        let mut running = FuturesUnordered::new();
        let mut statuses = Statuses::of(selected.len());
        let failed = loop {
            while !interrupts.seen()
                && running.len() < jobs
                && let Some((index, kernel)) = waiting.next()
            {
                let stdin = stdin.open_apart()?;
                let mut streams = lanes.open(kernel.name());
                if several && !self.prefix {
                    streams.note(&heading(kernel));
                }
                let mut interrupts = interrupts.another();
                running.push(async move {
                    let ran = self
                        .one(context, kernel, stdin, &mut interrupts, &mut streams)
                        .await;
                    of_one(ran, several, &streams).map(|code| (index, code))
                });
            }
            match running.next().await {
                None => break Ok(()),
                Some(Ok((index, code))) => statuses.set(index, code),
                Some(Err(failure)) => break Err(failure),
            }
            if self.fail_fast && statuses.failed() {
                break Ok(());
            }
        };
        // Takes down the VMs that still run.
        drop(running);
        let written = lanes.written().await;
        failed?;
        if self.fail_fast && statuses.failed() {
            statuses.tell_unfinished(selected);
        }
        let code = statuses.code(interrupts.seen());
        match written {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                Ok(if code == exit_code::OK {
                    exit_code::SIGNAL_BASE + 13
                } else {
                    code
                })
            }
            Err(error) => Err(Failure::new(
                exit_code::OWN_FAILURE,
                format!("cannot write the commands' output: {error}"),
            )),
            Ok(()) => Ok(code),
        }
    }

    async fn dry_run(&self, context: &Context, selected: &[Selected]) -> Result<u8, Failure> {
        for kernel in selected {
            if selected.len() > 1 {
                output::note(&heading(kernel));
            }
            print_command_line(context, &self.vm, kernel).await?;
        }
        Ok(exit_code::OK)
    }

    async fn one(
        &self,
        context: &Context,
        selected: &Selected,
        stdin: input::StdinFd,
        interrupts: &mut Interrupts,
        streams: &mut Streams,
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
        in_vm(
            context, selected, &self.vm, command, stdin, interrupts, streams,
        )
        .await
    }
}

/// What stands above a kernel's output.
fn heading(kernel: &Selected) -> String {
    format!("== {}", kernel.name())
}

/// The status of one kernel, if the others can go on.
fn of_one(ran: Result<u8, Failure>, several: bool, streams: &Streams) -> Result<u8, Failure> {
    match ran {
        // The command's result here does not matter for the other kernels.
        Err(failure) if several && is_of_the_command(&failure) => {
            let failure = failure.into_own_failure();
            streams.report(&failure);
            Ok(failure.code)
        }
        ran => ran,
    }
}

/// The status of each kernel, once it is known.
struct Statuses(Vec<Option<u8>>);

impl Statuses {
    fn of(kernels: usize) -> Self {
        Self(vec![None; kernels])
    }

    fn set(&mut self, index: usize, status: u8) {
        if let Some(place) = self.0.get_mut(index) {
            *place = Some(status);
        }
    }

    /// Whether the command has failed in any kernel.
    fn failed(&self) -> bool {
        self.0
            .iter()
            .flatten()
            .any(|status| *status != exit_code::OK)
    }

    /// Names the kernels in which the command did not end, if any.
    fn tell_unfinished(&self, selected: &[Selected]) {
        let unfinished = selected.iter().zip(&self.0);
        let names: Vec<&str> = unfinished
            .filter(|(_, status)| status.is_none())
            .map(|(kernel, _)| kernel.name())
            .collect();
        if !names.is_empty() {
            output::note(&format!(
                "kiln: stopped at the first failure; not finished: {}",
                names.join(", ")
            ));
        }
    }

    /// The first that is not 0. After a signal, kernels that did not run count too.
    fn code(&self, interrupted: bool) -> u8 {
        let first = self.0.iter().flatten().find(|code| **code != exit_code::OK);
        match first {
            Some(code) => *code,
            None if interrupted && self.0.contains(&None) => exit_code::INTERRUPTED,
            None => exit_code::OK,
        }
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
