//! `kiln history`: tests over all kept runs.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::context::Context;
use super::output;
use crate::exit_code;
use crate::report::{Trend, TrendFormat, escape};
use crate::suite::{Filter, TestId};

/// Arguments of `kiln history`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kiln history call.kstack
  kiln history '^probe\\.' --limit 20
  kiln history --flaky --runs artifacts")]
pub(super) struct HistoryArgs {
    /// Tests: ids as kiln list prints them, or filters as -t takes them
    #[arg(value_name = "TEST", required_unless_present = "flaky")]
    tests: Vec<String>,
    /// List the tests that flake, the worst first
    #[arg(long)]
    flaky: bool,
    /// Directories with runs, also further below, such as downloaded artifacts [default:
    /// target/kiln/runs]
    #[arg(long, value_name = "DIR")]
    runs: Vec<PathBuf>,
    /// Only the newest N runs
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: usize,
    /// What it is written in
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: TrendFormat,
}

impl HistoryArgs {
    pub(super) fn run(&self, config: Option<&Path>) -> Result<u8, Failure> {
        let places = if self.runs.is_empty() {
            vec![Context::load(config)?.runs()]
        } else {
            self.runs.clone()
        };
        // `call.str` names one test, and as a pattern would also find `call.strftime`.
        let is_id = |test: &&String| test.contains('.') && !test.contains(PATTERN);
        let patterns: Vec<&String> = self.tests.iter().filter(|test| !is_id(test)).collect();
        let filter = Filter::new(&patterns)
            .map_err(|error| Failure::from(error).with_code(exit_code::USAGE))?;
        let wanted = |_: &str, id: &str| {
            let (file, name) = id.split_once('.').unwrap_or((id, ""));
            self.tests.is_empty()
                || self.tests.iter().any(|test| test == id)
                || (!patterns.is_empty() && filter.selects(&TestId::new(file, name)))
        };
        let trend = Trend::read(&places, self.limit, &self.tests, wanted)?;
        for warning in &trend.warnings {
            output::note(&format!("warning: {}", escape::line(warning)));
        }
        let text = trend.text_in(self.format, self.flaky).map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot write the history: {error}"),
            )
        })?;
        output::print("the history", &text)?;
        Ok(exit_code::OK)
    }
}

/// Characters that ids seldom have and patterns do.
const PATTERN: [char; 10] = ['^', '$', '*', '+', '?', '[', '(', '|', '\\', ':'];
