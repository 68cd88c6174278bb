//! How much the terminal shows of a run.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::Failure;

use crate::report::{Baseline, Levels, StatusLevel};
use crate::run::run_names;

/// How much the terminal shows of a run.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct LevelArgs {
    /// Which verdicts to show as they happen; each level adds to those before it [default: skip;
    /// none for kiln merge]
    #[arg(long, value_enum, value_name = "LEVEL", env = "KILN_STATUS_LEVEL")]
    status_level: Option<StatusLevel>,
    /// Which verdicts to show again at the end; failures are shown in full
    #[arg(
        long,
        value_enum,
        default_value = "retry",
        value_name = "LEVEL",
        env = "KILN_FINAL_STATUS_LEVEL"
    )]
    final_status_level: StatusLevel,
    /// At the end, show failures with one cause once, with all tests and kernels that they hit
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        env = "KILN_GROUP"
    )]
    group: Group,
}

/// Another run to compare with.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct BaselineArgs {
    /// Say in summary.md and report.html what has changed since this run (a directory, an id, last,
    /// or a JUnit file); on GitHub, annotate only what is new
    #[arg(long, value_name = "RUN")]
    baseline: Option<String>,
}

impl BaselineArgs {
    /// Reads the run, if there is one; `place` is the directory of runs.
    pub(super) fn read(&self, place: &Path) -> Result<Option<Arc<Baseline>>, Failure> {
        let Some(name) = &self.baseline else {
            return Ok(None);
        };
        let path = run_names::find(name, place)?;
        Ok(Some(Arc::new(Baseline::read(&path, name)?)))
    }
}

/// Whether failures with one cause are shown once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Once
    #[default]
    On,
    /// Each
    Off,
}

impl LevelArgs {
    /// The chosen levels; `status` is the default for lines during the run.
    pub(super) fn levels(self, status: StatusLevel) -> Levels {
        Levels {
            status: self.status_level.unwrap_or(status),
            at_end: self.final_status_level,
            group: self.group == Group::On,
        }
    }
}
