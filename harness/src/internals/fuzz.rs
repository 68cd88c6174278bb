//! For `fuzz/targets`: what each target calls. The targets say what must hold.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::LazyLock;

use crate::arch::Arch;
use crate::ci::gtest;
use crate::config::{Catalogue, Origin};
use crate::kernel::facts;
use crate::kernel::modules::Index;
use crate::kernel::{Lock, archive, image};
use crate::report::{
    Format, History, Levels, ReadRun, Report as _, StatusLevel, Terminal, TerminalStyle,
    compare_junit,
};
use crate::run::cores;
use crate::run::event_log::RunLog;
use crate::run::expectations::{Expectations, Subject};
use crate::run::merge::merge;
use crate::run::tally::Tally;
use crate::suite::bpftrace::{
    Dialect, End, Engine, Observation, Parsed, Rules, RuntimeSuites, Vocabulary, judge, parse,
};
use crate::suite::command::{self, read_go, read_libtest, read_tap};
use crate::suite::{Exit, Filter, Flags, Pattern, TestId};
use crate::vm::dump::exercise;
use crate::vm::kernel_log::{Scanner, reports};

/// `packages`.
pub use crate::kernel::{KernelNames, LockedFile, kernels_of_index};
/// `events`.
pub use crate::run::event::{Event, Record};
/// `judge_json`, `gtest`, `tap`, `printed` and `xml`.
pub use crate::suite::Verdict;
/// `tap`, `printed` and `xml`.
pub use crate::suite::command::{Case, Results, read_xml};
/// `kernel_log`.
pub use crate::vm::kernel_log::KernelProblem;

/// `archive` and `rpm`: unpacks a package or archive, or the layer of a container image; returns
/// whether that succeeds.
pub fn unpack_archive(bytes: &[u8], is_layer: bool, dest: &Path) -> bool {
    if is_layer {
        archive::unpack_layer_from(bytes, "it", dest).is_ok()
    } else {
        archive::unpack_from(bytes, "it", dest).is_ok()
    }
}

/// `kdump`: puts a dump in QEMU's form together from pieces of `piece` bytes, and adds what QEMU
/// leaves out; returns whether each succeeds.
pub fn complete_dump(flattened: &[u8], piece: usize, file: &File) -> (bool, bool) {
    let together = exercise::put_together(flattened, piece, file).is_ok();
    (together, exercise::add_facts(file).is_ok())
}

/// `cores`: the program, the signal and the libraries of a core.
pub fn read_core(bytes: &[u8]) -> Option<(String, u16, BTreeSet<String>)> {
    cores::read(bytes)
}

/// What `catalogue` looks at in a `kernels.toml`.
pub struct ReadCatalogue {
    /// The line of each kernel, from 1.
    pub lines: Vec<usize>,
    /// Names of kernels and suites that cannot be looked up.
    pub lost: Vec<String>,
}

/// `catalogue`: reads a `kernels.toml` and selects from it, or returns the error's text.
pub fn read_catalogue(text: &str, wanted: &str) -> Result<ReadCatalogue, String> {
    let catalogue = Catalogue::parse(text, Origin::File("/project/kernels.toml".into()))
        .map_err(|error| error.to_string())?;
    // Any answer is right.
    let _ = catalogue.select(&[wanted], Path::new("/project"));
    let kernels = catalogue.kernels.iter().map(|kernel| &kernel.name);
    let suites = catalogue.suites.iter().map(|suite| &suite.name);
    let lost = kernels
        .filter(|name| catalogue.kernel(name).is_none())
        .chain(suites.filter(|name| catalogue.suite(name).is_none()));
    Ok(ReadCatalogue {
        lines: catalogue.kernels.iter().map(|kernel| kernel.line).collect(),
        lost: lost.cloned().collect(),
    })
}

/// What `runtime_tests` and `engine` look at in a file of runtime tests.
#[derive(Debug)]
pub struct RuntimeFile {
    /// Whether it may only contain what its dialect has.
    pub is_closed: bool,
    /// The number of tests.
    pub tests: usize,
    /// Tests without a name.
    pub nameless: usize,
    /// Directives and features that its dialect lacks.
    pub newer: usize,
    /// The number of problems.
    pub problems: usize,
    /// The number of warnings.
    pub warnings: usize,
    /// The lines of all of them, from 1.
    pub lines: Vec<usize>,
    /// One problem and one warning as text. All of them would take most of the time.
    pub messages: Vec<String>,
}

impl RuntimeFile {
    fn read(file: &[u8], vocabulary: &Vocabulary, is_closed: bool) -> Self {
        let Parsed {
            tests,
            problems,
            warnings,
        } = parse(Path::new("runtime/file"), file, vocabulary);
        for test in &tests {
            let _ = test.aot_clone();
        }
        let places = || tests.iter().flat_map(|test| &test.places);
        let foreign = places().filter(|(directive, _)| !vocabulary.dialect.has(*directive));
        let newer = tests.iter().map(|test| test.newer.len()).sum::<usize>();
        Self {
            is_closed,
            tests: tests.len(),
            nameless: tests.iter().filter(|test| test.id.name.is_empty()).count(),
            newer: foreign.count() + newer,
            problems: problems.len(),
            warnings: warnings.len(),
            lines: (tests.iter().map(|test| test.line))
                .chain(places().map(|(_, line)| *line))
                .chain(problems.iter().map(|problem| problem.line))
                .chain(warnings.iter().map(|warning| warning.line))
                .collect(),
            messages: (problems.last().map(ToString::to_string).into_iter())
                .chain(warnings.last().map(ToString::to_string))
                .collect(),
        }
    }
}

fn dialects() -> impl Iterator<Item = &'static Dialect> {
    Dialect::names().filter_map(Dialect::for_version)
}

/// `runtime_tests`: reads a file of runtime tests in one of the dialects, with or without newer
/// words.
pub fn read_runtime_tests(choice: u8, file: &[u8]) -> RuntimeFile {
    static VOCABULARIES: LazyLock<Vec<(bool, Vocabulary)>> = LazyLock::new(|| {
        let closed = dialects().map(|dialect| (true, Vocabulary::of(dialect)));
        let open = dialects().map(|dialect| (false, Vocabulary::open(dialect)));
        closed.chain(open).collect()
    });
    let (is_closed, vocabulary) = &VOCABULARIES[usize::from(choice) % VOCABULARIES.len()];
    RuntimeFile::read(file, vocabulary, *is_closed)
}

/// `engine`: reads a file of runtime tests with the vocabulary of these modules of an engine: in
/// the dialect that is closest to it, where it may be the oldest; in the closest one; and in the
/// oldest. `None` if the modules are no engine.
pub fn read_with_engine(modules: &[&str], file: &[u8]) -> Option<[Option<RuntimeFile>; 3]> {
    let engine = Engine::parse(modules)?;
    let oldest = Dialect::oldest();
    let dialects = [
        engine.dialect(Some(oldest)),
        engine.dialect(None),
        Some(oldest),
    ];
    Some(dialects.map(|dialect| {
        let vocabulary = Vocabulary::of_engine(&engine, dialect?);
        Some(RuntimeFile::read(file, &vocabulary, true))
    }))
}

fn observation(output: &[u8]) -> Observation {
    Observation {
        end: Some(End::Exited(Exit::Code(0))),
        output: output.to_vec(),
        ..Observation::default()
    }
}

/// `judge`: judges this output by all tests of a file, in one of the dialects.
pub fn judge_file(dialect: u8, file: &[u8], output: &[u8]) -> Vec<Verdict> {
    let dialects: Vec<_> = dialects().collect();
    let dialect = dialects[usize::from(dialect) % dialects.len()];
    let parsed = parse(Path::new("runtime/file"), file, &Vocabulary::of(dialect));
    let observed = observation(output);
    let rules = || Rules::new(dialect, false);
    let dir = Path::new("/nonexistent");
    (parsed.tests.iter())
        // It would read an absolute path, which may be endless.
        .filter(|test| !test.has_exact_expectation())
        .map(|test| judge(test, rules(), dir, &observed).verdict)
        .collect()
}

/// `judge_json`: judges this output by all tests below a directory, in every dialect that can read
/// them.
pub fn judge_directory(tests_dir: &Path, output: &[u8]) -> Vec<Verdict> {
    let observed = observation(output);
    let judge_in = |dialect| {
        let vocabulary = Vocabulary::of(dialect);
        let suites = RuntimeSuites::read(tests_dir, &vocabulary, Arch::default()).ok()?;
        let rules = || Rules::new(dialect, false);
        let judged = suites.tests.iter();
        let judged = judged.map(|test| judge(test, rules(), tests_dir, &observed).verdict);
        Some(judged.collect::<Vec<_>>())
    };
    dialects().filter_map(judge_in).flatten().collect()
}

/// What `events` looks at in a run.
pub struct Folded {
    /// What the terminal shows.
    pub printed: Vec<u8>,
    /// report.html.
    pub page: String,
    /// Planned tests.
    pub planned: usize,
    /// Tests with a verdict.
    pub finished: usize,
    /// Those with an unexpected verdict.
    pub unexpected: usize,
    /// Planned tests without a verdict.
    pub missing: usize,
    /// Tests with a verdict in the run merged with itself; `None` for a run without a start.
    pub finished_merged: Option<usize>,
}

/// `events`: shows and counts the events of a run, and merges it with itself.
pub fn fold(records: &[Record]) -> Result<Folded, Box<dyn Error>> {
    let mut history = History::default();
    let mut printed = Vec::new();
    let style = TerminalStyle::PLAIN;
    let levels = Levels {
        status: StatusLevel::All,
        at_end: StatusLevel::All,
        group: true,
    };
    let mut terminal = Terminal::new(&mut printed, style, style.lines(), levels, "/results");
    for record in records {
        history.observe(record);
        terminal.record(record, &history)?;
    }
    terminal.finish(&history)?;
    drop(terminal);
    let page = ReadRun::of(records).text(Format::Html)?;
    let has_start =
        matches!(records.first(), Some(first) if matches!(first.event, Event::RunStarted(_)));
    let finished_merged = if has_start {
        let log = |path: &str| RunLog {
            path: path.into(),
            records: records.to_vec(),
            cut_off: false,
        };
        let merged = merge(&[log("a"), log("b")], Vec::new())?;
        let mut tally = Tally::default();
        for record in &merged.records {
            tally.observe(&record.event);
        }
        Some(tally.finished())
    } else {
        None
    };
    let tally = &history.tally;
    let _ = tally.exit_code();
    Ok(Folded {
        printed,
        page,
        planned: tally.planned(),
        finished: tally.finished(),
        unexpected: tally.unexpected(),
        missing: tally.missing(),
        finished_merged,
    })
}

/// `junit`: reads a JUnit file as a run, and compares it with itself; returns whether a test
/// regressed, or the error's message.
pub fn junit_with_itself(file: &[u8]) -> Result<bool, String> {
    compare_junit(file)
}

/// What `expectations` looks at in an `expectations.toml`.
pub struct ReadExpectations {
    /// The lines of entries that are about another test, from 1.
    pub lines: Vec<usize>,
    /// Why the test's result is known, for some versions of bpftrace.
    pub reasons: Vec<String>,
}

/// `expectations`: reads an `expectations.toml` and looks up a test in it, or returns the error's
/// text.
pub fn read_expectations(text: &str) -> Result<ReadExpectations, String> {
    let expectations = Expectations::parse(text, Path::new("expectations.toml"))
        .map_err(|error| error.to_string())?;
    let id = TestId::new("call", "kstack");
    let versions = [None, Some("bpftrace v0.17.0"), Some("0.23")];
    let known = versions.into_iter().filter_map(|bpftrace| {
        expectations.known(Subject {
            id: &id,
            suite: "bpftrace",
            release: "6.1.0-56-cloud-amd64",
            bpftrace,
        })
    });
    Ok(ReadExpectations {
        lines: expectations.about_none_of(&[&id]),
        reasons: known.map(|known| known.reason.clone()).collect(),
    })
}

/// `filter`: whether `-t FILTER` selects a test; `None` if it is not a filter.
pub fn filter_selects(filter: &str, suite: &str, name: &str) -> Option<bool> {
    let filter = Filter::new(&[filter]).ok()?;
    Some(filter.selects(&TestId::new(suite, name)))
}

/// What `kernel_log` looks at in a console.
pub struct ScannedConsole {
    /// The reports, if it is read at once.
    pub whole: Vec<KernelProblem>,
    /// The reports, if it is read in pieces.
    pub in_pieces: Vec<KernelProblem>,
    /// The reports in what follows it.
    pub after: Vec<KernelProblem>,
}

/// `kernel_log`: finds the kernel's reports on a console, whole and in pieces of so many bytes, and
/// in `more`, which follows it.
pub fn scan_console(console: &[u8], piece: usize, more: &[u8]) -> ScannedConsole {
    let mut scanner = Scanner::default();
    for piece in console.chunks(piece) {
        scanner.push(piece);
    }
    scanner.finish();
    let in_pieces = scanner.take();
    scanner.push(more);
    ScannedConsole {
        whole: reports(console),
        in_pieces,
        after: scanner.take(),
    }
}

/// `lock`: reads a `kernels.lock` and writes it again; `None` if it cannot be read.
pub fn rewrite_lock(text: &str) -> Option<String> {
    Some(Lock::parse(text, "kernels.lock").ok()?.to_text())
}

/// `modules`: reads a directory of modules and plans what to load; returns whether it can be read.
pub fn plan_modules(dir: &Path) -> bool {
    let Ok(index) = Index::open(dir) else {
        return false;
    };
    let _ = index.provides("one");
    let _ = index.closure(&["one", "virtiofs"]);
    let _ = index.cannot_boot(&["one".to_owned()]);
    true
}

/// `kernel_config`: reads the configuration of a kernel; returns whether it is one.
pub fn read_kernel_config(text: &str) -> bool {
    facts::is_config(text)
}

/// `pattern`: whether one of Python's regular expressions is found in a text; `None` if it cannot
/// be translated.
pub fn pattern_matches(pattern: &str, multiline: bool, text: &str) -> Option<bool> {
    let pattern = Pattern::new(pattern, Flags { multiline }).ok()?;
    Some(pattern.is_match(text))
}

/// `tap`: reads a command's output as TAP or KTAP.
pub fn read_tap_output(output: &[u8], is_ktap: bool) -> Results {
    let dialect = if is_ktap {
        command::Dialect::Ktap
    } else {
        command::Dialect::Tap
    };
    read_tap(output, dialect)
}

/// `printed`: reads a command's output as that of Rust's or Go's test programs.
pub fn read_printed_output(output: &[u8], is_go: bool) -> Results {
    if is_go {
        read_go(output)
    } else {
        read_libtest(output)
    }
}

/// `gtest`: follows what a GoogleTest program prints; returns the names and verdicts of the tests
/// that ended, and the one that was still running.
pub fn follow_unit_tests(output: &[u8]) -> (Vec<(String, Verdict)>, Option<String>) {
    gtest::follow(output)
}

/// `vmlinux`: unpacks a kernel image and looks for its release; returns whether it was unpacked.
pub fn unpack_image(file: &Path, dest: &Path) -> bool {
    let _ = image::release(file);
    image::unpack(file, dest).is_ok()
}

/// `btf`: reads the BTF of a kernel and of a module, and asks everything of them.
pub fn ask_btf(input: &[u8]) {
    crate::btf::exercise(input);
}

/// `bpf_object`: reads an object and the BTF of a kernel, and checks one against the other; returns
/// whether both could be read.
pub fn check_object(input: &[u8]) -> bool {
    crate::bpf::exercise(input)
}

/// `script`: reads a bpftrace script and checks it against a kernel with these types, or one
/// without; returns what is said of it.
pub fn check_script(script: &str, types: Option<&[u8]>) -> String {
    crate::bpf::exercise_script(script, types)
}
