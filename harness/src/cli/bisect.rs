//! `kiln bisect`: finds the kernel on which a test or a command changes.

mod ask;
mod candidates;
mod drive;
mod ending;
mod place;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::again;
use super::context::Context;
use super::guest_command::command_of;
use super::input::{self, Interrupts};
use super::line::{self, Line};
use super::suite_args::SuiteArgs;
use super::text_or_json::TextOrJson;
use super::vm_args::VmArgs;
use super::{Failure, output};
use crate::bisect::{self, Asked, Journal, State};
use crate::exit_code;
use crate::report::escape;
use crate::run::dir::RunDir;
use ask::Question;
use candidates::KernelArgs;
use drive::Work;
use place::{LAST, absolute, bisections, named};

/// Find the kernel on which a test or a command changes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_help = "A command says what a kernel is by its exit code, as for git bisect run: 0 good, 125 skip, 1 to
127 bad, 128 and above abort. Of tests, one that fails makes a kernel bad.

Examples:
  kiln bisect --good debian:6.1 --bad debian:7.3 -t '^call\\.kstack$' bpftrace
  kiln bisect -k @lts -- grep -qw vfs_open /proc/kallsyms
  kiln bisect -k debian:series --look-for fixed --confirm 3 -- ./reproduce
  kiln bisect --path 'builds/*' --git ../linux -- ./my-test
  kiln bisect --resume"
)]
pub(super) struct BisectArgs {
    #[command(subcommand)]
    command: Option<BisectCommand>,
    /// Which kernels
    #[command(flatten)]
    among: KernelArgs,
    /// Ask each kernel N times; it is bad if it is bad once
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    confirm: u32,
    /// Number of kernels to ask at the same time
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Go on with an earlier bisection: its directory, or last
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = LAST)]
    resume: Option<PathBuf>,
    /// Directory for what is found [default: a new one below target/kiln/bisect]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
    /// End the command after this time, such as 30s or 10m, which makes the kernel bad; 0 is never
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse, default_value = "1h")]
    timeout: Duration,
    /// Which tests
    #[command(flatten)]
    suite: SuiteArgs,
    /// Command and arguments, instead of tests
    #[arg(last = true, value_name = "CMD")]
    argv: Vec<OsString>,
    /// The words of the bisection that this goes on with or repeats
    #[arg(skip)]
    words: Option<Vec<String>>,
    /// How VMs are made
    #[command(flatten)]
    vm: VmArgs,
}

#[derive(Debug, Subcommand)]
enum BisectCommand {
    /// Print what a bisection has found so far
    Log {
        /// Its directory [default: the last one]
        dir: Option<PathBuf>,
        /// How to print it
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// Run a bisection again, from the start
    Replay {
        /// Its directory [default: the last one]
        dir: Option<PathBuf>,
        /// Directory for what is found [default: a new one below target/kiln/bisect]
        #[arg(long, value_name = "DIR")]
        run_dir: Option<PathBuf>,
    },
}

impl BisectArgs {
    /// Runs it; returns the exit code.
    pub(super) async fn run(self, config: Option<PathBuf>) -> Result<u8, Failure> {
        let place = bisections(&Context::load(config.as_deref())?);
        match &self.command {
            Some(BisectCommand::Log { dir, format }) => {
                let dir = named(dir.as_deref(), &place)?;
                let read = bisect::read(&dir)?;
                let mut state = State::new(read.asked);
                read.answers
                    .into_iter()
                    .for_each(|answer| state.take(answer));
                return ending::log(&state, &dir, *format);
            }
            Some(BisectCommand::Replay { dir, run_dir }) => {
                let dir = named(dir.as_deref(), &place)?;
                let run_dir = run_dir.as_deref().map(absolute).transpose()?;
                let (mut args, config) = parse(bisect::read(&dir)?.asked)?;
                args.run_dir = run_dir;
                return args.begin(config).await;
            }
            None => {}
        }
        match &self.resume {
            Some(dir) => {
                let dir = named(Some(dir), &place)?;
                self.resume(&dir).await
            }
            None => self.begin(config).await,
        }
    }

    /// Begins a bisection.
    async fn begin(mut self, config: Option<PathBuf>) -> Result<u8, Failure> {
        let context = Context::load(config.as_deref())?;
        if self.argv.is_empty() && !self.suite.is_named() {
            return Err(Failure::new(
                exit_code::USAGE,
                "nothing says what to ask the kernels: there are neither tests nor a command",
            )
            .hint("name tests (-t REGEX SUITE), or a command after --"));
        }
        if !self.argv.is_empty() && self.suite.is_named() {
            return Err(Failure::new(
                exit_code::USAGE,
                "both tests and a command are given; a bisection has one question",
            ));
        }
        let mut interrupts = Interrupts::listen()?;
        let question = self.question(&context, &mut interrupts).await?;
        let kernels = tokio::select! {
            kernels = candidates::candidates(&self.among, &context) => kernels?,
            signal = interrupts.next() => return Ok(input::code_of(signal)),
        };
        let dir = RunDir::create(self.run_dir.as_deref(), &bisections(&context))?;
        let asked = Asked {
            format: 0,
            kiln: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            cwd: context.cwd.to_string_lossy().into_owned(),
            words: self.words(),
            look_for: self.among.look_for,
            confirm: self.confirm,
            kernels,
        };
        let mut journal = Journal::create(dir.path(), asked.clone())?;
        let state = State::new(asked);
        output::note(&format!(
            "kiln: {} kernels from {} to {}, at most {} to ask; {}",
            state.asked().kernels.len(),
            escape::line(state.name(0)),
            escape::line(state.name(state.asked().kernels.len() - 1)),
            state.left(),
            dir.path().display()
        ));
        self.go_on(
            &context,
            &question,
            dir.path(),
            (state, &mut journal),
            interrupts,
        )
        .await
    }

    /// Goes on with the bisection in `dir`.
    async fn resume(self, dir: &Path) -> Result<u8, Failure> {
        let asked = bisect::read(dir)?.asked;
        if let Some(other) = other_option(&asked.words) {
            return Err(Failure::new(
                exit_code::USAGE,
                format!("{other} cannot change in a bisection that goes on"),
            )
            .hint("leave it out: --resume goes on with the options of the start")
            .hint("or leave out --resume to start another one"));
        }
        let (mut args, config) = parse(asked)?;
        (args.jobs, args.format) = (self.jobs, self.format);
        let context = Context::load(config.as_deref())?;
        let mut interrupts = Interrupts::listen()?;
        let question = args.question(&context, &mut interrupts).await?;
        let (mut journal, read) = Journal::resume(dir)?;
        let mut state = State::new(read.asked);
        read.answers
            .into_iter()
            // Perhaps it can be had now.
            .filter(|answer| answer.verdict != bisect::Verdict::Unavailable)
            .for_each(|answer| state.take(answer));
        output::note(&format!(
            "kiln: going on after {} boots, at most {} to ask; {}",
            state.boots(),
            state.left(),
            dir.display()
        ));
        args.go_on(&context, &question, dir, (state, &mut journal), interrupts)
            .await
    }

    /// The command line, without what does not change what is found.
    fn words(&self) -> Vec<String> {
        let ours = || again::bisection(std::env::args_os());
        self.words.clone().unwrap_or_else(ours)
    }

    async fn go_on(
        &self,
        context: &Context,
        question: &Question,
        dir: &Path,
        (mut state, journal): (State, &mut Journal),
        mut interrupts: Interrupts,
    ) -> Result<u8, Failure> {
        let work = Work {
            context,
            question,
            dir,
            jobs: usize::from(self.jobs),
        };
        if let Some(code) = drive::drive(&work, &mut state, journal, &mut interrupts).await? {
            return Ok(code);
        }
        ending::end(context, &state, dir, &self.words(), self.format).await
    }

    /// What to ask each kernel.
    async fn question(
        &mut self,
        context: &Context,
        interrupts: &mut Interrupts,
    ) -> Result<Question, Failure> {
        self.vm.check_possible()?;
        if self.argv.is_empty() {
            let mut words = vec![OsString::from("run")];
            words.extend(
                again::step(&self.words(), "run")
                    .into_iter()
                    .map(Into::into),
            );
            words.extend(["--status-level=none".into(), "--".into()]);
            words.extend(self.suite.names().iter().map(Into::into));
            let variables = self.vm.env.env.iter().filter_map(|variable| {
                let bytes = variable.as_bytes();
                let at = bytes.iter().position(|byte| *byte == b'=')?;
                Some((bytes[..at].to_vec(), bytes[at + 1..].to_vec()))
            });
            return Ok(Question::Tests {
                words,
                variables: variables.collect(),
            });
        }
        // May build packages for hours.
        tokio::select! {
            resolved = self.vm.root.resolve(context) => resolved?,
            signal = interrupts.next() => {
                let code = input::code_of(signal);
                return Err(Failure::new(code, "interrupted before the first kernel"));
            }
        }
        let command = command_of(&self.argv, context, &self.vm, self.timeout)?;
        Ok(Question::Command {
            command,
            vm: Box::new(self.vm.clone()),
        })
    }
}

/// The option beside --resume that is not as it was.
fn other_option(theirs: &[String]) -> Option<String> {
    let ours = again::bisection(std::env::args_os());
    let mut theirs = theirs.iter();
    let mut option = String::new();
    ours.into_iter()
        .skip(2)
        .filter(|word| word != "--")
        .find_map(|word| {
            if word.starts_with("--") {
                option.clone_from(&word);
            }
            let same = theirs.any(|other| *other == word);
            (!same).then(|| {
                if option.is_empty() {
                    word
                } else {
                    option.clone()
                }
            })
        })
}

/// The arguments of an earlier bisection, in its directory.
fn parse(asked: Asked) -> Result<(BisectArgs, Option<PathBuf>), Failure> {
    super::rerun::enter(&asked.cwd)?;
    if let Ok(Line {
        mut args, config, ..
    }) = line::parse::<BisectArgs>("bisect", &asked.words)
    {
        args.words = Some(asked.words);
        return Ok((args, config));
    }
    Err(Failure::new(
        exit_code::SETUP_FAILED,
        "this kiln cannot read the options of that bisection",
    )
    .hint("another version of kiln made it; start another one"))
}
