//! A suite of BPF objects: finds and reads them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::GlobBuilder;

use crate::bpf::Object;
use crate::config::BtfTable;
use crate::hint::Hint;
use crate::suite::{Facts, Location, Refusal, Test, TestId};

/// How many files below the directory of a glob to look at.
const MAX_FILES: usize = 100_000;
/// How long one object may take: booting is not part of it.
const LIMIT: Duration = Duration::from_secs(30);

/// A suite of BPF objects.
#[derive(Debug)]
pub struct BtfSuite {
    /// What all kinds of suites have.
    pub facts: Facts,
    /// Its tests, in the order of [`Facts::tests`].
    pub tests: Vec<BtfTest>,
    /// Whether they are loaded in each kernel.
    pub load: bool,
    /// The command that loads one; `None` means bpftool.
    pub loader: Option<String>,
}

/// An object.
#[derive(Debug)]
pub struct BtfTest {
    /// The file, absolute.
    pub path: PathBuf,
    /// Its content.
    pub object: Object,
}

/// Why the objects of a suite cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// No file matches.
    #[error("suite {suite}: no file matches {glob}")]
    Nothing {
        /// The suite.
        suite: String,
        /// The glob, absolute.
        glob: String,
    },
    /// The glob is invalid.
    #[error("suite {suite}: objects: {source}")]
    Glob {
        /// The suite.
        suite: String,
        /// Why.
        source: globset::Error,
    },
}

impl Hint for DiscoverError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Nothing { .. } => {
                vec!["a relative glob starts at the directory of kernels.toml".to_owned()]
            }
            Self::Glob { .. } => Vec::new(),
        }
    }
}

impl BtfSuite {
    /// Finds and reads the objects of the suite `name`. `named` is its location, if that is in a
    /// file.
    pub fn resolve(
        name: &str,
        table: &BtfTable,
        named: Option<&Location>,
    ) -> Result<Self, Refusal> {
        let mut paths = Vec::new();
        for glob in &table.objects {
            for path in matching(name, &table.base, glob)? {
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
                object: Object::read(&path)?,
                path,
            });
        }
        let mut visible: Vec<PathBuf> = tests
            .iter()
            .filter_map(|test| test.path.parent().map(Path::to_owned))
            .collect();
        visible.dedup();
        let facts = Facts {
            name: name.to_owned(),
            tests: of_facts,
            visible: if table.load { visible } else { Vec::new() },
            ..Facts::default()
        };
        Ok(Self {
            facts,
            tests,
            load: table.load,
            loader: table.loader.clone(),
        })
    }
}

/// The files that a glob matches, sorted.
fn matching(suite: &str, base: &Path, glob: &str) -> Result<Vec<PathBuf>, DiscoverError> {
    let pattern = base.join(glob);
    let pattern = pattern.to_string_lossy();
    let matcher = GlobBuilder::new(&pattern).literal_separator(true).build();
    let matcher = matcher.map_err(|source| DiscoverError::Glob {
        suite: suite.to_owned(),
        source,
    })?;
    let matcher = matcher.compile_matcher();
    let fixed: PathBuf = Path::new(&*pattern)
        .components()
        .take_while(|part| {
            let part = part.as_os_str().to_string_lossy();
            !part.contains(['*', '?', '[', '{', '\\'])
        })
        .collect();
    let files = walkdir::WalkDir::new(&fixed)
        .sort_by_file_name()
        .into_iter();
    let files = files.take(MAX_FILES).flatten();
    let found: Vec<PathBuf> = files
        .filter(|entry| matcher.is_match(entry.path()) && entry.path().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect();
    if found.is_empty() {
        return Err(DiscoverError::Nothing {
            suite: suite.to_owned(),
            glob: pattern.into_owned(),
        });
    }
    Ok(found)
}
