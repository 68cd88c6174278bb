//! A suite of runtime tests: resolves its table and the user's options into tests, bpftrace and
//! dialect.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::options::OPTIONS;
use super::under_test::UnderTest;
use super::{
    Dialect, EngineBeside, RuntimeSuites, RuntimeTest, SuiteError, UNLIMITED, Vocabulary, choose,
};
use crate::arch::Arch;
use crate::config::BpftraceTable;
use crate::suite::{Facts, Location, Oddity, Refusal, ResolveContext, Test};

/// A suite of bpftrace's runtime tests.
#[derive(Debug)]
pub struct RuntimeSuite {
    /// What all kinds of suites have.
    pub facts: Facts,
    /// Its tests, in the order of [`Facts::tests`].
    pub tests: Vec<Arc<RuntimeTest>>,
    /// The dialect, and what the tests may contain.
    pub vocabulary: Vocabulary,
    /// The directory that holds `runtime/`, on the host and in the guest.
    pub dir: PathBuf,
    /// The bpftrace under test, in the guest.
    pub bpftrace: PathBuf,
}

impl RuntimeSuite {
    /// Fills in defaults for what the table of the suite `name` and the user do not set, and reads
    /// its tests.
    pub fn resolve(
        name: &str,
        table: &BpftraceTable,
        context: &ResolveContext<'_>,
    ) -> Result<Self, Refusal> {
        let given = context.runtime.tests.as_deref();
        let tests = given.unwrap_or(&table.tests);
        let dir = tests.canonicalize().map_err(|source| SuiteError::NoTests {
            suite: name.to_owned(),
            dir: tests.to_owned(),
            source,
        })?;
        let UnderTest {
            path: bpftrace,
            version,
            visible: of_program,
        } = UnderTest::find(table.bpftrace.as_deref(), Some(&dir), context)?;
        let choice = choose(
            context.runtime.dialect,
            &EngineBeside::read(&dir),
            version.as_deref(),
        );
        let dialect = choice.vocabulary.dialect;
        let note = choice.note.map(|note| format!("suite {name}: {note}"));
        let mut read = RuntimeSuites::read(&dir, &choice.vocabulary, Arch::default())
            // The dialect may be the mistake.
            .map_err(|error| Refusal::from(error).with_hint(note.clone()))?;
        if context.runtime.aot {
            read = read.with_aot();
        }
        let mut visible = vec![dir.clone()];
        visible.extend(of_program);
        let facts = Facts {
            name: name.to_owned(),
            tests: read.tests.iter().map(|test| facts(test, dialect)).collect(),
            elsewhere: read.excluded.into_iter().map(|test| test.id).collect(),
            oddities: read
                .warnings
                .iter()
                .map(|warning| Oddity {
                    file: warning.path.to_string_lossy().into_owned(),
                    text: warning.to_string(),
                })
                .collect(),
            note,
            visible,
            version: Some(version.unwrap_or_else(|| dialect.name.to_owned())),
            dialect: Some(dialect.name.to_owned()),
            options: &OPTIONS,
        };
        Ok(Self {
            facts,
            tests: read.tests.into_iter().map(Arc::new).collect(),
            vocabulary: choice.vocabulary,
            dir,
            bpftrace,
        })
    }

    /// Checks the patterns of some of its tests, by index, which reading the suite does not do.
    pub fn check_patterns(&self, tests: &[usize]) -> Result<(), SuiteError> {
        let problems: Vec<_> = tests
            .iter()
            .flat_map(|&test| self.tests[test].pattern_problems())
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(SuiteError::Problems(problems))
        }
    }
}

fn facts(test: &RuntimeTest, dialect: &Dialect) -> Test {
    let limit: Duration = test.timeout.unwrap_or(UNLIMITED);
    Test {
        id: test.id.clone(),
        source: Some(Location {
            file: test.path.to_string_lossy().into_owned(),
            line: test.line,
        }),
        limit: dialect.attach_limit + limit,
        needs_modules: test
            .requires
            .iter()
            .any(|command| command.contains("lsmod")),
    }
}
