//! `kiln run`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kiln::exit_code;
use kiln::internals::{Event, read_events};

use crate::verdicts::{Results, Selection};
use crate::{KILN, Result};

fn run_dir(dir: &Path) -> PathBuf {
    dir.join("ours")
}

/// Whether a run with this exit code gave every test a verdict: a run that was interrupted, or lost
/// its VM, also has an end.
fn ran_all(code: u8) -> bool {
    matches!(code, exit_code::OK | exit_code::TESTS_FAILED)
}

/// Whether an earlier run completed.
pub(crate) fn is_complete(dir: &Path) -> bool {
    results(dir).is_ok_and(|results| results.wall.is_some())
}

/// Runs the selection.
pub(crate) fn run(kernel: &str, selection: &Selection, dir: &Path) -> Result<()> {
    let run_dir = run_dir(dir);
    if run_dir.exists() {
        fs::remove_dir_all(&run_dir)?;
    }
    let mut command = Command::new(KILN);
    command.args(["run", "-k", kernel, "--run-dir"]);
    command.arg(&run_dir);
    command.args(["-j", &selection.jobs.to_string()]);
    command.args(["--timeout-scale", &selection.scale.to_string()]);
    if selection.compat {
        command.arg("--compat");
    }
    if let Some(ids) = &selection.ids {
        let mut list = String::new();
        for id in ids {
            writeln!(list, "{id}")?;
        }
        let file = dir.join("selection");
        fs::write(&file, list)?;
        command.arg("--allowlist").arg(file);
    }
    let status = command
        .arg("bpftrace")
        .stdin(Stdio::null())
        .stdout(fs::File::create(dir.join("ours.log"))?)
        .stderr(fs::File::create(dir.join("ours.err"))?)
        .status()?;
    // Failed tests are also verdicts.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    if !code.is_some_and(ran_all) {
        let said = fs::read_to_string(dir.join("ours.err"))?;
        return Err(format!("kiln run ended with {status}: {said}").into());
    }
    Ok(())
}

/// Its verdicts. The wall time is that of the whole run with boots; a run that did not run all of
/// its tests has none.
pub(crate) fn results(dir: &Path) -> Result<Results> {
    let mut results = Results::default();
    for record in read_events(&run_dir(dir).join("events.jsonl"))? {
        match record.event {
            Event::TestFinished(test) => {
                let said = results.said.entry(test.id).or_default();
                said.add(format!("{:?}", test.verdict).to_lowercase());
                said.rules.extend(test.rules);
            }
            Event::RunFinished(end) if ran_all(end.exit_code) => {
                results.wall = Some(Duration::from_millis(end.duration_ms));
            }
            _ => {}
        }
    }
    Ok(results)
}
