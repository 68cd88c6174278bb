//! A command suite: finds the tests of its table.

use std::ffi::OsString;
use std::sync::Arc;

use super::discover::discover;
use super::test::CommandTest;
use crate::config::CommandTable;
use crate::environment::{self, Wanted};
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
        let mut tests = discover(name, table, named, context.root_on_host())?;
        let wanted = Wanted {
            all: false,
            // What is no glob has been refused with the file.
            globs: table
                .env_pass
                .iter()
                .flat_map(|name| environment::glob(name))
                .collect(),
        };
        let passed = environment::pass(std::env::vars_os(), &wanted, !context.has_own_root());
        for test in &mut tests {
            add_missing(&mut test.env, &passed.variables);
        }
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
            note: passed.note(),
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

/// Adds variables that the table does not set itself.
fn add_missing(env: &mut Vec<(String, OsString)>, passed: &[(OsString, OsString)]) {
    for (name, value) in passed {
        let name = name.to_string_lossy();
        if !env.iter().any(|(own, _)| *own == name) {
            env.push((name.into_owned(), value.clone()));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_sets_is_not_overridden() {
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let mut env = vec![("A".to_owned(), OsString::from("own"))];
        add_missing(&mut env, &[pair("A", "host's"), pair("B", "passed")]);
        let expected = [("A", "own"), ("B", "passed")];
        assert_eq!(
            env,
            expected.map(|(name, value)| (name.to_owned(), value.into()))
        );
    }
}
