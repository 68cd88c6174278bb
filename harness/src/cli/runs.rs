//! `kiln runs`: lists and removes earlier runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::Failure;
use super::context::Context;
use super::output;
use crate::exit_code;
use crate::hint::with_causes;
use crate::report::escape;
use crate::run::event::VERDICTS;
use crate::run::runs::{self, Keep, KeptRun, State};

/// Arguments of `kiln runs`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  kiln runs
  kiln runs prune --keep 10
  kiln runs prune --older-than 14d --dry-run"
)]
pub(super) struct RunsArgs {
    #[command(subcommand)]
    command: Option<RunsCommand>,
    #[command(flatten)]
    place: Place,
}

/// Where the runs are.
#[derive(Debug, Args)]
struct Place {
    /// The directory that holds the runs [default: target/kiln/runs beside
    /// kernels.toml, else here]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// Remove finished runs
    Prune(PruneArgs),
}

/// Which runs to remove.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
struct PruneArgs {
    /// Keep the newest N
    #[arg(long, value_name = "N", group = "which")]
    keep: Option<usize>,
    /// Remove runs that started longer ago than this, such as 12h or 14d
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse, group = "which")]
    older_than: Option<Duration>,
    /// List what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

impl RunsArgs {
    pub(super) fn run(self, config: Option<&Path>) -> Result<u8, Failure> {
        let place = match &self.command {
            Some(RunsCommand::Prune(args)) => &args.place,
            None => &self.place,
        };
        let parent = match &place.dir {
            Some(dir) => dir.clone(),
            None => Context::load(config)?.runs(),
        };
        let kept = runs::kept(&parent)?;
        for error in &kept.unreadable {
            let error = escape::line(&with_causes(error)).into_owned();
            output::note(&format!("warning: {error}"));
        }
        match self.command {
            None => list(&parent, &kept.runs),
            Some(RunsCommand::Prune(args)) => args.prune(&kept.runs),
        }
    }
}

impl PruneArgs {
    fn prune(&self, runs: &[KeptRun]) -> Result<u8, Failure> {
        let keep = match (self.keep, self.older_than) {
            (Some(count), _) => Keep::Newest(count),
            (None, Some(time)) => Keep::Within(time),
            // Refused by clap.
            (None, None) => return Ok(exit_code::USAGE),
        };
        let pruned = runs::to_prune(runs, keep, chrono::Utc::now());
        for run in &pruned {
            if !self.dry_run {
                run.remove()?;
            }
            let did = if self.dry_run {
                "would remove"
            } else {
                "removed"
            };
            output::line(&format!(
                "{did} {}",
                escape::line(&run.path.to_string_lossy())
            ))?;
        }
        if pruned.is_empty() {
            output::line("nothing to remove")?;
        }
        Ok(exit_code::OK)
    }
}

fn list(parent: &Path, runs: &[KeptRun]) -> Result<u8, Failure> {
    if runs.is_empty() {
        let place = parent.to_string_lossy();
        output::line(&format!("no runs in {}", escape::line(&place)))?;
        return Ok(exit_code::OK);
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["run", "started", "exit", "kernels", "verdicts"]);
    for run in runs {
        let local = run.started.with_timezone(&chrono::Local);
        let kernels: Vec<_> = run
            .tally
            .kernels
            .iter()
            .map(|tally| escape::line(&tally.kernel).into_owned())
            .collect();
        table.add_row([
            escape::line(&run.id).into_owned(),
            local.format("%Y-%m-%d %H:%M:%S").to_string(),
            match run.state {
                State::Ended(code) => code.to_string(),
                State::Running => "running".to_owned(),
                State::Unfinished => "unfinished".to_owned(),
            },
            kernels.join(" "),
            counts(run),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    output::line(&lines.join("\n"))?;
    Ok(exit_code::OK)
}

fn counts(run: &KeptRun) -> String {
    let tally = &run.tally;
    let mut parts: Vec<String> = VERDICTS
        .into_iter()
        .filter(|verdict| tally.count(*verdict) > 0)
        .map(|verdict| format!("{} {verdict}", tally.count(verdict)))
        .collect();
    if tally.missing() > 0 {
        parts.push(format!("{} not run", tally.missing()));
    }
    parts.join(", ")
}
