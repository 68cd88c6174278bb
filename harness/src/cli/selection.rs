//! Selects tests of the suites: `-t`, `--allowlist` and `--aot`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::Failure;
use super::context::Context;
use super::root_args::RootArgs;
use super::say;
use super::suite_args::{CommandSuite, ResolvedSuite, SuiteArgs};
use crate::arch::Arch;
use crate::exit_code;
use crate::guest::root::Root;
use crate::report::escape;
use crate::run::plan::{BpftraceSuite, PlannedRunner, PlannedSuite, PlannedTest, Work};
use crate::suite::bpftrace::RuntimeSuites;
use crate::suite::command::discover;
use crate::suite::{Allowlist, AllowlistError, Filter, FilterError};

/// The selected tests.
#[derive(Debug)]
pub(super) struct Selection {
    /// Suite by suite; bpftrace's sorted by id, `RUN` and `PROG`.
    pub(super) tests: Vec<PlannedTest>,
    /// Warnings about the suites' files; with a filter or an allow-list, about those of the
    /// selected tests.
    pub(super) oddities: Vec<String>,
    /// Lines of the allow-list that match no test.
    pub(super) unknown: Vec<String>,
}

impl SuiteArgs {
    /// The suites, and the tests selected from them, for subcommands that boot nothing; warns about
    /// lines of the allow-list that match no test.
    pub(super) async fn select_from(
        &self,
        context: &Context,
        root: &mut RootArgs,
    ) -> Result<(Vec<ResolvedSuite>, Selection), Failure> {
        root.resolve(context).await?;
        let stop = AtomicBool::new(false);
        let suites = self.resolve(context, &root.root(), || root.nix.bpftrace(), &stop)?;
        for note in suites.iter().filter_map(ResolvedSuite::note) {
            say::note(&format!("warning: {}", escape::line(&note)));
        }
        let selection = self.select(&suites, &root.on_host())?;
        for line in &selection.unknown {
            say::note(&format!("warning: {}", escape::line(line)));
        }
        Ok((suites, selection))
    }

    /// Reads the suites' files and selects from them. `root` is the path of the guest's root on the
    /// host.
    pub(super) fn select(
        &self,
        suites: &[ResolvedSuite],
        root: &Path,
    ) -> Result<Selection, Failure> {
        let filter = Filter::new(&self.filters).map_err(filter_failure)?;
        let allowlist = match &self.allowlist {
            Some(path) => Some(Allowlist::read(path)?),
            None => None,
        };
        let mut tests = Vec::new();
        let (mut oddities, mut elsewhere) = (Vec::new(), Vec::new());
        for (suite, resolved) in suites.iter().enumerate() {
            match resolved {
                ResolvedSuite::Runtime(runtime) => {
                    let mut read =
                        RuntimeSuites::read(&runtime.tests, &runtime.vocabulary, Arch::default())?;
                    if self.aot {
                        read = read.with_aot();
                    }
                    oddities.extend(read.warnings);
                    elsewhere.extend(read.excluded.into_iter().map(|test| test.id));
                    tests.extend(read.tests.into_iter().map(|test| PlannedTest {
                        suite,
                        work: Work::Runtime(Arc::new(test)),
                    }));
                }
                ResolvedSuite::Command(CommandSuite {
                    name,
                    runner,
                    named,
                }) => {
                    let found = discover(name, runner, named.as_ref(), root)?;
                    tests.extend(found.into_iter().map(|test| PlannedTest {
                        suite,
                        work: Work::Command(Arc::new(test)),
                    }));
                }
            }
        }
        let mut unknown = Vec::new();
        if let Some(allowlist) = allowlist {
            let allowed = allowlist
                .allow(tests, PlannedTest::id, &elsewhere)
                .map_err(allowlist_failure)?;
            (tests, unknown) = (allowed.tests, allowed.unknown);
        }
        let tests = filter
            .select(tests, PlannedTest::id)
            .map_err(filter_failure)?;
        if !self.filters.is_empty() || self.allowlist.is_some() {
            let files: HashSet<&Path> = tests.iter().filter_map(file_of).collect();
            oddities.retain(|oddity| files.contains(oddity.path.as_path()));
        }
        Ok(Selection {
            tests,
            oddities: oddities.iter().map(ToString::to_string).collect(),
            unknown,
        })
    }
}

impl ResolvedSuite {
    /// Its name in reports.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Runtime(suite) => &suite.name,
            Self::Command(suite) => &suite.name,
        }
    }

    /// What the user should know about how its dialect was chosen.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Runtime(suite) => {
                let note = suite.note.as_ref()?;
                Some(format!("suite {}: {note}", suite.name))
            }
            Self::Command(_) => None,
        }
    }

    /// Its form in the plan.
    pub(super) fn planned(&self) -> PlannedSuite {
        match self {
            Self::Runtime(suite) => PlannedSuite {
                name: suite.name.clone(),
                runner: PlannedRunner::Bpftrace(BpftraceSuite {
                    vocabulary: suite.vocabulary.clone(),
                    tests_dir: suite.tests.clone(),
                    bpftrace: suite.bpftrace.clone(),
                    version: suite.version.clone(),
                }),
            },
            Self::Command(suite) => PlannedSuite {
                name: suite.name.clone(),
                runner: PlannedRunner::Command,
            },
        }
    }

    /// Paths that the guest must see at the same place as the host.
    pub(super) fn visible(&self, root: &Root) -> Vec<PathBuf> {
        // With another root such paths belong to the guest.
        let own_root = matches!(root, Root::Dir(_));
        match self {
            Self::Runtime(suite) => {
                let mut visible = vec![suite.tests.clone()];
                visible.extend(suite.unpacked.clone());
                if !own_root {
                    visible.extend(suite.bpftrace.parent().map(PathBuf::from));
                }
                visible
            }
            Self::Command(CommandSuite { runner, .. }) => {
                let mut visible = Vec::new();
                if runner.cwd_is_host || !own_root {
                    visible.push(runner.cwd.clone());
                }
                if runner
                    .each
                    .as_deref()
                    .is_some_and(|each| !each.starts_with('/'))
                {
                    visible.push(runner.base.clone());
                }
                visible
            }
        }
    }
}

/// The file in bpftrace's suite that contains a test.
fn file_of(test: &PlannedTest) -> Option<&Path> {
    match &test.work {
        Work::Runtime(test) => Some(&test.path),
        Work::Command(_) => None,
    }
}

fn filter_failure(error: FilterError) -> Failure {
    let code = match error {
        FilterError::NothingSelected { .. } => exit_code::NOTHING_SELECTED,
        FilterError::BadPattern { .. } => exit_code::USAGE,
    };
    Failure::from(error).with_code(code)
}

fn allowlist_failure(error: AllowlistError) -> Failure {
    match error {
        AllowlistError::NothingAllowed { .. } => {
            Failure::from(error).with_code(exit_code::NOTHING_SELECTED)
        }
        _ => Failure::from(error),
    }
}
