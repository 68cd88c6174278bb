//! What the script of the page reads, as JSON. `model.js` says what becomes of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::build::Builder;
use super::texts::one_line;
use super::timeline::Timeline;
use crate::report::class::Class;
use crate::report::compare::Comparison;
use crate::report::history::History;
use crate::report::kernel_order::version_key;
use crate::report::reproduce::{self, Again};
use crate::run::event::{SuiteReady, TestResult};

/// A cell holds its class in the low bits: see [`cell`].
const CLASSES: u64 = 16;
/// Longer durations would not be exact numbers in JavaScript.
const MAX_MS: u64 = 1 << 40;

/// The run for the script. Kernels, suites, classes, texts and groups are named by their index.
#[derive(Debug, Serialize)]
pub(super) struct Model {
    classes: Vec<&'static str>,
    kernels: Vec<Kernel>,
    suites: Vec<Suite>,
    tests: Vec<Row>,
    /// By `test * kernels + kernel`.
    details: BTreeMap<usize, Detail>,
    groups: Vec<Group>,
    vms: Vec<Vm>,
    texts: Vec<String>,
    lines: Vec<String>,
    again: AgainParts,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Base>,
    /// Length of the run in milliseconds.
    ms: u64,
    /// Texts that were shortened.
    pub(super) cut: usize,
    /// What passed tests printed is left out.
    pub(super) without_passes: bool,
}

#[derive(Debug, Serialize)]
struct Kernel {
    name: String,
    release: String,
    sha256: String,
    packages: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Suite {
    name: String,
    subject: String,
    version: String,
    dialect: String,
}

/// A test, with its cell for each kernel.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) s: usize,
    pub(super) id: String,
    /// Where it stands.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) at: String,
    /// The test that reported it as a case.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) of: String,
    /// The filter that selects it, as a word of a shell.
    pub(super) w: String,
    /// See [`cell`]; -1 without a verdict.
    pub(super) c: Vec<i64>,
}

/// What is known of a result beside its verdict. The number of a line or text is 0 if the result has none.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Detail {
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) r: usize,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) d: usize,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) o: usize,
    /// What came on the console.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) c: usize,
    /// Attempts before the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) a: Vec<Attempt>,
    /// Kernel reports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) k: Vec<Reported>,
    /// How the VM was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) l: Option<Loss>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) known: Option<KnownWords>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) rules: Vec<String>,
    /// The group, from 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) g: usize,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Attempt {
    pub(super) n: u32,
    pub(super) v: String,
    pub(super) ms: u64,
    pub(super) r: usize,
    pub(super) d: usize,
    pub(super) o: usize,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Reported {
    pub(super) kind: String,
    pub(super) t: usize,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Loss {
    pub(super) r: usize,
    pub(super) qmp: String,
    pub(super) t: usize,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct KnownWords {
    pub(super) result: String,
    pub(super) reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) link: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) v: usize,
    pub(super) m: String,
    pub(super) n: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Vm {
    pub(super) n: u32,
    pub(super) k: usize,
    /// QEMU, its machine and its speed, in words.
    pub(super) what: String,
    pub(super) starts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ready: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ends: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) lost: String,
    /// For each attempt at a test: its row (`-1 - row` if another attempt followed), the time since
    /// the end of the one before, and how long it lasted.
    pub(super) t: Vec<i64>,
}

/// What has changed since another run.
#[derive(Debug, Serialize)]
pub(super) struct Base {
    pub(super) title: String,
    pub(super) classes: Vec<&'static str>,
    /// By `test * kernels + kernel`: the change, the class before (-1 if it had none), and how long
    /// it took. What is the same is left out.
    pub(super) cells: BTreeMap<usize, (usize, i64, u64)>,
}

/// The parts of the line that runs a test again.
#[derive(Debug, Serialize)]
struct AgainParts {
    program: String,
    kernels: Vec<String>,
    suites: Vec<String>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Model {
    /// Of a run as far as it is known.
    pub(super) fn new(
        history: &History,
        timeline: &Timeline,
        baseline: Option<&Comparison>,
    ) -> Self {
        let order = kernel_order(history);
        let mut builder = Builder::new(history, &order);
        builder.rows();
        builder.details();
        let base = baseline.map(|comparison| builder.base(comparison));
        let vms = builder.vms(timeline);
        let again = Again::new(history);
        let (texts, cut) = builder.texts.finish();
        Self {
            classes: Class::ALL.iter().map(|class| class.word()).collect(),
            kernels: order.iter().map(|name| kernel(history, name)).collect(),
            again: AgainParts {
                program: again.program(),
                kernels: order.iter().map(|name| reproduce::word(name)).collect(),
                suites: builder
                    .suites
                    .iter()
                    .map(|suite| again.suite(suite))
                    .collect(),
            },
            suites: builder
                .suites
                .iter()
                .map(|name| suite(history, name))
                .collect(),
            tests: builder.rows,
            details: builder.details,
            groups: builder.groups,
            vms,
            base,
            texts,
            lines: builder.lines.list,
            ms: history.at_ms,
            cut,
            without_passes: !builder.keeps_passes,
        }
    }
}

/// The names of all kernels, by version.
pub(super) fn kernel_order(history: &History) -> Vec<&str> {
    let mut names: Vec<&str> = history
        .tally
        .kernels
        .iter()
        .map(|one| one.kernel.as_str())
        .collect();
    let release = |name: &str| {
        let image = history.images.iter().find(|image| image.kernel == name);
        image
            .map_or(name, |image| image.release.as_str())
            .to_owned()
    };
    // Stable: kernels of one version stay in the order of the run.
    names.sort_by_cached_key(|name| version_key(&release(name)));
    names
}

fn kernel(history: &History, name: &str) -> Kernel {
    let image = history.images.iter().find(|image| image.kernel == name);
    let packages = image.and_then(|image| image.packages.as_ref());
    Kernel {
        name: one_line(name),
        release: image.map_or_else(String::new, |image| one_line(&image.release)),
        sha256: image.map_or_else(String::new, |image| one_line(&image.sha256)),
        packages: packages.map_or_else(Vec::new, |packages| {
            let files = packages.files.iter();
            files
                .map(|file| one_line(&format!("{} {}", file.package, file.version)))
                .collect()
        }),
    }
}

fn suite(history: &History, name: &str) -> Suite {
    let ready = history.suites.iter().find(|ready| ready.suite == name);
    let word = |of: fn(&SuiteReady) -> Option<&String>| {
        ready
            .and_then(of)
            .map_or_else(String::new, |text| one_line(text))
    };
    Suite {
        name: one_line(name),
        subject: ready.map_or_else(String::new, |ready| {
            one_line(history.short_path(&ready.subject))
        }),
        version: word(|ready| ready.version.as_ref()),
        dialect: word(|ready| ready.dialect.as_ref()),
    }
}

/// A class and a duration in one number, for pages of 100,000 results.
pub(super) fn cell(result: &TestResult) -> i64 {
    let class = Class::ALL.iter().position(|one| *one == Class::of(result));
    let ms = result.duration_ms.min(MAX_MS) * CLASSES;
    i64::try_from(ms).unwrap_or_default()
        + i64::try_from(class.unwrap_or_default()).unwrap_or_default()
}
