//! Which suite: its tests, its bpftrace, its dialect.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;

use super::Failure;
use super::bpftrace_version::{on_path, version_of};
use super::context::Context;
use crate::appimage;
use crate::config::{CommandRunner, Runner};
use crate::exit_code;
use crate::guest::root::Root;
use crate::suite::Location;
use crate::suite::bpftrace::{Dialect, EngineBeside, Vocabulary, choose};

/// Name of the suite if neither the user nor the catalogue gives one.
const DEFAULT_SUITE: &str = "bpftrace";

/// Which tests.
#[derive(Debug, Clone, Args)]
pub(super) struct SuiteArgs {
    /// Suites of kernels.toml [default: all; bpftrace with --tests]
    #[arg(value_name = "SUITE")]
    pub(super) suites: Vec<String>,
    /// The directory that holds runtime/, such as bpftrace's tests, instead of a suite's
    #[arg(long, value_name = "DIR")]
    pub(super) tests: Option<PathBuf>,
    /// The bpftrace under test, a program or an AppImage [default: the suite's,
    /// else the one on PATH]
    #[arg(long, value_name = "PATH")]
    pub(super) bpftrace: Option<PathBuf>,
    /// Regular expressions on suite.name, separated by `:`; one that starts with `-` excludes.
    /// Several -t add up; one that only excludes applies to all
    #[arg(
        short = 't',
        long = "filter",
        value_name = "FILTER",
        allow_hyphen_values = true
    )]
    pub(super) filters: Vec<String>,
    /// Only the tests in this file: one id or filter per line, # comments. kiln warns about lines
    /// that match no test
    #[arg(long, value_name = "FILE")]
    pub(super) allowlist: Option<PathBuf>,
    /// Add the tests that compile each PROG ahead of time, as suite `aot`
    #[arg(long)]
    pub(super) aot: bool,
    /// Version of bpftrace whose rules the tests follow, such as 0.17, or head [default: that of
    /// the engine beside the tests, else of bpftrace, else the newest]
    #[arg(long, value_name = "VERSION", value_parser = parse_dialect)]
    pub(super) dialect: Option<&'static Dialect>,
}

/// A suite of bpftrace's runtime tests, resolved.
#[derive(Debug, Clone)]
pub(super) struct RuntimeSuite {
    /// Its name in reports.
    pub(super) name: String,
    /// The directory that holds `runtime/`; absolute.
    pub(super) tests: PathBuf,
    /// The bpftrace under test; absolute.
    pub(super) bpftrace: PathBuf,
    /// What the guest must see for it with any root: the directory of an unpacked AppImage.
    pub(super) unpacked: Option<PathBuf>,
    /// The dialect, and what the tests may contain.
    pub(super) vocabulary: Vocabulary,
    /// What the user should know about how that was chosen.
    pub(super) note: Option<String>,
    /// The version under test: what bpftrace prints, else the dialect's.
    pub(super) version: String,
}

/// Reads `--dialect`.
pub(super) fn parse_dialect(version: &str) -> Result<&'static Dialect, String> {
    Dialect::for_version(version).ok_or_else(|| {
        let names: Vec<_> = Dialect::names().collect();
        format!("there is no such dialect; known are {}", names.join(", "))
    })
}

/// A suite of commands.
#[derive(Debug, Clone)]
pub(super) struct CommandSuite {
    /// Its name in reports.
    pub(super) name: String,
    /// How it runs.
    pub(super) runner: CommandRunner,
    /// Where it is defined, if that is in a file.
    pub(super) named: Option<Location>,
}

/// A suite, resolved.
#[derive(Debug, Clone)]
pub(super) enum ResolvedSuite {
    /// bpftrace's runtime tests.
    Runtime(RuntimeSuite),
    /// Any command.
    Command(CommandSuite),
}

impl SuiteArgs {
    /// Looks up the suites and fills in defaults. `packaged` finds bpftrace in the packages that
    /// the user chose. Ends early, with an error, once `stop` is set.
    pub(super) fn resolve(
        &self,
        context: &Context,
        root: &Root,
        packaged: impl Fn() -> Result<Option<PathBuf>, Failure>,
        stop: &AtomicBool,
    ) -> Result<Vec<ResolvedSuite>, Failure> {
        let chosen = || match &self.bpftrace {
            Some(path) => Ok(Some(path.clone())),
            None => packaged(),
        };
        let mut resolved: Vec<ResolvedSuite> = Vec::new();
        for (name, configured) in self.look_up(context)? {
            resolved.push(match configured {
                Some(Runner::Command(runner)) => {
                    let named = context.catalogue.place_of(&name);
                    ResolvedSuite::Command(CommandSuite {
                        named: named.map(|(file, line)| Location {
                            file: file.to_string_lossy().into_owned(),
                            line,
                        }),
                        name,
                        runner,
                    })
                }
                Some(Runner::BpftraceRuntime { tests, bpftrace }) => {
                    let bpftrace = chosen()?.or(bpftrace);
                    ResolvedSuite::Runtime(self.runtime(
                        context,
                        root,
                        name,
                        Some(tests),
                        bpftrace,
                        stop,
                    )?)
                }
                None => {
                    let bpftrace = chosen()?;
                    ResolvedSuite::Runtime(self.runtime(context, root, name, None, bpftrace, stop)?)
                }
            });
        }
        let commands_only = resolved
            .iter()
            .all(|suite| matches!(suite, ResolvedSuite::Command(_)));
        let ignored = [
            ("--bpftrace", self.bpftrace.is_some()),
            ("--tests", self.tests.is_some()),
            ("--dialect", self.dialect.is_some()),
            ("--aot", self.aot),
        ];
        if let (true, Some((option, _))) = (commands_only, ignored.iter().find(|(_, set)| *set)) {
            return Err(Failure::new(
                exit_code::USAGE,
                format!("{option} is for suites of bpftrace's runtime tests, but none is selected"),
            ));
        }
        Ok(resolved)
    }

    fn runtime(
        &self,
        context: &Context,
        root: &Root,
        name: String,
        tests: Option<PathBuf>,
        bpftrace: Option<PathBuf>,
        stop: &AtomicBool,
    ) -> Result<RuntimeSuite, Failure> {
        let tests = self.tests.clone().or(tests).unwrap_or_default();
        let tests = tests.canonicalize().map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!(
                    "suite {name}: cannot find its tests in {}: {error}",
                    tests.display()
                ),
            )
            .hint("`make bpftrace` fetches Debian's; --tests DIR names another directory")
        })?;
        let bpftrace = match bpftrace.or_else(|| on_path(root)) {
            Some(path) => context.cwd.join(path),
            None => PathBuf::from("/usr/bin/bpftrace"),
        };
        let (bpftrace, unpacked) = if appimage::is_appimage(&bpftrace)? {
            let program = appimage::unpack(&bpftrace, context.cache.root(), stop)?;
            let directory = program.parent().map(Path::to_owned);
            (program, directory)
        } else {
            (bpftrace, None)
        };
        let version = version_of(&bpftrace, root, context.cache.root());
        let engine = EngineBeside::read(&tests);
        let choice = choose(self.dialect, &engine, version.as_deref());
        Ok(RuntimeSuite {
            name,
            tests,
            bpftrace,
            unpacked,
            version: version.unwrap_or_else(|| choice.vocabulary.dialect.name.to_owned()),
            vocabulary: choice.vocabulary,
            note: choice.note,
        })
    }

    /// The suites' names, each once, and their entries in the catalogue.
    fn look_up(&self, context: &Context) -> Result<Vec<(String, Option<Runner>)>, Failure> {
        let catalogue = &context.catalogue;
        let known = |name: &str| catalogue.suite(name).map(|suite| suite.runner.clone());
        if self.tests.is_some() {
            return match self.suites.as_slice() {
                [] => Ok(vec![(DEFAULT_SUITE.to_owned(), known(DEFAULT_SUITE))]),
                [name] => Ok(vec![(name.clone(), known(name))]),
                _ => Err(Failure::new(
                    exit_code::USAGE,
                    "--tests names the tests of one suite, but several suites are selected",
                )),
            };
        }
        let names: Vec<String> = catalogue.suites.iter().map(|s| s.name.clone()).collect();
        let wanted = match self.suites.as_slice() {
            [] if names.is_empty() => {
                return Err(Failure::new(
                    exit_code::SETUP_FAILED,
                    format!("{} has no suite", catalogue.origin),
                )
                .hint("name the directory of bpftrace's tests with --tests DIR"));
            }
            [] => &names,
            given => given,
        };
        let mut found: Vec<(String, Option<Runner>)> = Vec::new();
        for name in wanted {
            let Some(runner) = known(name) else {
                let failure = Failure::new(
                    exit_code::SETUP_FAILED,
                    format!("there is no suite `{name}`"),
                );
                return Err(if names.is_empty() {
                    failure.hint("name the directory of bpftrace's tests with --tests DIR")
                } else {
                    failure.hint(format!("known suites: {}", names.join(", ")))
                });
            };
            if !found.iter().any(|(other, _)| other == name) {
                found.push((name.clone(), Some(runner)));
            }
        }
        Ok(found)
    }
}
