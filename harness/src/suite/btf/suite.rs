//! A suite of BPF objects and bpftrace scripts: finds and reads them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bpf::Input;
use crate::config::BtfTable;
use crate::hint::Hint;
use crate::suite::bpftrace::UnderTest;
use crate::suite::glob::{GlobError, matching};
use crate::suite::{Facts, Location, Refusal, ResolveContext, Test, TestId};

/// How long one may take: booting is not part of it.
const LIMIT: Duration = Duration::from_secs(30);

/// A suite of BPF objects and bpftrace scripts.
#[derive(Debug)]
pub struct BtfSuite {
    /// What all kinds of suites have.
    pub facts: Facts,
    /// Its tests, in the order of [`Facts::tests`].
    pub tests: Vec<BtfTest>,
    /// Whether they are loaded in each kernel.
    pub load: bool,
    /// The command that loads an object; `None` means bpftool.
    pub loader: Option<String>,
    /// What loads scripts, if there are any to load.
    pub bpftrace: Option<UnderTest>,
}

/// An object or a script.
#[derive(Debug)]
pub struct BtfTest {
    /// The file, absolute.
    pub path: PathBuf,
    /// Its content.
    pub input: Input,
}

/// The files of a suite cannot be found.
#[derive(Debug, thiserror::Error)]
#[error("suite {suite}: {source}")]
pub struct DiscoverError {
    /// The suite.
    suite: String,
    /// Why.
    source: GlobError,
}

impl Hint for DiscoverError {
    fn hints(&self) -> Vec<String> {
        match self.source {
            GlobError::Nothing { .. } => {
                vec!["a relative glob starts at the directory of kernels.toml".to_owned()]
            }
            GlobError::Glob(_) => Vec::new(),
        }
    }
}

impl BtfSuite {
    /// Finds and reads the files of the suite `name`. `named` is its location, if that is in a
    /// file.
    pub fn resolve(
        name: &str,
        table: &BtfTable,
        named: Option<&Location>,
        context: &ResolveContext<'_>,
    ) -> Result<Self, Refusal> {
        let mut paths = Vec::new();
        for glob in &table.files {
            let found = matching(&table.base, glob).map_err(|source| DiscoverError {
                suite: name.to_owned(),
                source,
            })?;
            for path in found {
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        let (mut tests, mut of_facts) = (Vec::new(), Vec::new());
        for path in paths {
            let short = path.strip_prefix(&table.base).unwrap_or(&path);
            of_facts.push(Test {
                id: TestId::new(name, short.to_string_lossy()),
                source: named.cloned(),
                limit: LIMIT,
                needs_modules: false,
            });
            tests.push(BtfTest {
                input: Input::read(&path)?,
                path,
            });
        }
        let mut visible: Vec<PathBuf> = tests
            .iter()
            .filter_map(|test| test.path.parent().map(Path::to_owned))
            .collect();
        let loads_scripts = table.load && tests.iter().any(|test| test.input.script().is_some());
        let bpftrace = if loads_scripts {
            Some(UnderTest::find(table.bpftrace.as_deref(), None, context)?)
        } else {
            None
        };
        visible.extend(bpftrace.iter().flat_map(|found| found.visible.clone()));
        visible.dedup();
        let facts = Facts {
            name: name.to_owned(),
            tests: of_facts,
            visible: if table.load { visible } else { Vec::new() },
            version: bpftrace.as_ref().and_then(|found| found.version.clone()),
            ..Facts::default()
        };
        Ok(Self {
            facts,
            tests,
            load: table.load,
            loader: table.loader.clone(),
            bpftrace,
        })
    }
}
