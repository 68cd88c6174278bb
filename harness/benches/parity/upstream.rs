//! Runs upstream's engine in one of kiln's VMs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kiln::exit_code::INTERRUPTED;
use serde::Deserialize;

use crate::verdicts::{Results, Selection};
use crate::{KILN, Result};

/// Runs the engine test by test; see driver.py.
const DRIVER: &str = include_str!("driver.py");

/// Debian's Python: the engine needs distutils or looseversion, from packages of these names.
const PYTHON: &str = "/usr/bin/python3";

/// How often a VM may end before the engine has, each time with another test.
const VMS: u32 = 5;

/// A line of the driver's output.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    Started,
    Finished {
        id: String,
        verdict: String,
        /// Wall time in milliseconds, on the guest's clock.
        ms: u64,
    },
    Done,
}

fn file(dir: &Path) -> PathBuf {
    dir.join("upstream.jsonl")
}

/// Runs the selection, or what has no result yet, in one VM, or in several if one is lost.
pub(crate) fn run(kernel: &str, selection: &Selection, dir: &Path) -> Result<()> {
    if !selection.resume && file(dir).exists() {
        fs::remove_file(file(dir))?;
    }
    let driver = dir.join("driver.py");
    fs::write(&driver, DRIVER)?;
    for _ in 0..VMS {
        let before = lines(dir)?.len();
        let status = Command::new(KILN)
            // A guest sees its working directory wherever it is, even below /tmp.
            .current_dir(&selection.tests)
            .args(["exec", "-k", kernel, "--timeout", "3h", "--rw"])
            .arg(dir)
            .args([
                "-e",
                "BPFTRACE_RUNTIME_TEST_EXECUTABLE=/usr/bin/bpftrace",
                "--",
            ])
            .args([PYTHON, "-u", "-W", "ignore"])
            .arg(&driver)
            .arg(&selection.tests)
            .arg(file(dir))
            .arg(selection.scale.to_string())
            .arg(selection.modules.join(","))
            .args(selection.ids.iter().flatten())
            .stdin(Stdio::null())
            .stdout(fs::File::create(dir.join("upstream.log"))?)
            .stderr(fs::File::create(dir.join("upstream.err"))?)
            .status()?;
        let lines = lines(dir)?;
        if status.success() && matches!(lines.last(), Some(Line::Done)) {
            return Ok(());
        }
        if status.code() == Some(i32::from(INTERRUPTED)) {
            return Err("interrupted: continue with --resume".into());
        }
        if lines.len() == before {
            let said = fs::read_to_string(dir.join("upstream.err"))?;
            return Err(format!("upstream's engine ended with {status}: {said}").into());
        }
        eprintln!("parity: upstream's VM was lost ({status}): continuing in another one");
    }
    Err(format!("upstream's engine lost {VMS} VMs of {kernel}: continue with --resume").into())
}

fn lines(dir: &Path) -> Result<Vec<Line>> {
    let text = match fs::read_to_string(file(dir)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let whole = text.lines();
    whole.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Its verdicts. The wall time is that of the tests alone, without boots and without those that
/// hang: the minimum for upstream's engine. A run that did not complete has none.
pub(crate) fn results(dir: &Path) -> Result<Results> {
    let mut results = Results::default();
    let mut wall = Duration::ZERO;
    let lines = lines(dir)?;
    let is_done = matches!(lines.last(), Some(Line::Done));
    for line in lines {
        let Line::Finished { id, verdict, ms } = line else {
            continue;
        };
        if verdict != "hang" {
            wall += Duration::from_millis(ms);
        }
        results.said.entry(id).or_default().add(verdict);
    }
    results.wall = is_done.then_some(wall);
    if results.said.is_empty() {
        return Err(format!("{} has no verdict: run upstream's", file(dir).display()).into());
    }
    Ok(results)
}
