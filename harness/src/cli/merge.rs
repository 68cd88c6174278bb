//! `kiln merge`: joins the directories of several runs into one report.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::again;
use super::context::Context;
use super::level_args::{BaselineArgs, LevelArgs};
use crate::report::{Outlet, ReportError, Reports, StatusLevel, TerminalStyle};
use crate::run::dir::RunDir;
use crate::run::event_log::{EventWriter, RunLog};
use crate::run::merge::merge;

/// Arguments of `kiln merge`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exits as one run of all these tests would: 0 all as expected, 100 tests failed,
97 verdicts or a whole part (--shard) are missing.

Example:
  kiln merge --run-dir whole part-1 part-2 part-3"
)]
pub(super) struct MergeArgs {
    /// Run directories, as named with kiln run --run-dir
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Directory for the joined reports [default: a new one below target/kiln/runs]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// What the terminal shows
    #[command(flatten)]
    levels: LevelArgs,
    #[command(flatten)]
    baseline: BaselineArgs,
}

impl MergeArgs {
    /// Writes and shows the report; returns the exit code of the joined run.
    pub(super) fn run(self, config: Option<&Path>) -> Result<u8, Failure> {
        let runs = self
            .runs
            .iter()
            .map(|dir| RunLog::read(dir))
            .collect::<Result<Vec<_>, _>>()?;
        let place = Context::load(config)?.runs();
        let baseline = self.baseline.read(&place)?;
        let merged = merge(&runs, again::command_line())?;
        let run_dir = RunDir::create(self.run_dir.as_deref(), &place)?;
        let mut log = EventWriter::create(&run_dir.events())?;
        for record in &merged.records {
            log.append(record)?;
        }
        let style = TerminalStyle {
            // Nothing is running.
            progress: false,
            ..TerminalStyle::detect()
        };
        let levels = self.levels.levels(StatusLevel::None);
        let outlet = Outlet::start(style).map_err(ReportError::Output)?;
        let mut reports =
            Reports::of_run(&run_dir, style, levels, &outlet.queue(), baseline.as_ref());
        for record in &merged.records {
            reports.record(record)?;
        }
        reports.finish()?;
        outlet.finish()?;
        Ok(merged.exit_code)
    }
}
