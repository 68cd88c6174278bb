//! `kiln ci`: bpftrace's continuous integration as one command.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Failure;
use super::ci_profile::{self, Profile, Profiles};
use super::ci_report::{self, Verdict};
use super::input::{self, Interrupts};
use super::output;
use super::suite_args::parse_dialect;
use crate::arch::Arch;
use crate::ci::{self, End, Environment, Name, Settings, Show, Step, Variable};
use crate::config::{Catalogue, Sanitizer};
use crate::exit_code;
use crate::hint::with_causes;
use crate::report::escape;
use crate::report::github::{self, Github};
use crate::run::event_log::EVENTS;
use crate::run::partition::Partition;
use crate::suite::bpftrace::Dialect;

/// Nix's exit status if it cannot enter the shell, and that of cmake and many others.
const NIX_FAILED: i32 = 1;

/// The machine whose kernels kiln boots, on itself.
const GUESTS: Arch = Arch::X86_64;

/// `kiln ci`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kiln ci --list                        every step and its command, and the profiles
  kiln ci sanitizers                    a job of bpftrace's own CI
  kiln ci --llvm 20 -k 6.12             all of it, on one kernel
  kiln ci --only build --only gtest     two steps, nothing before them")]
pub(super) struct CiArgs {
    /// Options by name: the table [ci.PROFILE] of kernels.toml, or one of kiln's own. What the
    /// command line says comes first
    profile: Option<String>,
    /// Print each step with its command, and the profiles, and run nothing
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
    /// Another development shell of the flake, by its name
    #[arg(long, value_name = "NAME", conflicts_with = "llvm")]
    shell: Option<String>,
    /// The flake, such as . or github:OWNER/NAME
    #[arg(long, default_value = ".")]
    flake: String,
    /// Kernel: a name or glob of kernels.toml, @group, POOL:VERSION such as
    /// debian:6.18, host, or a path: a build tree, an image, or packages
    /// separated by commas [default: @ci, the kernels that bpftrace supports; else @quick, or all
    /// of a kernels.toml without these groups]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// `CMAKE_BUILD_TYPE` [default: Release]
    #[arg(long, value_name = "TYPE")]
    build_type: Option<String>,
    /// Build with this sanitizer, and multiply the time limits of tests; may be repeated
    #[arg(long, value_name = "SANITIZER")]
    sanitizer: Vec<Sanitizer>,
    /// The C compiler [default: cc]
    #[arg(long, value_name = "PROGRAM")]
    cc: Option<String>,
    /// The C++ compiler [default: c++]
    #[arg(long, value_name = "PROGRAM")]
    cxx: Option<String>,
    /// Set a variable of cmake: NAME=VALUE; may be repeated
    #[arg(short = 'D', long = "define", value_name = "NAME=VALUE")]
    defines: Vec<String>,
    /// Build this target of cmake and what it needs, instead of all; may be repeated
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
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
    /// Directory for the tests' runs, DIR/gtest, DIR/runtime-tests and DIR/aot, as for `kiln run
    /// --run-dir` [default: new ones below target/kiln/runs]
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
        let directory = self.sources()?;
        // Steps run in other directories.
        let config = match config {
            Some(config) => {
                let path = config
                    .canonicalize()
                    .map_err(|error| cannot(&format!("read {}", config.display()), &error))?;
                Some(path)
            }
            None => None,
        };
        let catalogue = Catalogue::discover(config.as_deref(), &directory)?;
        let profiles = Profiles::of(&catalogue)?;
        let profile = match &self.profile {
            Some(name) => profiles.find(name)?,
            None => Profile::default(),
        };
        let settings = self.settings(&profile, &catalogue, directory, config)?;
        let steps = self.steps(&profile, &settings);
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
            if self.profile.is_none() {
                output::line("profiles")?;
                for (name, about) in profiles.list() {
                    output::line(&format!("    kiln ci {name:12} {about}"))?;
                }
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
            if step.name.boots() && std::env::consts::ARCH != GUESTS.machine() {
                verdicts.push(not_here(step.name));
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
                &settings.environment,
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
                Ok(end) => {
                    let (code, text) = judge(step.name, end, self.step_timeout);
                    let cause = match end {
                        End::Exited(status) if !status.success() => {
                            let stopped = verdicts.is_empty() && status.code() == Some(NIX_FAILED);
                            ci::diagnose(&settings, step.name, stopped).await
                        }
                        _ => None,
                    };
                    match cause {
                        Some(cause) => (exit_code::SETUP_FAILED, format!("failed: {cause}")),
                        None => (code, text),
                    }
                }
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

    /// The sources of bpftrace, absolute.
    fn sources(&self) -> Result<PathBuf, Failure> {
        let directory = self.directory.clone().unwrap_or_else(|| PathBuf::from("."));
        directory
            .canonicalize()
            .map_err(|error| cannot(&format!("enter {}", directory.display()), &error))
    }

    /// The steps to run.
    fn steps(&self, profile: &Profile, settings: &Settings) -> Vec<Step> {
        let only = if self.only.is_empty() {
            &profile.only
        } else {
            &self.only
        };
        let mut steps = ci::steps(settings);
        steps.retain(|step| match &only[..] {
            [] => !step.name.by_name_only(),
            only => only.contains(&step.name),
        });
        let skip = |name| self.skip.contains(&name) || profile.skip.contains(&name);
        // A step that is named on the command line runs.
        steps.retain(|step| self.only.contains(&step.name) || !skip(step.name));
        steps
    }

    fn settings(
        &self,
        profile: &Profile,
        catalogue: &Catalogue,
        directory: PathBuf,
        config: Option<PathBuf>,
    ) -> Result<Settings, Failure> {
        let options = &profile.options;
        let run_dir = match &self.run_dir {
            Some(dir) => {
                let path = std::path::absolute(dir)
                    .map_err(|error| cannot(&format!("use {}", dir.display()), &error))?;
                Some(path)
            }
            None => None,
        };
        let kiln = std::env::current_exe().map_err(|error| cannot("find kiln itself", &error))?;
        // What the command line says comes first, whichever of the two it is.
        let shell = match (self.llvm, &self.shell, options.llvm, &options.shell) {
            (Some(llvm), ..) | (None, None, Some(llvm), _) => format!("bpftrace-llvm{llvm}"),
            (None, Some(shell), ..) | (None, None, None, Some(shell)) => shell.clone(),
            (None, None, None, None) => "default".to_owned(),
        };
        // Steps run in several directories: make the path of a flake the same for all.
        let flake = match std::path::Path::new(&self.flake).canonicalize() {
            Ok(path) => path.to_string_lossy().into_owned(),
            Err(_) => self.flake.clone(),
        };
        let kernels = [&self.kernels, &options.kernels];
        let kernels = kernels.into_iter().find(|kernels| !kernels.is_empty());
        let given = |of_line: &Option<String>, of_profile: &Option<String>, otherwise: &str| {
            let given = of_line.as_ref().or(of_profile.as_ref());
            given.map_or_else(|| otherwise.to_owned(), String::clone)
        };
        let mut variables = profile.variables.clone();
        variables.retain(|own| self.env.iter().all(|given| given.name != own.name));
        variables.extend(self.env.iter().cloned());
        let cpus = std::thread::available_parallelism();
        Ok(Settings {
            shell: format!("{flake}#{shell}"),
            kernels: kernels.map_or_else(|| ci_profile::default_kernels(catalogue), Vec::clone),
            build_type: given(&self.build_type, &options.build_type, "Release"),
            compilers: (
                given(&self.cc, &options.cc, "cc"),
                given(&self.cxx, &options.cxx, "c++"),
            ),
            sanitizers: [&options.sanitizers[..], &self.sanitizer].concat(),
            defines: [&options.defines[..], &self.defines].concat(),
            targets: [&options.targets[..], &self.target].concat(),
            jobs: self.jobs.or(cpus.ok()).map_or(1, usize::from),
            dialect: self.dialect,
            filters: [&options.filters[..], &self.filter].concat(),
            shard: self.shard,
            aot_allowlist: self
                .aot_allowlist
                .clone()
                .or_else(|| options.aot_allowlist.clone()),
            config,
            run_dir,
            directory,
            kiln: wrapper_of(kiln),
            environment: Environment { variables },
        })
    }
}

fn cannot(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(exit_code::SETUP_FAILED, format!("cannot {what}: {error}"))
}

/// The script around this program, if there is one: it knows kiln's QEMU. nixpkgs' `wrapProgram`
/// renames NAME to `.NAME-wrapped`.
fn wrapper_of(kiln: PathBuf) -> PathBuf {
    let name = kiln.file_name().and_then(|name| name.to_str());
    let wrapper = name
        .and_then(|name| name.strip_prefix('.')?.strip_suffix("-wrapped"))
        .map(|name| kiln.with_file_name(name));
    match wrapper {
        Some(wrapper) if wrapper.is_file() => wrapper,
        _ => kiln,
    }
}

/// A step that needs VMs, on a machine where kiln has none.
fn not_here(name: Name) -> Verdict {
    let machine = std::env::consts::ARCH;
    Verdict {
        name,
        ok: true,
        code: exit_code::OK,
        text: format!(
            "not run: kiln boots kernels only on {} yet, this is {machine}",
            GUESTS.machine()
        ),
        took: Duration::ZERO,
        run: None,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn steps_start_kiln_by_the_script_around_it() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(".kiln-wrapped");
        assert_eq!(wrapper_of(program.clone()), program);
        std::fs::write(dir.path().join("kiln"), "").unwrap();
        assert_eq!(wrapper_of(program), dir.path().join("kiln"));
        let plain = dir.path().join("kiln");
        assert_eq!(wrapper_of(plain.clone()), plain);
    }
}
