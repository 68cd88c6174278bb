//! A command suite: finds the tests of its table.

use std::sync::Arc;

use super::discover::discover;
use super::test::CommandTest;
use crate::config::CommandTable;
use crate::suite::{Facts, Location, Refusal, ResolveContext, Test};

/// A suite of commands.
#[derive(Debug)]
pub struct CommandSuite {
    /// What all kinds of suites have.
    pub facts: Facts,
    /// Its tests, in the order of [`Facts::tests`].
    pub tests: Vec<Arc<CommandTest>>,
}

impl CommandSuite {
    /// Finds the tests of the suite `name`. `named` is its location, if that is in a file.
    pub fn resolve(
        name: &str,
        table: &CommandTable,
        named: Option<&Location>,
        context: &ResolveContext<'_>,
    ) -> Result<Self, Refusal> {
        let tests = discover(name, table, named, context.root_on_host())?;
        let mut visible = Vec::new();
        if table.cwd_is_host || !context.has_own_root() {
            visible.push(table.cwd.clone());
        }
        let each = table.each.as_deref();
        if each.is_some_and(|each| !each.starts_with('/')) {
            visible.push(table.base.clone());
        }
        let facts = Facts {
            name: name.to_owned(),
            tests: tests.iter().map(facts).collect(),
            visible,
            ..Facts::default()
        };
        Ok(Self {
            facts,
            tests: tests.into_iter().map(Arc::new).collect(),
        })
    }

    /// The programs that some of its tests, by index, start; each once.
    pub fn programs(&self, tests: &[usize]) -> Vec<String> {
        let mut programs: Vec<String> = Vec::new();
        for &test in tests {
            if let Some(program) = self.tests[test].argv.first()
                && let program = program.to_string_lossy().into_owned()
                && !programs.contains(&program)
            {
                programs.push(program);
            }
        }
        programs
    }
}

fn facts(test: &CommandTest) -> Test {
    Test {
        id: test.id.clone(),
        source: test.source.clone(),
        limit: test.timeout,
        needs_modules: false,
    }
}
