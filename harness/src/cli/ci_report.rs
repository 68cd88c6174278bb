//! What `kiln ci` prints at its end: a table of the steps and, on GitHub, the results of the tests.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Failure;
use super::output;
use crate::ci::Name;
use crate::exit_code;
use crate::report::github::{Annotation, Github, Level};
use crate::report::{GithubLog, History, Report as _, escape, markdown};
use crate::run::event_log::{EVENTS, RunLog};

/// The result of a step.
pub(super) struct Verdict {
    pub(super) name: Name,
    pub(super) ok: bool,
    pub(super) code: u8,
    pub(super) text: String,
    pub(super) took: Duration,
    /// The directory of its tests' run, if the step got that far.
    pub(super) run: Option<PathBuf>,
}

/// Prints the report to stdout, and to GitHub if kiln runs there.
pub(super) fn report(verdicts: &[Verdict], github: Option<&Github>) -> Result<(), Failure> {
    let mut table = String::new();
    let mut page = "## kiln ci\n\n| step | result | time |\n| --- | --- | ---: |\n".to_owned();
    for verdict in verdicts {
        let text = escape::line(&verdict.text);
        let (name, seconds) = (verdict.name.as_str(), verdict.took.as_secs());
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{name:14} {text} ({seconds} s)");
        let _ = writeln!(
            page,
            "| {name} | {} | {seconds} s |",
            markdown::literal(&text)
        );
        if let (Some(github), false) = (github, verdict.ok) {
            let annotation = github.annotation(&Annotation {
                level: Level::Error,
                title: "kiln ci",
                place: None,
                message: &format!("{name}: {text}"),
            });
            let _ = writeln!(table, "{annotation}");
        }
    }
    output::line(table.trim_end())?;
    let Some(github) = github else {
        return Ok(());
    };
    page.push('\n');
    summarise(github, &page)?;
    for verdict in verdicts {
        if let Some(run) = &verdict.run {
            tests(verdict.name, run, github)?;
        }
    }
    Ok(())
}

/// The kiln inside a step does not know about GitHub and cannot send workflow commands, so its run
/// is reported here.
fn tests(step: Name, run: &Path, github: &Github) -> Result<(), Failure> {
    // Its set-up failed; the step's output says why.
    if !run.join(EVENTS).exists() {
        return Ok(());
    }
    let log = RunLog::read(run)?;
    let mut history = History::default();
    for record in &log.records {
        history.observe(record);
    }
    summarise(github, &format!("## {}\n\n", step.as_str()))?;
    GithubLog::new(std::io::stdout(), github.clone(), None).finish(&history)?;
    Ok(())
}

fn summarise(github: &Github, markdown: &str) -> Result<(), Failure> {
    github.add_summary(markdown).map_err(|(path, error)| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot write the summary {}: {error}", path.display()),
        )
    })
}
