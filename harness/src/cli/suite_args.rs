//! What the user says of suites and tests.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clap::Args;

use super::Failure;
use super::context::Context;
use super::output;
use super::root_args::RootArgs;
use crate::hint::Hint;
use crate::report::escape;
use crate::run::runner::Suite;
use crate::run::selection::Selection;
use crate::run::suites::suites;
use crate::suite::bpftrace::{Dialect, Options};
use crate::suite::{Refusal, ResolveContext};

/// Which tests.
#[derive(Debug, Clone, Args)]
pub(super) struct SuiteArgs {
    /// Suites of kernels.toml [default: all; bpftrace with --tests]
    #[arg(value_name = "SUITE")]
    suites: Vec<String>,
    /// The directory that holds runtime/, such as bpftrace's tests, instead of a suite's
    #[arg(long, value_name = "DIR")]
    tests: Option<PathBuf>,
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
    filters: Vec<String>,
    /// Only the tests in this file: one id or filter per line, # comments. kiln warns about lines
    /// that match no test
    #[arg(long, value_name = "FILE")]
    allowlist: Option<PathBuf>,
    /// Add the tests that compile each PROG ahead of time, as suite `aot`
    #[arg(long)]
    aot: bool,
    /// Version of bpftrace whose rules the tests follow, such as 0.17, or head [default: that of
    /// the engine beside the tests, else of bpftrace, else the newest]
    #[arg(long, value_name = "VERSION", value_parser = parse_dialect)]
    dialect: Option<&'static Dialect>,
}

/// Reads `--dialect`.
pub(super) fn parse_dialect(version: &str) -> Result<&'static Dialect, String> {
    Dialect::for_version(version).ok_or_else(|| {
        let names: Vec<_> = Dialect::names().collect();
        format!("there is no such dialect; known are {}", names.join(", "))
    })
}

/// Does `work` with what suites and programs are looked up in.
pub(super) fn with_resolve_context<T>(
    context: &Context,
    root: &RootArgs,
    runtime: &Options,
    stop: &AtomicBool,
    work: impl FnOnce(&ResolveContext<'_>) -> T,
) -> T {
    work(&ResolveContext {
        runtime,
        packaged: &|| root.nix.bpftrace().map_err(refusal),
        check_program: &|program| root.nix.check_visible(program).map_err(refusal),
        root: &root.root(),
        cwd: &context.cwd,
        cache: context.cache.root(),
        stop,
    })
}

impl SuiteArgs {
    /// Looks up the suites and fills in defaults. Ends early, with an error, once `stop` is set.
    pub(super) fn resolve(
        &self,
        context: &Context,
        root: &RootArgs,
        stop: &AtomicBool,
    ) -> Result<Vec<Box<dyn Suite>>, Failure> {
        let runtime = Options {
            tests: self.tests.clone(),
            bpftrace: self.bpftrace.clone(),
            aot: self.aot,
            dialect: self.dialect,
        };
        with_resolve_context(context, root, &runtime, stop, |resolve| {
            Ok(suites(&context.catalogue, &self.suites, resolve)?)
        })
    }

    /// The tests of these suites that are asked for.
    pub(super) fn select(&self, suites: Vec<Box<dyn Suite>>) -> Result<Selection, Failure> {
        let allowlist = self.allowlist.as_deref();
        Ok(Selection::new(suites, &self.filters, allowlist)?)
    }

    /// The suites, and the tests selected from them, for subcommands that boot nothing; warns about
    /// lines of the allow-list that match no test.
    pub(super) async fn select_from(
        &self,
        context: &Context,
        root: &mut RootArgs,
    ) -> Result<Selection, Failure> {
        root.resolve(context).await?;
        let suites = self.resolve(context, root, &AtomicBool::new(false))?;
        for note in suites
            .iter()
            .filter_map(|suite| suite.facts().note.as_ref())
        {
            output::note(&format!("warning: {}", escape::line(note)));
        }
        let selection = self.select(suites)?;
        for line in &selection.unknown {
            output::note(&format!("warning: {}", escape::line(line)));
        }
        Ok(selection)
    }

    /// Whether the user says anything of suites or tests.
    pub(super) fn is_named(&self) -> bool {
        !self.suites.is_empty() || self.tests.is_some() || self.is_part()
    }

    /// The names of the suites.
    pub(super) fn names(&self) -> &[String] {
        &self.suites
    }

    /// Whether only a part of the suites' tests is asked for.
    pub(super) fn is_part(&self) -> bool {
        !self.filters.is_empty() || self.allowlist.is_some()
    }
}

/// A program that the guest's root does not have.
#[derive(Debug)]
struct NotInRoot(Failure);

fn refusal(failure: Failure) -> Refusal {
    let code = failure.code;
    Refusal::from(NotInRoot(failure)).with_code(code)
}

impl fmt::Display for NotInRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for NotInRoot {}

impl Hint for NotInRoot {
    fn hints(&self) -> Vec<String> {
        self.0.hints.clone()
    }
}
