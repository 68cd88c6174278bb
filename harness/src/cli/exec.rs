//! `kiln exec`: runs a command in each kernel.

mod keep;
mod lanes;
mod reuse;
mod sight;
mod spool;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::Failure;
use super::again;
use super::context::Context;
use super::guest_command::{Errand, command_of, in_vm, print_command_line};
use super::input::{self, Interrupts, StdinSource};
use super::output;
use super::stay::StayArgs;
use super::streams::Streams;
use super::vm_args::VmArgs;
use crate::config::Selected;
use crate::exit_code;
use crate::run::capacity::Jobs;
use crate::run::command::Command;
use keep::KeepArgs;
use lanes::{Lanes, Layout};
use reuse::Reuse;

/// Run a command as root in each kernel.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kiln exec -k 6.1 -- uname -r
  kiln exec -k @quick -- ./my-bpf-test --verbose
  kiln exec -k debian:6.18 -k 'debian:>=7.1' -- uname -r
  kiln exec -j 4 -k debian:series -- ./my-bpf-test
  echo 'hello' | kiln exec -k 5.10 -k '7.*' -- cat
  export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='kiln exec --as-runner --reuse -k 6.1 --'
  go test -exec 'kiln exec --as-runner --reuse -k 6.1 --' ./...
  kiln exec --reuse=stop -k 6.1")]
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
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..), conflicts_with_all = ["shell_on_fail", "keep_vm"])]
    jobs: u16,
    /// Run the command as this user of the guest, by name or number
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print lines as they come, each with the kernel's name before it
    #[arg(long)]
    prefix: bool,
    /// End all once the command has failed in one kernel
    #[arg(long)]
    fail_fast: bool,
    /// Do as cargo, cargo-nextest and `go test -exec` expect of what starts their tests: pass on the
    /// environment as with --env-all, show the project and the program, print nothing of kiln's own
    /// unless something is wrong
    #[arg(long)]
    as_runner: bool,
    /// Keep the VM for later commands with the same kernel and VM options. It ends when nobody has
    /// used it for TIME [default: 5m], or with --reuse=stop
    #[arg(
        long,
        value_name = "TIME|stop",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5m",
        conflicts_with_all = ["shell_on_fail", "keep_vm", "dump_on_fail"]
    )]
    reuse: Option<Reuse>,
    /// The process that keeps a VM
    #[command(flatten)]
    keep: KeepArgs,
    /// What happens to the VM of a command that failed
    #[command(flatten)]
    stay: StayArgs,
    /// Command and arguments
    #[arg(last = true, required_unless_present_any = ["reuse", "keep"], value_name = "CMD")]
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
        self.check(&selected)?;
        if let Some(asked) = self.keep.asked() {
            let idle = self.reuse.and_then(Reuse::idle).unwrap_or_default();
            return keep::run(&context, &selected, &mut self.vm, &asked, idle).await;
        }
        let mut interrupts = Interrupts::listen()?;
        // May build packages for hours.
        tokio::select! {
            resolved = self.vm.root.resolve(&context) => resolved?,
            signal = interrupts.next() => return Ok(input::code_of(signal)),
        }
        if self.vm.dry_run {
            return self.dry_run(&context, &selected).await;
        }
        if self.reuse == Some(Reuse::Stop) {
            return self.stop(&context, &selected).await;
        }
        if self.as_runner {
            self.vm.env.env_all = true;
        }
        if let Some(note) = self.vm.passed().note() {
            self.streams().remark(&note);
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
        let mut streams = self.streams();
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
            print_command_line(context, &self.vm, kernel, &self.visible(context)).await?;
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
        let command = command_of(&self.command, context, &self.vm, self.timeout)?;
        let errand = Errand {
            command: Command {
                user: self.user.clone(),
                ..command
            },
            stdin,
            visible: self.visible(context),
        };
        if self.reuse.is_none() {
            let ran = in_vm(context, selected, &self.vm, errand, interrupts, streams);
            // Boxed: it holds a whole VM.
            return Box::pin(ran).await;
        }
        let kept = reuse::Kept::new(context, selected, &self.vm, &errand.visible).await?;
        let words = again::without_command(&self.command);
        kept.run(&words, errand, interrupts, streams).await
    }

    /// What does not fit together.
    fn check(&self, selected: &[Selected]) -> Result<(), Failure> {
        let stops = self.reuse == Some(Reuse::Stop);
        let keeps = self.keep.asked().is_some();
        if self.command.is_empty() && !stops && !keeps {
            return Err(Failure::new(
                exit_code::USAGE,
                "no command: write it after `--`, as in `kiln exec --reuse -k 6.1 -- uname -r`",
            ));
        }
        if stops && !self.command.is_empty() {
            return Err(Failure::new(
                exit_code::USAGE,
                "--reuse=stop ends the VM and runs no command: leave out one of the two",
            ));
        }
        let of_one = [
            ("--cores", self.vm.cores.is_some()),
            ("--trace", !self.vm.trace.is_empty()),
        ];
        if let Some((option, _)) = of_one.iter().find(|(_, is_set)| *is_set)
            && self.reuse.is_some()
        {
            return Err(Failure::new(
                exit_code::USAGE,
                format!("{option} is for a VM of one command, and --reuse keeps one for many"),
            )
            .hint("leave out one of the two"));
        }
        if self.as_runner && selected.len() > 1 {
            return Err(Failure::new(
                exit_code::USAGE,
                format!(
                    "--as-runner runs a program once, in one kernel, and -k selects {}",
                    selected.len()
                ),
            ));
        }
        Ok(())
    }

    /// Our own streams.
    fn streams(&self) -> Streams {
        let streams = Streams::direct();
        if self.as_runner {
            streams.quiet()
        } else {
            streams
        }
    }

    /// The directories that the command must see.
    fn visible(&self, context: &Context) -> Vec<PathBuf> {
        let mut visible = if self.as_runner {
            sight::of_runner(&context.cwd, self.command.first())
        } else {
            vec![context.cwd.clone()]
        };
        if self.reuse.is_some() {
            sight::lasting(&mut visible);
        }
        visible
    }

    /// Ends the VM that is kept for each kernel.
    async fn stop(&self, context: &Context, selected: &[Selected]) -> Result<u8, Failure> {
        for kernel in selected {
            let kept = reuse::Kept::new(context, kernel, &self.vm, &self.visible(context)).await?;
            kept.stop().await?;
        }
        Ok(exit_code::OK)
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
