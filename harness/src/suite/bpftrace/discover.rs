//! A directory of suites: `DIR/runtime`.

use std::collections::HashMap;
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use super::parse::{Parsed, parse};
use super::problem::{Problem, SuiteError, Warning, WarningKind};
use super::{RuntimeTest, Vocabulary};
use crate::arch::Arch;

/// Directories without tests.
const PRUNED: [&str; 3] = ["engine", "scripts", "outputs"];

/// All tests of a directory.
#[derive(Debug, Default)]
pub struct RuntimeSuites {
    /// The tests of this machine, sorted by suite, name, `RUN` and `PROG`.
    pub tests: Vec<RuntimeTest>,
    /// The tests that `ARCH` excludes here, in the same order.
    pub excluded: Vec<RuntimeTest>,
    /// Warnings about the files.
    pub warnings: Vec<Warning>,
}

impl RuntimeSuites {
    /// Reads `tests_dir/runtime`. Every file is a suite, named after the file, except hidden ones
    /// and those below `engine`, `scripts` and `outputs`. Errors in any file are
    /// [`SuiteError::Problems`]: all of them.
    pub fn read(tests_dir: &Path, vocabulary: &Vocabulary, arch: Arch) -> Result<Self, SuiteError> {
        let (found, problems) = Self::inspect(tests_dir, vocabulary, arch)?;
        if problems.is_empty() {
            Ok(found)
        } else {
            Err(SuiteError::Problems(problems))
        }
    }

    /// The same, but returns both the tests without errors and the errors of the others.
    pub fn inspect(
        tests_dir: &Path,
        vocabulary: &Vocabulary,
        arch: Arch,
    ) -> Result<(Self, Vec<Problem>), SuiteError> {
        let runtime = tests_dir.join("runtime");
        if !runtime.is_dir() {
            return Err(SuiteError::NoRuntimeDirectory { path: runtime });
        }
        let mut found = Self::default();
        let mut problems = Vec::new();
        for entry in WalkDir::new(&runtime)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|entry| !is_pruned(entry))
        {
            let entry = entry.map_err(|error| SuiteError::Read {
                path: error.path().unwrap_or(&runtime).to_owned(),
                source: error.into(),
            })?;
            if !is_suite(&entry) {
                continue;
            }
            let bytes = std::fs::read(entry.path()).map_err(|source| SuiteError::Read {
                path: entry.path().to_owned(),
                source,
            })?;
            let Parsed {
                tests,
                problems: more,
                warnings,
            } = parse(entry.path(), &bytes, vocabulary);
            problems.extend(more);
            found.warnings.extend(warnings);
            for test in tests {
                if test.arch.holds(arch, vocabulary.dialect.arch) {
                    found.tests.push(test);
                } else {
                    found.excluded.push(test);
                }
            }
        }
        found.tests.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        found
            .excluded
            .sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        found.warn_of_duplicates();
        Ok((found, problems))
    }

    /// Adds the clones that compile ahead of time, in a suite `aot`.
    #[must_use]
    pub fn with_aot(mut self) -> Self {
        let clones: Vec<_> = self
            .tests
            .iter()
            .filter_map(RuntimeTest::aot_clone)
            .collect();
        self.tests.extend(clones);
        self.tests.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        self
    }

    fn warn_of_duplicates(&mut self) {
        let mut known: HashMap<_, &RuntimeTest> = HashMap::new();
        for test in &self.tests {
            if let Some(first) = known.get(&test.id) {
                self.warnings.push(Warning {
                    path: test.path.clone(),
                    line: test.line,
                    kind: WarningKind::DuplicateId {
                        id: test.id.to_string(),
                        first: format!("{}:{}", first.path.display(), first.line),
                    },
                });
            } else {
                known.insert(&test.id, test);
            }
        }
    }
}

fn is_pruned(entry: &DirEntry) -> bool {
    entry.depth() > 0
        && entry.file_type().is_dir()
        && PRUNED.iter().any(|name| entry.file_name() == *name)
}

fn is_suite(entry: &DirEntry) -> bool {
    let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
    // A link to a file is also a suite, and a dangling one is an error; links to directories are
    // not followed.
    let links = || {
        let target = entry.path();
        entry.path_is_symlink() && (target.is_file() || !target.exists())
    };
    !hidden && (entry.file_type().is_file() || links())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::super::Dialect;
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<RuntimeSuites, SuiteError> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join("runtime").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let vocabulary = Vocabulary::of(Dialect::for_version("0.17").unwrap());
        RuntimeSuites::read(dir.path(), &vocabulary, Arch::X86_64)
    }

    fn block(name: &str) -> String {
        format!("NAME {name}\nRUN {{{{BPFTRACE}}}}\nEXPECT x\nTIMEOUT 1\n")
    }

    fn ids(suites: &RuntimeSuites) -> Vec<String> {
        suites.tests.iter().map(|t| t.id.to_string()).collect()
    }

    #[test]
    fn every_file_is_a_suite_except_hidden_ones_and_the_engines() {
        let suites = read(&[
            ("z", &block("b")),
            ("deep/.hidden/a", &block("a")),
            (".swp", "nonsense\n"),
            ("engine/main.py", "nonsense\n"),
            ("deep/outputs/x", "nonsense\n"),
        ])
        .unwrap();
        assert_eq!(ids(&suites), ["a.a", "z.b"]);
    }

    #[test]
    fn tests_of_other_machines_are_set_aside() {
        let other = format!("{}ARCH s390x\n", block("b"));
        let suites = read(&[("a", &format!("{}\n{other}", block("c")))]).unwrap();
        assert_eq!(ids(&suites), ["a.c"]);
        assert_eq!(suites.excluded[0].id.to_string(), "a.b");
    }

    #[test]
    fn equal_ids_are_both_kept_with_a_warning() {
        let suites = read(&[("a", &format!("{}\n{}", block("b"), block("b")))]).unwrap();
        assert_eq!(ids(&suites), ["a.b", "a.b"]);
        assert!(matches!(
            suites.warnings[0].kind,
            WarningKind::DuplicateId { .. }
        ));
    }

    #[test]
    fn all_errors_of_all_files_are_collected() {
        let error = read(&[
            ("a", "NAME a\nRUM x\n\nNAME b\n"),
            ("b", "NAME c\nRUN d\nEXPECT e\nTIMEOUT soon\n"),
        ])
        .unwrap_err();
        let SuiteError::Problems(problems) = &error else {
            panic!("{error}");
        };
        let places: Vec<_> = problems
            .iter()
            .map(|p| {
                let name = p.path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, p.line)
            })
            .collect();
        let at = |file: &str, line| (file.to_owned(), line);
        assert!(places.contains(&at("a", 2)));
        assert!(places.contains(&at("a", 4)));
        assert!(places.contains(&at("b", 4)));
    }

    #[test]
    fn a_link_to_nothing_is_an_error_and_one_to_a_file_a_suite() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = dir.path().join("runtime");
        fs::create_dir(&runtime).unwrap();
        fs::write(dir.path().join("elsewhere"), block("b")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", runtime.join("link")).unwrap();
        let vocabulary = Vocabulary::of(Dialect::newest());
        let read = || RuntimeSuites::read(dir.path(), &vocabulary, Arch::X86_64);
        assert_eq!(ids(&read().unwrap()), ["link.b"]);
        std::os::unix::fs::symlink("nowhere", runtime.join("broken")).unwrap();
        let error = read().unwrap_err().to_string();
        assert!(error.contains("runtime/broken: "), "{error}");
    }

    #[test]
    fn a_directory_without_runtime_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let vocabulary = Vocabulary::of(Dialect::newest());
        let error = RuntimeSuites::read(dir.path(), &vocabulary, Arch::X86_64).unwrap_err();
        assert!(error.to_string().ends_with("runtime: no such directory"));
    }
}
