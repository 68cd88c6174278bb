//! bpftrace's runtime tests: the suites under `tests/runtime` of its sources.
//!
//! Upstream's engine (`tests/runtime/engine`) reads, runs and judges them in
//! one Python process. Here the parts are apart: [`RuntimeSuites::read`] reads
//! a directory, [`Job`] says what the guest executes, [`judge`] gives the
//! verdict; [`Dialect`] holds every difference between upstream's versions.

mod arch;
mod block;
mod choice;
mod dialect;
mod diff;
mod directive;
mod discover;
mod engine;
mod expect;
mod feature;
mod features;
mod job;
mod json;
mod judge;
mod lint;
mod loose_version;
mod needs;
mod options;
mod parse;
mod precheck;
mod problem;
mod program;
mod python;
mod python_tokens;
mod rules;
mod suite;
mod test;
mod under_test;
mod version;
mod vocabulary;

pub use arch::ArchRule;
pub use choice::{By, Choice, choose};
pub use dialect::{Dialect, LimitEnd};
pub use directive::Directive;
pub use discover::RuntimeSuites;
pub use engine::{Engine, EngineBeside};
pub use features::{FeatureCheck, Features};
pub use job::{Job, JobContext, ShellCommand};
pub use judge::{CommandOutcome, End, Limit, Observation, judge};
pub use lint::{Lint, Severity};
pub use needs::{Need, needs};
pub use options::{Options, SUITES};
pub use parse::{Parsed, parse};
pub use precheck::{SkipReason, precheck};
pub use problem::{Problem, ProblemKind, SuiteError};
pub use rules::{Rule, Rules};
pub use suite::RuntimeSuite;
pub use test::{Expectation, ExpectationKind, FeatureRequirement, Program, RuntimeTest, UNLIMITED};
pub use under_test::UnderTest;
pub use vocabulary::Vocabulary;
