//! bpftrace's runtime tests: the suites under `tests/runtime` of its sources.
//!
//! Upstream's engine (`tests/runtime/engine`) reads, runs and judges them in
//! one Python process. Here the parts are apart: [`RuntimeSuites::read`] reads
//! a directory, a job says what the guest executes, a judge gives the
//! verdict; [`Dialect`] holds every difference between upstream's versions.

mod arch;
mod block;
mod dialect;
mod directive;
mod discover;
pub mod features;
mod parse;
mod problem;
mod python;
mod test;

pub use arch::{ArchRule, Host};
pub use dialect::{
    AotCheck, ArchSyntax, BeforeStyle, Dialect, Executable, ExitCheck, ExpectMeaning, JsonRule,
    LineValue, MarkerStream, Repeat, ShellEnv, Verify, WillFail,
};
pub use directive::Directive;
pub use discover::RuntimeSuites;
pub use problem::{Problem, ProblemKind, SuiteError, Warning, WarningKind};
pub use test::{Expectation, ExpectationKind, FeatureRequirement, Program, RuntimeTest};
