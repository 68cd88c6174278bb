//! The differences between versions of bpftrace's runtime test engine.
//!
//! One table: each row is the previous row with its differences. The facts come from
//! `tests/runtime/engine/{parser,runner}.py` at the tags `v0.N.0`; the engine does not change
//! inside a minor series.

use std::time::Duration;

use super::Directive;
use super::feature::{self, Feature};
use super::version::{numbers, version_in};

/// How to extract a directive's value from its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineValue {
    /// Words joined again with single blanks: runs of white space collapse.
    Rejoined,
    /// The rest of the line after the directive, trimmed at both ends.
    Trimmed,
}

/// What happens if a directive occurs twice in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The last one counts.
    Last,
    /// All count.
    Accumulate,
}

/// What a plain `EXPECT` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectMeaning {
    /// A regular expression, searched for in the output.
    Regex,
    /// A text that fills whole lines.
    Literal,
}

/// How `EXPECT_JSON` reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonRule {
    /// The whole output is one document.
    Whole,
    /// The output is one line; a `.ndjson` file is compared line by line.
    Lines,
}

/// Whether the exit status counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCheck {
    /// It is ignored.
    None,
    /// Must be zero.
    Zero,
    /// Must be `RETURN_CODE`, or zero if the test has none.
    ReturnCode,
}

/// What `WILL_FAIL` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WillFail {
    /// The exit status is ignored.
    Unchecked,
    /// The exit status must not be zero.
    NonZero,
}

/// Which entries `ARCH` accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchSyntax {
    /// Machine names.
    Machine,
    /// Also `le` and `be`, and `!` before an entry to exclude.
    EndianAndNegation,
}

/// Where bpftrace prints that its probes are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerStream {
    /// On standard output: a pipe or redirection in `RUN` swallows it.
    Stdout,
    /// On standard error.
    Stderr,
}

/// How `BEFORE` is started, and when it counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeforeStyle {
    /// By the shell; ready when any process of that name exists.
    Shell,
    /// As arguments split at white space; ready when our child has that name.
    Argv,
}

/// How to make bpftrace verify its LLVM IR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Not at all.
    No,
    /// `BPFTRACE_VERIFY_LLVM_IR=1` in the environment.
    Environment,
    /// `--verify-llvm-ir` on the command line.
    Flag,
}

/// The environment of `REQUIRES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellEnv {
    /// Only `PATH`, with bpftrace's directory in front.
    PathOnly,
    /// The engine's own.
    Engine,
}

/// How the engine names its executables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executable {
    /// `{{BPFTRACE}}` and `{{BPFTRACE_AOTRT}}`; compiled programs run by `bpftrace-aotrt`.
    WithAotRuntime,
    /// `{{BPFTRACE}}` alone; compiled programs run by themselves.
    Alone,
}

/// How to end a command at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitEnd {
    /// SIGKILL at once.
    Kill,
    /// SIGTERM, and an endless wait.
    Term,
    /// SIGTERM, and after a second SIGKILL.
    TermThenKill,
}

/// Which output upstream's engine loses at a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitLoss {
    /// Everything since the marker: the engine reads it in one go, and aborts that read.
    SinceMarker,
    /// The unfinished line.
    PartialLine,
}

/// When the message that a program cannot be compiled ahead of time causes a skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AotCheck {
    /// Before the exit status and the expectations are checked.
    First,
    /// Only when an expectation failed.
    OnMismatch,
}

/// One version of the test language and of its engine.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    /// `0.17`, or `head`.
    pub name: &'static str,
    /// The directives that exist.
    pub directives: &'static [Directive],
    /// The directives whose value may continue on indented lines.
    pub continued: &'static [Directive],
    /// How to extract a value from its line.
    pub value: LineValue,
    /// Repeated `REQUIRES`.
    pub requires: Repeat,
    /// Repeated `BEFORE`.
    pub before: Repeat,
    /// Repeated expectations.
    pub expectations: Repeat,
    /// What `EXPECT` means.
    pub expect: ExpectMeaning,
    /// The default of `TIMEOUT`; `None` makes it required.
    pub default_timeout: Option<Duration>,
    /// The meaning of `TIMEOUT 0`; `None` is no limit.
    pub zero_timeout: Option<Duration>,
    /// A non-zero `RETURN_CODE` beside `WILL_FAIL` is an error.
    pub will_fail_excludes_return_code: bool,
    /// What `ARCH` may hold.
    pub arch: ArchSyntax,
    /// The names for `REQUIRES_FEATURE`, and what `bpftrace --info` prints for them.
    pub features: &'static [Feature],
    /// The line that says that all probes are attached.
    pub marker: &'static str,
    /// Where it is printed.
    pub marker_stream: MarkerStream,
    /// How long attaching may take.
    pub attach_limit: Duration,
    /// How `BEFORE` is started.
    pub before_style: BeforeStyle,
    /// `{{BEFORE_PID}}` with more than one `BEFORE` is an error.
    pub before_pid_wants_one_before: bool,
    /// How to make bpftrace verify its LLVM IR.
    pub verify: Verify,
    /// bpftrace gets `PATH`.
    pub path_for_bpftrace: bool,
    /// The environment of `REQUIRES`.
    pub requires_env: ShellEnv,
    /// How executables are named.
    pub executable: Executable,
    /// Quotes in `PROG` are escaped for the shell.
    pub quote_prog: bool,
    /// Whether the exit status counts.
    pub exit_check: ExitCheck,
    /// What `WILL_FAIL` means.
    pub will_fail: WillFail,
    /// `^` and `$` match at every line even after a time limit.
    pub multiline_after_timeout: bool,
    /// How to end a command at its limit.
    pub limit_end: LimitEnd,
    /// What the engine loses at a limit.
    pub limit_loss: LimitLoss,
    /// How `EXPECT_JSON` reads the output.
    pub json: JsonRule,
    /// When a program that cannot be compiled ahead of time causes a skip.
    pub aot_check: AotCheck,
    /// A run fails if it has timeouts only.
    pub timeouts_fail_run: bool,
}

use Directive as D;

const FIVE_SECONDS: Option<Duration> = Some(Duration::from_secs(5));

const V0_14: Dialect = Dialect {
    name: "0.14",
    directives: D::until(D::Arch),
    continued: &[],
    value: LineValue::Rejoined,
    requires: Repeat::Last,
    before: Repeat::Last,
    expectations: Repeat::Last,
    expect: ExpectMeaning::Regex,
    default_timeout: None,
    zero_timeout: FIVE_SECONDS,
    will_fail_excludes_return_code: false,
    arch: ArchSyntax::Machine,
    features: feature::V0_14,
    marker: "__BPFTRACE_NOTIFY_PROBES_ATTACHED",
    marker_stream: MarkerStream::Stderr,
    attach_limit: Duration::from_secs(5),
    before_style: BeforeStyle::Shell,
    before_pid_wants_one_before: false,
    verify: Verify::No,
    path_for_bpftrace: false,
    requires_env: ShellEnv::PathOnly,
    executable: Executable::WithAotRuntime,
    quote_prog: false,
    exit_check: ExitCheck::None,
    will_fail: WillFail::Unchecked,
    multiline_after_timeout: false,
    limit_end: LimitEnd::Kill,
    limit_loss: LimitLoss::SinceMarker,
    json: JsonRule::Whole,
    aot_check: AotCheck::OnMismatch,
    timeouts_fail_run: true,
};

const V0_15: Dialect = Dialect {
    name: "0.15",
    directives: D::until(D::WillFail),
    features: feature::V0_15,
    exit_check: ExitCheck::Zero,
    limit_end: LimitEnd::Term,
    ..V0_14
};

const V0_16: Dialect = Dialect {
    name: "0.16",
    requires: Repeat::Accumulate,
    features: feature::V0_16,
    verify: Verify::Environment,
    ..V0_15
};

const V0_17: Dialect = Dialect {
    name: "0.17",
    features: feature::V0_17,
    ..V0_16
};

const V0_18: Dialect = Dialect {
    name: "0.18",
    features: feature::V0_18,
    ..V0_17
};

const V0_19: Dialect = Dialect {
    name: "0.19",
    directives: D::until(D::Cleanup),
    before: Repeat::Accumulate,
    features: feature::V0_19,
    before_style: BeforeStyle::Argv,
    before_pid_wants_one_before: true,
    path_for_bpftrace: true,
    requires_env: ShellEnv::Engine,
    limit_loss: LimitLoss::PartialLine,
    ..V0_18
};

const V0_20: Dialect = Dialect {
    name: "0.20",
    directives: D::until(D::NewPidns),
    features: feature::V0_20,
    attach_limit: Duration::from_secs(10),
    multiline_after_timeout: true,
    timeouts_fail_run: false,
    ..V0_19
};

const V0_21: Dialect = Dialect {
    name: "0.21",
    directives: D::until(D::SkipIfEnvHas),
    continued: &[D::Prog, D::Expect],
    expectations: Repeat::Accumulate,
    expect: ExpectMeaning::Literal,
    features: feature::V0_21,
    executable: Executable::Alone,
    quote_prog: true,
    json: JsonRule::Lines,
    ..V0_20
};

const V0_22: Dialect = Dialect {
    name: "0.22",
    directives: D::until(D::ReturnCode),
    value: LineValue::Trimmed,
    default_timeout: FIVE_SECONDS,
    zero_timeout: None,
    features: feature::V0_22,
    exit_check: ExitCheck::ReturnCode,
    aot_check: AotCheck::First,
    timeouts_fail_run: true,
    ..V0_21
};

const V0_23: Dialect = Dialect {
    name: "0.23",
    directives: D::until(D::Setup),
    continued: &[D::Prog, D::Expect, D::ExpectRegex],
    marker_stream: MarkerStream::Stdout,
    limit_end: LimitEnd::TermThenKill,
    ..V0_22
};

const V0_24: Dialect = Dialect {
    name: "0.24",
    will_fail_excludes_return_code: true,
    before_pid_wants_one_before: false,
    features: feature::V0_24,
    verify: Verify::Flag,
    will_fail: WillFail::NonZero,
    ..V0_23
};

const V0_25: Dialect = Dialect {
    name: "0.25",
    directives: D::until(D::LocalizeTimestamps),
    ..V0_24
};

const V0_26: Dialect = Dialect {
    name: "0.26",
    features: feature::V0_26,
    ..V0_25
};

const HEAD: Dialect = Dialect {
    name: "head",
    arch: ArchSyntax::EndianAndNegation,
    features: feature::HEAD,
    ..V0_26
};

/// Every dialect, oldest first, with its version; the newest has none.
static DIALECTS: [(u32, Dialect); 14] = [
    (14, V0_14),
    (15, V0_15),
    (16, V0_16),
    (17, V0_17),
    (18, V0_18),
    (19, V0_19),
    (20, V0_20),
    (21, V0_21),
    (22, V0_22),
    (23, V0_23),
    (24, V0_24),
    (25, V0_25),
    (26, V0_26),
    (u32::MAX, HEAD),
];

impl Dialect {
    /// The names of all dialects, oldest first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        DIALECTS.iter().map(|(_, dialect)| dialect.name)
    }

    /// Every dialect, oldest first.
    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        DIALECTS.iter().map(|(_, dialect)| dialect)
    }

    /// The oldest dialect.
    pub fn oldest() -> &'static Self {
        &DIALECTS[0].1
    }

    /// The newest dialect.
    pub fn newest() -> &'static Self {
        &DIALECTS[DIALECTS.len() - 1].1
    }

    /// The dialect of a version: `0.17`, `v0.17`, `0.17.3`, `head`. A version
    /// newer than every known one is read as the newest; one before 0.14, or
    /// anything else, is `None`.
    pub fn for_version(version: &str) -> Option<&'static Self> {
        let version = version.trim();
        if version.eq_ignore_ascii_case("head") {
            return Some(Self::newest());
        }
        let (major, minor) = numbers(version)?;
        if major > 0 {
            return Some(Self::newest());
        }
        DIALECTS
            .iter()
            .find(|(number, _)| *number == minor)
            .map(|(_, dialect)| dialect)
            .or_else(|| (minor > 26).then(Self::newest))
    }

    /// The dialect for the output of `bpftrace --version`, such as `bpftrace v0.17.0`.
    pub fn from_info(printed: &str) -> Option<&'static Self> {
        version_in(printed).and_then(Self::for_version)
    }

    /// Whether the output of `bpftrace --version` is older than the oldest dialect.
    pub fn is_too_old(printed: &str) -> bool {
        version_in(printed)
            .and_then(numbers)
            .is_some_and(|version| version < (0, DIALECTS[0].0))
    }

    /// Whether the directive exists in this dialect.
    pub fn has(&self, directive: Directive) -> bool {
        self.directives.contains(&directive)
    }

    /// What happens if a directive occurs twice in a test.
    pub fn repeat(&self, directive: Directive) -> Repeat {
        match directive {
            D::Requires => self.requires,
            D::Before => self.before,
            D::Env | D::RequiresFeature => Repeat::Accumulate,
            _ if directive.is_expectation() => self.expectations,
            _ => Repeat::Last,
        }
    }

    /// The first dialect that has the directive.
    pub fn first_with(directive: Directive) -> Option<&'static Self> {
        DIALECTS
            .iter()
            .map(|(_, dialect)| dialect)
            .find(|dialect| dialect.has(directive))
    }
}

#[cfg(test)]
#[path = "dialect_tests.rs"]
mod tests;
