//! How much the terminal shows of a run.

use clap::{Args, ValueEnum};

use crate::report::{Levels, StatusLevel};

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
