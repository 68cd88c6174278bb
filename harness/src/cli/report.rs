//! `kiln report`: one report of earlier runs, in the format that the user chooses.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::again;
use super::context::Context;
use super::output;
use crate::exit_code;
use crate::report::{Format, ReadRun, escape};
use crate::run::event_log::RunLog;
use crate::run::merge::merge;
use crate::run::run_names;
use crate::whole_file;

/// Name of the page in a run's directory.
const PAGE: &str = "report.html";
/// For standard output.
const STDOUT: &str = "-";

/// Arguments of `kiln report`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every run directory has its report.html already; this makes it again, also of a run that
is not over, or of several. Exits with 0 whatever the verdicts are.

Examples:
  kiln report last
  kiln report last --format markdown
  kiln report part-1 part-2 --output whole.html"
)]
pub(super) struct ReportArgs {
    /// Run directories, ids, last, last~1: the newest run, the one before. Several are joined, as
    /// by kiln merge
    #[arg(value_name = "RUN", default_value = "last")]
    runs: Vec<String>,
    /// What it is written in
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Show in the page what has changed since this run
    #[arg(long, value_name = "RUN")]
    baseline: Option<String>,
    /// File for the report, or - for the standard output [default: report.html in the run's
    /// directory for html, else -]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ReportArgs {
    pub(super) fn run(self, config: Option<&Path>) -> Result<u8, Failure> {
        let place = Context::load(config)?.runs();
        let dirs = self
            .runs
            .iter()
            .map(|name| run_names::find(name, &place))
            .collect::<Result<Vec<_>, _>>()?;
        if self.baseline.is_some() && self.format != Format::Html {
            return Err(Failure::new(
                exit_code::USAGE,
                "only the page (--format html) shows a baseline",
            )
            .hint(
                "`kiln compare BEFORE AFTER --format markdown` compares two runs in other formats",
            ));
        }
        let output = self.output(&dirs)?;
        let mut run = match dirs.as_slice() {
            [dir] => ReadRun::read(dir)?,
            dirs => {
                let runs = dirs.iter().map(|dir| RunLog::read(dir));
                let runs = runs.collect::<Result<Vec<_>, _>>()?;
                ReadRun::of(&merge(&runs, again::command_line())?.records)
            }
        };
        if let Some(name) = &self.baseline {
            let before = run_names::find(name, &place)?;
            let own = dirs.first().map_or(Path::new(""), PathBuf::as_path);
            run.compare_with((&before, name), (own, &self.runs.join(" ")))?;
        }
        for note in &run.notes {
            output::note(&format!("warning: {}", escape::line(note)));
        }
        let text = run.text(self.format)?;
        match output {
            None => output::print("the report", &text)?,
            Some(path) => {
                whole_file::write(&path, text.as_bytes()).map_err(|error| {
                    Failure::new(
                        exit_code::SETUP_FAILED,
                        format!("cannot write {}: {error}", path.display()),
                    )
                    .hint("name another file with --output FILE, or - for the standard output")
                })?;
                output::line(&escape::line(&path.to_string_lossy()))?;
            }
        }
        Ok(exit_code::OK)
    }

    /// The file to write; `None` for the standard output.
    fn output(&self, dirs: &[PathBuf]) -> Result<Option<PathBuf>, Failure> {
        match (&self.output, self.format, dirs) {
            (Some(path), _, _) if path.as_os_str() == STDOUT => Ok(None),
            (Some(path), _, _) => Ok(Some(path.clone())),
            (None, Format::Html, [dir]) => Ok(Some(dir.join(PAGE))),
            (None, Format::Html, _) if std::io::stdout().is_terminal() => Err(Failure::new(
                exit_code::USAGE,
                "a page of several runs has no directory of its own",
            )
            .hint("name a file for it with --output FILE")),
            (None, _, _) => Ok(None),
        }
    }
}
