//! What happens in a run, one fact at a time.
//!
//! A run is its sequence of [`Record`]s: they go to `events.jsonl` as they
//! happen, and every report is a fold over them. Texts that come from a guest
//! are kept as they are here; whoever shows them escapes them.

use serde::{Deserialize, Serialize};

/// Most bytes of one guest text (output, details, console) an event carries.
pub const MAX_TEXT: usize = 64 * 1024;

use crate::suite::bpftrace::decode;
pub use crate::suite::{Source, Verdict};

/// Every verdict, in the order reports show them.
pub const VERDICTS: [Verdict; 6] = [
    Verdict::Pass,
    Verdict::Fail,
    Verdict::Timeout,
    Verdict::Skip,
    Verdict::Lost,
    Verdict::Error,
];

/// Version of the schema of `events.jsonl`: goes up when a field or an event
/// changes its meaning, not when one is added.
pub const SCHEMA: u32 = 1;

/// A kernel of a run and how much it is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelPlan {
    /// Its name in `kernels.toml`.
    pub name: String,
    /// How many tests it is to run; the cases that a command reports are not
    /// known before and not among them.
    pub tests: usize,
    /// The same for each suite, in the order of the run's suites; empty in
    /// files of before this field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<usize>,
}

/// What a test is known to do, from `expectations.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnownResult {
    /// It fails, or runs into its time limit; a pass is unexpected.
    Fail,
    /// It may pass or fail.
    Flaky,
    /// It is not run.
    Skip,
}

/// The packages that a kernel is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelPackages {
    /// Suite of the archive.
    pub suite: String,
    /// Component of the suite.
    pub component: String,
    /// The archive's root, if `kernels.toml` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// Each file, that of the kernel's own package first.
    pub files: Vec<PackageFile>,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFile {
    /// Package name.
    pub package: String,
    /// Version of the package.
    pub version: String,
    /// Path below the archive's root.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// SHA-1, 40 hexadecimal digits: archives of old packages know it by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
}

/// An entry of `expectations.toml` that holds for a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What is known.
    pub result: KnownResult,
    /// Why, for people.
    pub reason: String,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Why a run ends before its last test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// As many tests have failed as the user wants to see fail.
    MaxFail,
    /// The time for the whole run is up.
    GlobalTimeout,
}

/// How one attempt at a test ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// Name of the kernel.
    pub kernel: String,
    /// The VM.
    pub vm: u32,
    /// Name of the suite in `kernels.toml`.
    pub suite: String,
    /// The test's id: `suite.name`.
    pub id: String,
    /// The test that reported this as one of its cases, by its id: a command
    /// that speaks TAP or writes a JUnit file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_of: Option<String>,
    /// Where it stands, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Counts the attempts at this test on this kernel, from 1.
    pub attempt: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one line; `None` where a pass needs no reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Some of its attempts passed and some did not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky: bool,
    /// What is known of this test, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
    /// Wall time on the host, in milliseconds.
    pub duration_ms: u64,
    /// What the test printed, bounded by [`bounded_text`]; untrusted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// For a reader: command, expectations against findings; untrusted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// Names of the differences from upstream's engine that had a part in the
    /// verdict (docs/verdicts.md).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl TestResult {
    /// Whether the verdict is one that needs nobody's attention: as the test
    /// itself has it, or as it is known to end.
    pub fn is_expected(&self) -> bool {
        let good = matches!(self.verdict, Verdict::Pass | Verdict::Skip);
        let bad = matches!(self.verdict, Verdict::Fail | Verdict::Timeout);
        match self.known.as_ref().map(|known| known.result) {
            None => good,
            Some(KnownResult::Fail) => bad || self.verdict == Verdict::Skip,
            Some(KnownResult::Flaky) => good || bad,
            Some(KnownResult::Skip) => self.verdict == Verdict::Skip,
        }
    }
}

/// One fact about a run.
///
/// In JSON the field `event` names the fact, in snake case, beside its fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The plan stands; nothing has booted yet. Always the first.
    RunStarted {
        /// [`SCHEMA`].
        schema: u32,
        /// Version of kiln.
        version: String,
        /// When, as RFC 3339 in UTC; offsets of records count from here.
        started_at: String,
        /// kiln's command line.
        #[serde(default)]
        command: Vec<String>,
        /// The same without what selects kernels and tests, and without what
        /// only says how often and where to run: with a kernel and a test
        /// added, it runs that one again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        again: Vec<String>,
        /// The working directory; relative paths are relative to it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        cwd: String,
        /// The kernels, in report order.
        kernels: Vec<KernelPlan>,
        /// The suites, by their names in `kernels.toml`.
        suites: Vec<String>,
        /// The part of the tests that this run has, as `--shard` names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shard: Option<String>,
    },
    /// A kernel is ready to boot.
    KernelReady {
        /// Name of the kernel.
        kernel: String,
        /// Its release, from its image.
        release: String,
        /// SHA-256 of the image that boots, 64 hexadecimal digits.
        sha256: String,
        /// The packages it is made of, if it is of packages: with them the same
        /// bytes can be had again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        packages: Option<KernelPackages>,
    },
    /// A kernel could not be provided: its tests are not run. Schema 1 has it
    /// since kernels are provided while tests run.
    KernelFailed {
        /// Name of the kernel.
        kernel: String,
        /// Why: the first line says what failed.
        reason: String,
        /// What to do about it, a line each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hints: Vec<String>,
    },
    /// What a suite tests, and how it is read.
    SuiteReady {
        /// Name of the suite.
        suite: String,
        /// The program under test, in the guest.
        subject: String,
        /// Its version, where it can be asked on the host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// Language of the tests, for bpftrace's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dialect: Option<String>,
    },
    /// A VM is being started.
    VmStarting {
        /// Name of its kernel.
        kernel: String,
        /// Counts the VMs of the run, from 0.
        vm: u32,
    },
    /// A VM is up: its guest said hello.
    VmStarted {
        /// Name of its kernel.
        kernel: String,
        /// The release the guest reports, as `uname -r`.
        release: String,
        /// `kvm` or `tcg`.
        accelerator: String,
        /// Version of QEMU.
        qemu: String,
        /// The commands of runtime tests run with `ADDR_NO_RANDOMIZE`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        addr_no_randomize: bool,
        /// From starting QEMU to hello, in milliseconds.
        boot_ms: u64,
        /// Counts the VMs of the run, from 0.
        vm: u32,
    },
    /// How much slower than the reference a VM is.
    SpeedMeasured {
        /// Name of its kernel.
        kernel: String,
        /// The VM.
        vm: u32,
        /// Time limits are multiplied by this.
        factor: f64,
    },
    /// A test begins.
    TestStarted {
        /// Name of the kernel.
        kernel: String,
        /// The VM.
        vm: u32,
        /// Name of the suite.
        suite: String,
        /// `suite.name`.
        id: String,
        /// Counts the attempts at this test on this kernel, from 1.
        attempt: u32,
    },
    /// A test has run for most of its time limits, or for `--slow-timeout`; at
    /// most once an attempt.
    TestSlow {
        /// Name of the kernel.
        kernel: String,
        /// The VM.
        vm: u32,
        /// `suite.name`.
        id: String,
        /// How long it has run, in milliseconds.
        elapsed_ms: u64,
    },
    /// An attempt ended that another one follows: no verdict yet.
    AttemptFinished(TestResult),
    /// A test, or a case that a test reported, has its verdict.
    TestFinished(TestResult),
    /// The kernel said on the console that something is wrong with it.
    KernelReport {
        /// Name of the kernel.
        kernel: String,
        /// The VM.
        vm: u32,
        /// What: `oops`, `warning`, `rcu stall`, `lockdep`, `kasan`, …
        kind: String,
        /// The test that ran then, `suite.name`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<String>,
        /// No test ran then, and the run fails by it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        fails: bool,
        /// Why `kernels.toml` allows it: nothing fails by it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowed: Option<String>,
        /// Why `kernels.toml` denies the line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        denied: Option<String>,
        /// Its lines on the console, bounded by [`bounded_text`]; untrusted.
        text: String,
    },
    /// A VM has done its work and is gone.
    VmStopped {
        /// Name of its kernel.
        kernel: String,
        /// The VM.
        vm: u32,
    },
    /// A VM died or missed a deadline.
    VmLost {
        /// Name of its kernel.
        kernel: String,
        /// The VM.
        vm: u32,
        /// What happened, in one line.
        reason: String,
        /// The test that ran then, `suite.name`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<String>,
        /// The last lines of the console, bounded by [`bounded_text`]; untrusted.
        console: String,
        /// QMP's run state, or why there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        qmp_status: Option<String>,
    },
    /// The run ends before its last test, as it was asked to; tests that have
    /// no verdict by now get none.
    RunStopped {
        /// Why.
        why: StopReason,
        /// Why, in one line for people.
        message: String,
    },
    /// Something the user should know, and the run goes on.
    Warning {
        /// Name of the kernel it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kernel: Option<String>,
        /// What, in one line.
        message: String,
    },
    /// The run is over.
    RunFinished {
        /// kiln's exit code, of [`crate::exit_code`].
        exit_code: u8,
        /// Wall time of the run, in milliseconds.
        duration_ms: u64,
    },
    /// What only a later kiln knows; readers pass over it, and nobody writes it.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// An event and when it happened: one line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since the run started, by a clock that only goes forward.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Record {
    /// Reads one line of `events.jsonl`.
    ///
    /// Goes through [`serde_json::Value`]: with `arbitrary_precision`, numbers
    /// inside flattened or tagged types cannot be read from text directly
    /// (serde_json issue 505).
    pub fn from_json(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_value(serde_json::from_slice(line)?)
    }

    /// One line for `events.jsonl`, with its newline.
    pub fn to_json_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Guest bytes as text of at most about [`MAX_TEXT`] bytes.
///
/// Bytes that are not UTF-8 become `\xNN`. Of a long text the beginning and the
/// end stay, for errors stand at either; a line between says what is missing.
pub fn bounded_text(bytes: &[u8]) -> String {
    if bytes.len() <= MAX_TEXT {
        return decode(bytes);
    }
    let half = MAX_TEXT / 2;
    let (head, rest) = bytes.split_at(half);
    let (middle, tail) = rest.split_at(rest.len() - half);
    format!(
        "{}\n[{} bytes left out]\n{}",
        decode(head),
        middle.len(),
        decode(tail)
    )
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
