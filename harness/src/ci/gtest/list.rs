//! Which tests a GoogleTest program has.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use crate::child::Supervised;
use crate::hint::Hint;
use crate::suite::Location;

/// How long a program may take to list its tests; it runs none of them.
const DEADLINE: Duration = Duration::from_secs(120);

/// A test of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitTest {
    /// As for `--gtest_filter`: `SUITE.NAME`.
    pub name: String,
    /// Where it is defined, if the program knows.
    pub source: Option<Location>,
    /// It is disabled, by a name that begins with `DISABLED_`.
    pub disabled: bool,
}

/// The tests cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The program does not start, or its list cannot be read.
    #[error("cannot list the tests of {}: {source}", program.display())]
    Io {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program did not end in time.
    #[error("{} did not list its tests within {} s", program.display(), DEADLINE.as_secs())]
    Deadline {
        /// The program.
        program: PathBuf,
    },
    /// The program failed.
    #[error("{} could not list its tests: {status}{}", program.display(), said(stderr))]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// The program wrote something else.
    #[error("{} did not list its tests as GoogleTest does: {source}", program.display())]
    Format {
        /// The program.
        program: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

fn said(stderr: &str) -> String {
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(String::new, |line| format!(": {line}"))
}

impl Hint for ListError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                vec!["build it first: kiln ci --only configure --only build".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// The list that GoogleTest writes with `--gtest_list_tests --gtest_output=json:FILE`.
#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    testsuites: Vec<ListedSuite>,
}

#[derive(Deserialize)]
struct ListedSuite {
    name: String,
    #[serde(default)]
    testsuite: Vec<ListedTest>,
}

#[derive(Deserialize)]
struct ListedTest {
    name: String,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    line: Option<usize>,
}

/// Asks `program` for its tests, in its order.
pub async fn list(program: &Path) -> Result<Vec<UnitTest>, ListError> {
    let failed = |source: io::Error| ListError::Io {
        program: program.to_owned(),
        source,
    };
    let dir = tempfile::tempdir().map_err(failed)?;
    let file = dir.path().join("tests.json");
    let mut command = Command::new(program);
    command
        .arg("--gtest_list_tests")
        .arg(format!("--gtest_output=json:{}", file.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let listed = tokio::time::timeout(DEADLINE, Supervised::output(command)).await;
    let output = listed
        .map_err(|_| ListError::Deadline {
            program: program.to_owned(),
        })?
        .map_err(failed)?;
    if !output.status.success() {
        return Err(ListError::Failed {
            program: program.to_owned(),
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let json = std::fs::read(&file).map_err(failed)?;
    parse(&json).map_err(|source| ListError::Format {
        program: program.to_owned(),
        source,
    })
}

fn parse(json: &[u8]) -> Result<Vec<UnitTest>, serde_json::Error> {
    let listed: Listed = serde_json::from_slice(json)?;
    let mut tests = Vec::new();
    for suite in listed.testsuites {
        for test in suite.testsuite {
            let source = test.file.zip(test.line).filter(|(_, line)| *line > 0);
            let disabled = |name: &str| {
                // The name of the class comes after that of the instantiation.
                name.split('/').any(|part| part.starts_with("DISABLED_"))
            };
            tests.push(UnitTest {
                disabled: disabled(&suite.name) || disabled(&test.name),
                name: format!("{}.{}", suite.name, test.name),
                source: source.map(|(file, line)| Location { file, line }),
            });
        }
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_list_of_googletest_is_read_with_its_places() {
        // Of GoogleTest 1.12.
        let json = br#"{ "tests": 3, "name": "AllTests", "testsuites": [
            { "name": "Ast", "tests": 2, "testsuite": [
              { "name": "one", "file": "\/src\/ast.cpp", "line": 6 },
              { "name": "DISABLED_two", "file": "\/src\/ast.cpp", "line": 9 } ] },
            { "name": "All\/DISABLED_Codegen", "tests": 1, "testsuite": [
              { "name": "x\/0", "value_param": "4" } ] } ] }"#;
        let tests = parse(json).unwrap();
        let names: Vec<_> = tests
            .iter()
            .map(|test| (test.name.as_str(), test.disabled))
            .collect();
        assert_eq!(
            names,
            [
                ("Ast.one", false),
                ("Ast.DISABLED_two", true),
                ("All/DISABLED_Codegen.x/0", true)
            ]
        );
        let source = tests[0].source.clone().unwrap();
        assert_eq!((source.file.as_str(), source.line), ("/src/ast.cpp", 6));
        assert_eq!(tests[2].source, None);
        assert!(parse(b"Ast.\n  one\n").is_err());
    }
}
