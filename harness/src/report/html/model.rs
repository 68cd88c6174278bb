//! What the script of the page reads, as JSON. `model.js` says what becomes of it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::class::Class;
use crate::report::history::History;
use crate::report::kernel_order::version_key;
use crate::run::event::TestResult;

/// A cell holds its class in the low bits: see [`cell`].
const CLASSES: u64 = 16;
/// Longer durations would not be exact numbers in JavaScript.
const MAX_MS: u64 = 1 << 40;

/// The run for the script. Kernels, suites, classes, texts and groups are named by their index.
#[derive(Debug, Serialize)]
pub(super) struct Model {
    pub(super) classes: Vec<&'static str>,
    pub(super) kernels: Vec<Kernel>,
    pub(super) suites: Vec<Suite>,
    pub(super) tests: Vec<Row>,
    /// By `test * kernels + kernel`.
    pub(super) details: BTreeMap<usize, Detail>,
    pub(super) groups: Vec<Group>,
    pub(super) vms: Vec<Vm>,
    pub(super) texts: Vec<String>,
    pub(super) lines: Vec<String>,
    pub(super) again: AgainParts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<Base>,
    /// Length of the run in milliseconds.
    pub(super) ms: u64,
    /// Texts that were shortened.
    pub(super) cut: usize,
    /// What passed tests printed is left out.
    pub(super) without_passes: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Kernel {
    pub(super) name: String,
    pub(super) release: String,
    pub(super) sha256: String,
    pub(super) packages: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Suite {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) version: String,
    pub(super) dialect: String,
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
    /// Milliseconds of the guest's own time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gms: Option<u64>,
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
pub(super) struct AgainParts {
    pub(super) program: String,
    pub(super) kernels: Vec<String>,
    pub(super) suites: Vec<String>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
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

/// A class and a duration in one number, for pages of 100,000 results.
pub(super) fn cell(result: &TestResult) -> i64 {
    let class = Class::ALL.iter().position(|one| *one == Class::of(result));
    let ms = result.duration_ms.min(MAX_MS) * CLASSES;
    i64::try_from(ms).unwrap_or_default()
        + i64::try_from(class.unwrap_or_default()).unwrap_or_default()
}
