//! `kiln compare`: what has changed from one run to another.

use std::path::Path;

use clap::Args;

use super::Failure;
use super::context::Context;
use super::output;
use crate::exit_code;
use crate::report::{CompareFormat, Comparison};
use crate::run::run_names;

/// Arguments of `kiln compare`.
#[derive(Debug, Args)]
#[command(
    after_help = "A test is slower if it takes longer than the runs beside BEFORE explain; a renamed test
is known by its place, or guessed by its name. Exits with 100 if a test regressed, or is
new and fails, and with 0 otherwise.

Examples:
  kiln compare last~1 last
  kiln compare main/junit.xml target/kiln/runs/2026-11-28T18-23-07Z --format markdown"
)]
pub(super) struct CompareArgs {
    /// The run before: a directory, an id, last~1, or a JUnit file
    #[arg(value_name = "BEFORE")]
    before: String,
    /// The run after
    #[arg(value_name = "AFTER", default_value = "last")]
    after: String,
    /// What the comparison is written in
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: CompareFormat,
}

impl CompareArgs {
    pub(super) fn run(&self, config: Option<&Path>) -> Result<u8, Failure> {
        let place = Context::load(config)?.runs();
        let before = run_names::find(&self.before, &place)?;
        let after = run_names::find(&self.after, &place)?;
        let comparison = Comparison::of_paths((&before, &self.before), (&after, &self.after))?;
        let text = comparison.text_in(self.format).map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot write the comparison: {error}"),
            )
        })?;
        output::print("the comparison", &text)?;
        Ok(if comparison.has_regressed() {
            exit_code::TESTS_FAILED
        } else {
            exit_code::OK
        })
    }
}
