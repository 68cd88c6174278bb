//! Finds the tests of a command suite.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use thiserror::Error;

use super::CommandTest;
use crate::config::{CommandTable, ResultsFormat};
use crate::hint::Hint;
use crate::suite::decode;
use crate::suite::glob::{MAX_FILES, fixed};
use crate::suite::{Location, TestId};

/// Name of a suite's only test.
const ONLY: &str = "command";
/// Where results go in the guest if the suite does not say.
const RESULTS: &str = "/tmp/kiln-results.xml";
/// Why the tests of a suite cannot be found.
#[derive(Debug, Error)]
pub enum DiscoverError {
    /// The glob is invalid.
    #[error("suite {suite}: each: {source}")]
    Glob {
        /// The suite.
        suite: String,
        /// Why.
        source: globset::Error,
    },
    /// A directory cannot be read.
    #[error("suite {suite}: cannot look for files that match {glob}: {source}")]
    Walk {
        /// The suite.
        suite: String,
        /// The glob.
        glob: String,
        /// Why.
        source: walkdir::Error,
    },
    /// No file matches.
    #[error("suite {suite}: no file matches {glob}")]
    Nothing {
        /// The suite.
        suite: String,
        /// The glob, absolute on the host.
        glob: String,
    },
    /// Too many files to look at.
    #[error("suite {suite}: more than {MAX_FILES} files are below {}", dir.display())]
    TooMany {
        /// The suite.
        suite: String,
        /// The directory.
        dir: PathBuf,
    },
}

impl Hint for DiscoverError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Nothing { .. } => vec![
                "a relative glob starts at the directory of kernels.toml, an absolute one at the guest's root"
                    .to_owned(),
            ],
            Self::TooMany { .. } => {
                vec!["begin the glob with a directory that contains fewer files".to_owned()]
            }
            Self::Glob { .. } | Self::Walk { .. } => Vec::new(),
        }
    }
}

/// The tests of the suite `name`: one, or one for each file. `root` is the path of the guest's root
/// on the host, and `named` says where the suite is defined.
pub fn discover(
    name: &str,
    runner: &CommandTable,
    named: Option<&Location>,
    root: &Path,
) -> Result<Vec<CommandTest>, DiscoverError> {
    let Some(glob) = &runner.each else {
        return Ok(vec![test(
            name,
            ONLY,
            runner,
            OsStr::new(""),
            named.cloned(),
        )]);
    };
    let in_root = Path::new(glob).is_absolute();
    let base = if in_root { root } else { &runner.base };
    let pattern = glob.trim_start_matches('/');
    let matcher = GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|source| DiscoverError::Glob {
            suite: name.to_owned(),
            source,
        })?
        .compile_matcher();
    // Not the file itself: its test would have an empty name.
    let dirs = pattern.rsplit_once('/').map_or("", |(dirs, _)| dirs);
    let prefix = fixed(Path::new(dirs));
    let dir = base.join(&prefix);
    let mut found = Vec::new();
    for (count, entry) in walkdir::WalkDir::new(&dir)
        .sort_by_file_name()
        .into_iter()
        .enumerate()
    {
        let entry = match entry {
            Ok(entry) => entry,
            // What cannot be read below it might not match anyway.
            Err(error) if error.depth() > 0 => continue,
            Err(source) => {
                return Err(DiscoverError::Walk {
                    suite: name.to_owned(),
                    glob: base.join(pattern).display().to_string(),
                    source,
                });
            }
        };
        if count > MAX_FILES {
            return Err(DiscoverError::TooMany {
                suite: name.to_owned(),
                dir,
            });
        }
        let Ok(relative) = entry.path().strip_prefix(base) else {
            continue;
        };
        if !entry.path().is_file() || !matcher.is_match(relative) {
            continue;
        }
        let guest = if in_root {
            Path::new("/").join(relative)
        } else {
            entry.path().to_owned()
        };
        let short = relative.strip_prefix(&prefix).unwrap_or(relative);
        found.push(test(
            name,
            &shown(short),
            runner,
            guest.as_os_str(),
            Some(Location {
                file: decode(entry.path().as_os_str().as_bytes()),
                line: 1,
            }),
        ));
    }
    if found.is_empty() {
        return Err(DiscoverError::Nothing {
            suite: name.to_owned(),
            glob: base.join(pattern).display().to_string(),
        });
    }
    Ok(found)
}

/// The name of a test for a file: its path, with each invalid byte as `\xNN` if it is not UTF-8.
/// Then, and in names with `\x`, a backslash is written as `\\`, so that no two files have the same
/// name.
fn shown(path: &Path) -> String {
    match path.to_str() {
        Some(name) if !name.contains("\\x") => name.to_owned(),
        _ => {
            let escaped: Vec<u8> = path
                .as_os_str()
                .as_bytes()
                .iter()
                .flat_map(|&byte| std::iter::repeat_n(byte, if byte == b'\\' { 2 } else { 1 }))
                .collect();
            decode(&escaped)
        }
    }
}

fn test(
    suite: &str,
    name: &str,
    runner: &CommandTable,
    file: &OsStr,
    source: Option<Location>,
) -> CommandTest {
    let mut env = runner.env.clone();
    let needs_file = runner.results.is_xml() || runner.results_file.is_some();
    let results_file = runner
        .results_file
        .clone()
        .or_else(|| needs_file.then(|| RESULTS.to_owned()));
    let path = results_file.as_deref().unwrap_or(RESULTS);
    if runner.results == ResultsFormat::Gtest {
        // googletest/docs/advanced.md, "Generating an XML Report".
        env.entry("GTEST_OUTPUT".to_owned())
            .or_insert_with(|| format!("xml:{path}"));
    }
    let filled = |text: &str| fill(text, file, path);
    let uses_results = runner
        .command
        .iter()
        .chain(runner.env.values())
        .any(|word| word.contains("{results}"));
    CommandTest {
        id: TestId::new(suite, name),
        argv: runner.command.iter().map(|word| filled(word)).collect(),
        cwd: runner.cwd.to_string_lossy().into_owned(),
        env: env
            .iter()
            .map(|(key, value)| (key.clone(), filled(value)))
            .collect(),
        results: runner.results,
        results_file: results_file.or_else(|| {
            (uses_results && runner.results != ResultsFormat::Exit).then(|| RESULTS.to_owned())
        }),
        timeout: runner.timeout,
        skip_code: runner.skip_code,
        only: runner.each.is_none(),
        source,
    }
}

/// Replaces `{file}` and `{results}`; does not look for placeholders in a file's name.
fn fill(text: &str, file: &OsStr, results: &str) -> OsString {
    let mut filled = OsString::new();
    for (index, part) in text.split("{file}").enumerate() {
        if index > 0 {
            filled.push(file);
        }
        filled.push(part.replace("{results}", results));
    }
    filled
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Catalogue, Origin, RunnerTable};

    fn runner(dir: &Path, keys: &str) -> CommandTable {
        let text = format!("[suites.s]\nrunner = \"command\"\n{keys}\n");
        let origin = Origin::File(dir.join("kernels.toml"));
        let catalogue = Catalogue::parse(&text, origin).unwrap();
        match &catalogue.suites[0].runner {
            RunnerTable::Command(table) => table.clone(),
            other => panic!("not a command: {other:?}"),
        }
    }

    #[test]
    fn each_file_is_a_test_named_by_its_path_below_the_glob_s_directory() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "self/b.bt",
            "self/a {results}.bt",
            "self/sub/c.bt",
            "self/d.txt",
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let keys = "command = [\"bpftrace\", \"--test\", \"{file}\"]\neach = ";
        let names = |each: &str, root: &Path| -> Vec<String> {
            let runner = runner(dir.path(), &format!("{keys}\"{each}\""));
            let tests = discover("s", &runner, None, root).unwrap();
            for test in &tests {
                let source = test.source.as_ref().unwrap();
                assert!(Path::new(&source.file).is_file(), "{source:?}");
            }
            let names = tests
                .iter()
                .map(|test| format!("{} {}", test.id, test.argv[2].display()));
            names.collect()
        };
        let path = dir.path().display();
        assert_eq!(
            names("self/*.bt", Path::new("/nowhere")),
            [
                format!("s.a {{results}}.bt {path}/self/a {{results}}.bt"),
                format!("s.b.bt {path}/self/b.bt"),
            ]
        );
        assert_eq!(names("self/**/*.bt", Path::new("/")).len(), 3);
        assert_eq!(names("/self/b*", dir.path()), ["s.b.bt /self/b.bt"]);
        let nothing = runner(dir.path(), &format!("{keys}\"self/*.no\""));
        let error = discover("s", &nothing, None, Path::new("/")).unwrap_err();
        assert!(error.to_string().contains("no file matches"), "{error}");
    }

    #[test]
    fn names_that_are_not_utf_8_are_files_too_and_no_two_share_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let files: [&[u8]; 5] = [
            b"caf\xe9.sh",
            b"caf\xe8.sh",
            b"caf\\xe9.sh",
            b"back\\slash.sh",
            b"\xff\\.sh",
        ];
        std::fs::create_dir(dir.path().join("files")).unwrap();
        for name in files {
            let path = dir.path().join("files").join(OsStr::from_bytes(name));
            std::fs::write(path, "").unwrap();
        }
        let keys =
            "command = [\"sh\", \"x={file}\"]\neach = \"files/*.sh\"\nenv = { F = \"{file}\" }";
        let tests = discover("s", &runner(dir.path(), keys), None, dir.path()).unwrap();
        let mut found: Vec<(String, &[u8])> = Vec::new();
        for test in &tests {
            let argument = test.argv[1].as_bytes();
            let name = argument.rsplit(|&byte| byte == b'/').next().unwrap();
            assert_eq!(test.env[0].1.as_bytes(), &argument[2..]);
            found.push((test.id.to_string(), name));
        }
        let expected: [(&str, &[u8]); 5] = [
            ("s.back\\slash.sh", b"back\\slash.sh"),
            ("s.caf\\\\xe9.sh", b"caf\\xe9.sh"),
            ("s.caf\\xe8.sh", b"caf\xe8.sh"),
            ("s.caf\\xe9.sh", b"caf\xe9.sh"),
            ("s.\\xff\\\\.sh", b"\xff\\.sh"),
        ];
        let expected = expected.map(|(id, name)| (id.to_owned(), name));
        assert_eq!(found, expected);
    }

    #[test]
    fn googletest_gets_its_output_path_and_results_is_replaced() {
        let dir = Path::new("/etc/lab");
        let named = Location {
            file: "/etc/lab/kernels.toml".into(),
            line: 7,
        };
        let tests = discover(
            "s",
            &runner(dir, "command = [\"t\"]\nresults = \"gtest\""),
            Some(&named),
            dir,
        );
        let test = &tests.unwrap()[0];
        assert_eq!(test.source, Some(named));
        assert_eq!(
            test.env,
            [("GTEST_OUTPUT".to_owned(), format!("xml:{RESULTS}").into())]
        );
        assert_eq!(
            (test.id.to_string(), test.cwd.as_str()),
            ("s.command".into(), "/etc/lab")
        );
        let keys = "command = [\"t\", \"--junitxml={results}\"]\nresults = \"junit\"";
        let tests = discover("s", &runner(dir, keys), None, dir).unwrap();
        assert_eq!(
            tests[0].argv[1],
            OsString::from(format!("--junitxml={RESULTS}"))
        );
        assert_eq!(tests[0].results_file.as_deref(), Some(RESULTS));
        let keys = "command = [\"t\"]\nresults = \"tap\"\nenv = { OUT = \"{results}\" }";
        let tests = discover("s", &runner(dir, keys), None, dir).unwrap();
        assert_eq!(tests[0].results_file.as_deref(), Some(RESULTS));
    }
}
