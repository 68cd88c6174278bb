//! `kiln ci`: bpftrace's continuous integration as one command.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Failure;
use super::ci_report::{self, Verdict};
use super::input::{self, Interrupts};
use super::output;
use super::suite_args::parse_dialect;
use crate::ci::{self, End, Environment, Name, Sanitizer, Settings, Show, Step, Variable};
use crate::exit_code;
use crate::hint::with_causes;
use crate::report::escape;
use crate::report::github::{self, Github};
use crate::run::event_log::EVENTS;
use crate::run::partition::Partition;
use crate::suite::bpftrace::Dialect;

/// `kiln ci`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kiln ci --list                        every step and its command
  kiln ci --llvm 20 -k 6.12             all of it, on one kernel
  kiln ci --only build --only gtest     two steps, nothing before them")]
pub(super) struct CiArgs {
    /// Print each step with its command, and run nothing
    #[arg(long)]
    list: bool,
    /// Run only this step, without those it needs; may be repeated
    #[arg(long, value_name = "STEP")]
    only: Vec<Name>,
    /// Leave out this step; may be repeated
    #[arg(long, value_name = "STEP")]
    skip: Vec<Name>,
    /// Version of LLVM: the development shell bpftrace-llvmN of the flake
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    llvm: Option<u16>,
    /// The flake, such as . or github:OWNER/NAME
    #[arg(long, default_value = ".")]
    flake: String,
    /// Kernel: a name or glob of kernels.toml, @group, POOL:VERSION such as
    /// debian:6.18, host, or a path: a build tree, an image, or packages
    /// separated by commas [default: @quick]
    #[arg(
        short,
        long = "kernel",
        value_name = "KERNEL",
        default_value = "@quick",
        hide_default_value = true
    )]
    kernels: Vec<String>,
    /// `CMAKE_BUILD_TYPE`
    #[arg(long, value_name = "TYPE", default_value = "Release")]
    build_type: String,
    /// Build with this sanitizer; may be repeated
    #[arg(long, value_name = "SANITIZER")]
    sanitizer: Vec<Sanitizer>,
    /// The C compiler
    #[arg(long, value_name = "PROGRAM", default_value = "cc")]
    cc: String,
    /// The C++ compiler
    #[arg(long, value_name = "PROGRAM", default_value = "c++")]
    cxx: String,
    /// Number of parallel build processes [default: the number of CPUs]
    #[arg(short, long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Filter for the runtime tests, as for `kiln run`
    #[arg(short = 't', long, value_name = "FILTER", allow_hyphen_values = true)]
    filter: Vec<String>,
    /// Version of bpftrace whose rules the runtime and AOT tests follow, such as 0.26, or head
    /// [default: that of the engine beside them]
    #[arg(long, value_name = "VERSION", value_parser = parse_dialect)]
    dialect: Option<&'static Dialect>,
    /// Run one part of the runtime and AOT tests, as for `kiln run`; does not divide other steps
    #[arg(long, value_name = "PART")]
    shard: Option<Partition>,
    /// File that lists the AOT tests to run [default: all]
    #[arg(long, value_name = "FILE")]
    aot_allowlist: Option<PathBuf>,
    /// Directory for the tests' runs, DIR/runtime-tests and DIR/aot, as for `kiln run --run-dir`
    /// [default: below $XDG_STATE_HOME/kiln/runs]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// The sources of bpftrace, where commands run [default: the working directory]
    #[arg(short = 'C', long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Pass an environment variable on to commands (NAME), or set it (NAME=VALUE)
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<Variable>,
    /// End a step after this time, such as 30m or 2h
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse, default_value = "2h")]
    step_timeout: Duration,
}

impl CiArgs {
    pub(super) async fn run(self, config: Option<PathBuf>) -> Result<u8, Failure> {
        let environment = Environment {
            variables: self.env.clone(),
        };
        let settings = self.settings(&environment, config)?;
        let mut steps = ci::steps(&settings);
        steps.retain(|step| self.only.is_empty() || self.only.contains(&step.name));
        steps.retain(|step| !self.skip.contains(&step.name));
        if steps.is_empty() {
            return Err(Failure::new(
                exit_code::NOTHING_SELECTED,
                "no step is left to run",
            ));
        }
        if self.list {
            for step in &steps {
                output::line(&format!("{}\n    {}", step.name.as_str(), step.line()))?;
            }
            return Ok(exit_code::OK);
        }
        let mut interrupts = Interrupts::listen()?;
        let github = Github::detect();
        let mut verdicts: Vec<Verdict> = Vec::new();
        let mut interrupted = None;
        for step in &steps {
            let missing = step.name.needs().filter(|needed| {
                verdicts
                    .iter()
                    .any(|verdict| verdict.name == *needed && !verdict.ok)
            });
            if let Some(needed) = missing {
                verdicts.push(Verdict {
                    name: step.name,
                    ok: false,
                    code: exit_code::OK,
                    text: format!("not run: {} did not succeed", needed.as_str()),
                    took: Duration::ZERO,
                    run: None,
                });
                continue;
            }
            let started = Instant::now();
            // The step refuses a directory that already has one.
            let run = settings
                .run_dir_of(step.name)
                .filter(|dir| !dir.join(EVENTS).exists());
            open(step, github.is_some())?;
            let show = if github.is_some() {
                Show::Marked
            } else {
                Show::Through
            };
            let end = ci::run(
                step,
                &environment,
                show,
                self.step_timeout,
                interrupts.next(),
            )
            .await;
            if github.is_some() {
                output::line(github::END_GROUP)?;
            }
            let (code, text) = match end {
                Ok(End::Interrupted(signal)) => {
                    interrupted = Some(signal);
                    (input::code_of(signal), format!("ended by {signal}"))
                }
                Ok(end) => judge(step.name, end, self.step_timeout),
                // Without Nix no step can run.
                Err(error @ ci::Error::NoNix) => return Err(error.into()),
                Err(error) => (exit_code::SETUP_FAILED, with_causes(&error)),
            };
            verdicts.push(Verdict {
                name: step.name,
                ok: code == exit_code::OK,
                code,
                text,
                took: started.elapsed(),
                run,
            });
            if interrupted.is_some() {
                break;
            }
        }
        ci_report::report(&verdicts, github.as_ref())?;
        Ok(match interrupted {
            Some(signal) => input::code_of(signal),
            None => worst(&verdicts),
        })
    }

    fn settings(
        &self,
        environment: &Environment,
        config: Option<PathBuf>,
    ) -> Result<Settings, Failure> {
        let cannot = |what: &str, error: std::io::Error| {
            Failure::new(exit_code::SETUP_FAILED, format!("cannot {what}: {error}"))
        };
        let directory = self.directory.clone().unwrap_or_else(|| PathBuf::from("."));
        let directory = directory
            .canonicalize()
            .map_err(|error| cannot(&format!("enter {}", directory.display()), error))?;
        // Steps run in other directories.
        let config = match config {
            Some(config) => {
                let path = config
                    .canonicalize()
                    .map_err(|error| cannot(&format!("read {}", config.display()), error))?;
                Some(path)
            }
            None => None,
        };
        let run_dir = match &self.run_dir {
            Some(dir) => {
                let path = std::path::absolute(dir)
                    .map_err(|error| cannot(&format!("use {}", dir.display()), error))?;
                Some(path)
            }
            None => None,
        };
        let kiln = std::env::current_exe().map_err(|error| cannot("find kiln itself", error))?;
        let shell = self.llvm.map_or_else(
            || "default".to_owned(),
            |llvm| format!("bpftrace-llvm{llvm}"),
        );
        // Steps run in several directories: make the path of a flake the same for all.
        let flake = match std::path::Path::new(&self.flake).canonicalize() {
            Ok(path) => path.to_string_lossy().into_owned(),
            Err(_) => self.flake.clone(),
        };
        let cpus = std::thread::available_parallelism();
        Ok(Settings {
            shell: format!("{flake}#{shell}"),
            kernels: self.kernels.clone(),
            build_type: self.build_type.clone(),
            compilers: (self.cc.clone(), self.cxx.clone()),
            sanitizers: self.sanitizer.clone(),
            jobs: self.jobs.or(cpus.ok()).map_or(1, usize::from),
            dialect: self.dialect,
            filters: self.filter.clone(),
            shard: self.shard,
            aot_allowlist: self.aot_allowlist.clone(),
            config,
            run_dir,
            directory,
            kiln,
            environment: environment.clone(),
        })
    }
}

/// Exit code and message for a step that was not interrupted.
fn judge(name: Name, end: End, limit: Duration) -> (u8, String) {
    let failed = if name.tests() {
        exit_code::TESTS_FAILED
    } else {
        exit_code::SETUP_FAILED
    };
    let status = match end {
        End::Exited(status) if status.success() => return (exit_code::OK, "ok".to_owned()),
        End::Exited(status) => status,
        _ => {
            let text = format!("ended after {} s (--step-timeout)", limit.as_secs_f64());
            return (failed, text);
        }
    };
    let code = match status.code() {
        // The inner kiln distinguishes a lost VM and a failed set-up from failed tests.
        Some(97) if name.runs_kiln() => exit_code::VM_LOST,
        Some(96 | 125) if name.runs_kiln() => exit_code::SETUP_FAILED,
        // A filter or a part without tests: nothing failed.
        Some(4) if name.runs_suite() => exit_code::SETUP_FAILED,
        _ => failed,
    };
    (code, format!("failed: {status}"))
}

/// Set-up before lost VMs before failed tests, as in `kiln run`.
fn worst(verdicts: &[Verdict]) -> u8 {
    [
        exit_code::SETUP_FAILED,
        exit_code::VM_LOST,
        exit_code::TESTS_FAILED,
    ]
    .into_iter()
    .find(|code| verdicts.iter().any(|verdict| verdict.code == *code))
    .unwrap_or(exit_code::OK)
}

fn open(step: &Step, github: bool) -> Result<(), Failure> {
    let name = step.name.as_str();
    let line = step.line();
    if github {
        output::line(&format!(
            "{}\n{}",
            github::group(name),
            github::marked(&line)
        ))
    } else {
        output::line(&format!("== {name}: {}", escape::line(&line)))
    }
}
